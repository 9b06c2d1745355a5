//! A gzip in memory becomes the bytes that it holds, never more of them than a limit.
//!
//! Invariant: memory is bounded by the room that there is, whatever the input claims about itself. The usual single
//! member goes through libdeflate in one call; everything else, and everything that libdeflate refuses, goes member by
//! member through a streaming decoder, which decides.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::libdeflate::Decompressor;
use super::room::{Room, TooLarge};
use crate::gzip::{Damage, is_gzip};

/// A buffer of more bytes is given back after its record: far above what a normal record needs.
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

/// Why a gzip has no content. Messages hold nothing of the input.
#[derive(Debug, thiserror::Error)]
pub(super) enum InflateError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Past what may be now: to be tried again when a large one may be.
    #[error("inflates past what may be at once")]
    Large,
    #[error(transparent)]
    Damaged(#[from] Damage),
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { libdeflate: Decompressor::new(), buffer: Vec::new() }
    }

    /// Inflates all members of `data`, which must be nothing but members, as far as there is room.
    pub(super) fn inflate(&mut self, data: &[u8], room: &Room) -> Result<&[u8], InflateError> {
        let (left, now) = (room.left(), room.left_now());
        match self.whole(data, left, now).unwrap_or_else(|| self.members(data, now)) {
            Ok(len) => Ok(&self.buffer[..len]),
            Err(error) => {
                self.trim();
                Err(match error {
                    InflateError::Large if now == left => room.too_large().into(),
                    error => error,
                })
            }
        }
    }

    /// Gives back a large buffer.
    pub(super) fn trim(&mut self) {
        if self.buffer.len() > LARGE {
            self.buffer = Vec::new();
        }
    }

    /// The usual case: one member that says its length truly. `None` when it is anything else.
    fn whole(&mut self, data: &[u8], limit: usize, now: usize) -> Option<Result<usize, InflateError>> {
        // libdeflate passes over the checksum of a header (flag 2), which nearly nobody writes.
        if data.len() < SHORTEST_MEMBER || data[3] & 2 != 0 {
            return None;
        }
        // What the sender says, modulo 2^32: to be believed only within what can be.
        let claimed = u32::from_le_bytes(*data.last_chunk()?) as usize;
        if claimed > limit || claimed > data.len().saturating_mul(MOST_PER_BYTE) {
            return None;
        }
        if claimed > now {
            return Some(Err(InflateError::Large));
        }
        self.grow(claimed);
        let member = self.libdeflate.gzip(data, &mut self.buffer[..claimed])?;
        (member.taken == data.len()).then_some(Ok(member.written))
    }

    /// Any number of members, decoded piece by piece.
    fn members(&mut self, data: &[u8], limit: usize) -> Result<usize, InflateError> {
        let (mut filled, mut rest) = (0, data);
        while !rest.is_empty() {
            if !is_gzip(rest) {
                return Err(Damage::Trailing.into());
            }
            let mut member = GzDecoder::new(rest);
            loop {
                if filled == limit {
                    // Not a byte more, but its checksum and length are still to be read.
                    if member.read(&mut [0]).map_err(damaged)? > 0 {
                        return Err(InflateError::Large);
                    }
                    break;
                }
                if filled == self.buffer.len() {
                    self.grow(limit.min(FIRST.max(2 * filled)));
                }
                let end = self.buffer.len().min(limit);
                match member.read(&mut self.buffer[filled..end]).map_err(damaged)? {
                    0 => break,
                    read => filled += read,
                }
            }
            rest = member.into_inner();
        }
        Ok(filled)
    }

    fn grow(&mut self, len: usize) {
        if len > self.buffer.len() {
            self.buffer.resize(len, 0);
        }
    }
}

