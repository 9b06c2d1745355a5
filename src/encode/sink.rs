//! Where encoded bytes go: a list of chunks, so that a large object is never copied to make it larger.

use std::io::{self, Write};

use bytes::Bytes;

const FIRST_CHUNK: usize = 4 << 10;
const LARGEST_CHUNK: usize = 1 << 20;

/// Collects what is written. Chunks grow with the object, from 4 KiB to 1 MiB.
#[derive(Debug, Default)]
pub(super) struct Sink {
    full: Vec<Bytes>,
    last: Vec<u8>,
    len: usize,
}

impl Sink {
    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All that was written, without spare capacity.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        if !self.last.is_empty() {
            self.last.shrink_to_fit();
            self.full.push(self.last.into());
        }
        self.full
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let room = self.last.capacity() - self.last.len();
            if room == 0 {
                let capacity = (self.last.capacity() * 2).clamp(FIRST_CHUNK, LARGEST_CHUNK);
                let full = std::mem::replace(&mut self.last, Vec::with_capacity(capacity));
                if !full.is_empty() {
                    self.full.push(full.into());
                }
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.last.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_what_was_written_in_order() {
        let written: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let mut sink = Sink::default();
        let mut rest = written.as_slice();
        for len in (1..).map(|i| i * 7919 % 100_003) {
            let (now, later) = rest.split_at(len.min(rest.len()));
            sink.write_all(now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(sink.len(), written.len());
        let chunks = sink.finish();
        assert_eq!(chunks.concat(), written);
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= LARGEST_CHUNK));
    }
}
