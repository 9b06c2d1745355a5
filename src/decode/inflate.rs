//! A gzip in memory becomes the bytes that it holds, never more of them than a limit.
//!
//! Invariants: memory is bounded by the limit, whatever the input claims about itself; of the buffers larger than
//! [`LARGE`] there is one at a time, over all inflaters that share a lock. The usual single member goes through
//! libdeflate in one call; everything else, and everything that libdeflate refuses, goes member by member through a
//! streaming decoder, which decides.

use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::bufread::GzDecoder;

use super::libdeflate::Decompressor;

/// Bytes of a buffer that needs the permit, and that is given back after the record: far above a normal record.
pub(super) const LARGE: usize = 8 * 1024 * 1024;

/// Deflate makes at most 1,032 bytes of one (258 bytes from two bits); a header that claims more is wrong.
const MOST_PER_BYTE: usize = 1032;

/// The streaming decoder's first buffer.
const FIRST: usize = 64 * 1024;

/// Header without options, an empty block, checksum and length.
const SHORTEST_MEMBER: usize = 18;

/// A buffer and the state of a decompressor, to be used again and again.
#[derive(Debug)]
pub(super) struct Inflater {
    libdeflate: Decompressor,
    /// Its length is the largest it has been, so that it isn't zeroed each time.
    buffer: Vec<u8>,
}

/// What a gzip held, in the inflater's buffer.
#[derive(Debug)]
pub(super) struct Inflated<'a, 'l> {
    pub(super) content: &'a [u8],
    /// Held when the buffer is large, to be dropped after [`Inflater::trim`].
    pub(super) permit: Permit<'l>,
}

pub(super) type Permit<'l> = Option<MutexGuard<'l, ()>>;

/// Why a gzip has no content. Messages hold nothing of the input.
#[derive(Debug, thiserror::Error)]
pub(super) enum InflateError {
    #[error("inflates past {0} bytes (limits.inflated_record_bytes)")]
    TooLarge(usize),
    #[error("gzip: truncated")]
    Truncated,
    #[error("gzip: bytes after the last member")]
    Trailing,
    /// Bad header, data, checksum or length.
    #[error("gzip: {0}")]
    Corrupt(io::Error),
}

/// Whether this starts as a gzip does.
pub(super) fn is_gzip(data: &[u8]) -> bool {
    data.starts_with(&[0x1f, 0x8b])
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { libdeflate: Decompressor::new(), buffer: Vec::new() }
    }

    /// Inflates all members of `data`, which must be nothing but members; waits for `large` before its buffer grows
    /// past [`LARGE`].
    pub(super) fn inflate<'l>(
        &mut self,
        data: &[u8],
        limit: usize,
        large: &'l Mutex<()>,
    ) -> Result<Inflated<'_, 'l>, InflateError> {
        let mut permit = None;
        let len = match self.whole(data, limit, large, &mut permit) {
            Some(len) => len,
            None => self.members(data, limit, large, &mut permit).inspect_err(|_| self.trim())?,
        };
        Ok(Inflated { content: &self.buffer[..len], permit })
    }

    /// Gives back a large buffer.
    pub(super) fn trim(&mut self) {
        if self.buffer.len() > LARGE {
            self.buffer = Vec::new();
        }
    }

    /// The usual case: one member that says its length truly. `None` when it is anything else.
    fn whole<'l>(&mut self, data: &[u8], limit: usize, large: &'l Mutex<()>, permit: &mut Permit<'l>) -> Option<usize> {
        // libdeflate passes over the checksum of a header (flag 2), which nearly nobody writes.
        if data.len() < SHORTEST_MEMBER || data[3] & 2 != 0 {
            return None;
        }
        // What the sender says, modulo 2^32: to be believed only within what can be.
        let claimed = u32::from_le_bytes(*data.last_chunk()?) as usize;
        if claimed > limit || claimed > data.len().saturating_mul(MOST_PER_BYTE) {
            return None;
        }
        self.grow(claimed, large, permit);
        let member = self.libdeflate.gzip(data, &mut self.buffer[..claimed])?;
        (member.taken == data.len()).then_some(member.written)
    }

    /// Any number of members, decoded piece by piece.
    fn members<'l>(
        &mut self,
        data: &[u8],
        limit: usize,
        large: &'l Mutex<()>,
        permit: &mut Permit<'l>,
    ) -> Result<usize, InflateError> {
        let (mut filled, mut rest) = (0, data);
        while !rest.is_empty() {
            if !is_gzip(rest) {
                return Err(InflateError::Trailing);
            }
            let mut member = GzDecoder::new(rest);
            loop {
                if filled == limit {
                    // Not a byte more, but its checksum and length are still to be read.
                    if member.read(&mut [0]).map_err(corrupt)? > 0 {
                        return Err(InflateError::TooLarge(limit));
                    }
                    break;
                }
                if filled == self.buffer.len() {
                    self.grow(limit.min(FIRST.max(2 * filled)), large, permit);
                }
                let end = self.buffer.len().min(limit);
                match member.read(&mut self.buffer[filled..end]).map_err(corrupt)? {
                    0 => break,
                    read => filled += read,
                }
            }
            rest = member.into_inner();
        }
        Ok(filled)
    }

    fn grow<'l>(&mut self, len: usize, large: &'l Mutex<()>, permit: &mut Permit<'l>) {
        if len > LARGE && permit.is_none() {
            // It guards no data that a panic could have left in pieces.
            *permit = Some(large.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if len > self.buffer.len() {
            self.buffer.resize(len, 0);
        }
    }
}

fn corrupt(error: io::Error) -> InflateError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => InflateError::Truncated,
        _ => InflateError::Corrupt(error),
    }
}