/// In memory there is no error but of the gzip itself.
fn damaged(error: io::Error) -> InflateError {
    Damage::of(error).unwrap_or_else(Damage::Corrupt).into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;
    use crate::decode::tests::{GOOD, LIMIT, decode, decoder, events, gzip, record, refused, with_events};
    use crate::decode::{Decoded, Scratch};
    use crate::event::RejectionCode::{NotDecodable, TooLarge};

    #[test]
    fn a_damaged_gzip_is_not_decodable() {
        let whole = gzip(with_events(&format!("[{GOOD}]")).as_bytes());
        for len in 2..whole.len() {
            refused(whole[..len].to_vec(), NotDecodable, "gzip: truncated");
        }
        let damaged = |from_end: usize| {
            let mut data = whole.clone();
            let at = data.len() - from_end;
            data[at] ^= 1;
            data
        };
        refused(damaged(8), NotDecodable, "checksum");
        // The length, which lies in both directions and by much.
        for from_end in 1..=4 {
            refused(damaged(from_end), NotDecodable, "gzip: ");
        }
        refused(damaged(20), NotDecodable, "gzip: ");
        refused(&b"\x1f\x8b\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..], NotDecodable, "gzip: ");
        let mut header_checksum = whole.clone();
        header_checksum[3] = 2;
        header_checksum.splice(10..10, [0xde, 0xad]);
        refused(header_checksum, NotDecodable, "gzip: ");
    }

    #[test]
    fn several_members_are_one_payload() {
        let json = with_events(&format!("[{GOOD},{GOOD}]"));
        let (start, end) = json.as_bytes().split_at(json.len() / 2);
        let mut named =
            GzBuilder::new().filename("a.json").comment("c").extra("x").write(Vec::new(), Compression::best());
        named.write_all(end).unwrap();
        let members = [gzip(b""), gzip(start), named.finish().unwrap(), gzip(b"")].concat();
        let out = decode(&[record(members)]);
        assert_eq!(events(&out).len(), 2);
        assert_eq!(out.counts.bytes, json.len() as u64);

        let whole = gzip(json.as_bytes());
        refused([&whole[..], &whole].concat(), NotDecodable, "not JSON: trailing characters");
        for trailing in [&b"\0"[..], b"\x1f", b"{}", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &whole[1..]] {
            refused([&whole[..], trailing].concat(), NotDecodable, "gzip: bytes after the last member");
        }
        refused([&whole[..], &whole[..15]].concat(), NotDecodable, "gzip: truncated");
    }

    #[test]
    fn past_the_limit_is_too_large() {
        let filler = |bytes: usize| [with_events("[]").into_bytes(), vec![b' '; bytes]].concat();
        let most = filler(LIMIT - with_events("[]").len());
        let over = [&most[..], b" "].concat();
        assert_eq!(most.len(), LIMIT);
        for good in [most.clone(), gzip(&most), [gzip(&most[..99]), gzip(&most[99..]), gzip(b"")].concat()] {
            assert_eq!(decode(&[record(good)]).rejections, []);
        }
        let why = "inflates past 1048576 bytes (limits.inflated_record_bytes)";
        refused(over.clone(), TooLarge, why);
        refused(gzip(&over), TooLarge, why);
        refused([gzip(&most), gzip(b" ")].concat(), TooLarge, why);
        let mut lying = gzip(&over);
        lying.splice(lying.len() - 4.., 9u32.to_le_bytes());
        refused(lying.clone(), TooLarge, why);
        // Stopped before what is wrong with the rest is seen.
        lying.truncate(lying.len() - 6);
        refused(lying, TooLarge, why);
        // At the limit exactly, the end still counts.
        let mut damaged = gzip(&most);
        damaged.truncate(damaged.len() - 1);
        refused(damaged, NotDecodable, "truncated");
    }

    /// As the end says it, and as it turns out only while inflating.
    #[test]
    fn a_large_record_is_left_until_large_ones_may_be() {
        let json = with_events(&format!("[{GOOD}]")) + &" ".repeat(LARGE);
        let (whole, small) = (gzip(json.as_bytes()), gzip(with_events(&format!("[{GOOD}]")).as_bytes()));
        let mut lying = whole.clone();
        lying.splice(whole.len() - 4.., 9u32.to_le_bytes());
        let members = [gzip(&json.as_bytes()[..99]), gzip(&json.as_bytes()[99..])].concat();
        let decoder = decoder(64 << 20);
        for (large, rejections) in [(whole, 0), (members, 0), (lying, 1)] {
            let records = [record(small.clone()), record(large), record(small.clone())];
            let (mut scratch, mut out) = (Scratch::new(), Decoded::default());
            assert_eq!(decoder.decode(&mut scratch, &records, false, &mut out), 1);
            assert_eq!(decoder.decode(&mut scratch, &records[1..], false, &mut out), 0, "it is the first");
            assert!(scratch.inflater.buffer.len() <= LARGE, "and took no memory");
            assert_eq!((out.counts.records, out.counts.events, out.counts.rejections), (1, 1, 0), "nor was it counted");
            assert_eq!(decoder.decode(&mut scratch, &records[1..], true, &mut out), 2);
            assert_eq!((out.counts.records, out.counts.rejections), (3, rejections));
            assert!(scratch.inflater.buffer.len() <= LARGE, "the memory is given back");
        }
    }
}
