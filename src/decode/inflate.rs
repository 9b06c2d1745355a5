//! Bounded inflation of gzip payloads.

use std::io::{ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

use super::libdeflate::{Decompressor, Member};

/// No deflate stream expands by more than this: a trailer that claims more is a lie.
const LARGEST_RATIO: usize = 1032;

/// Inflates one payload after the other into the same memory.
#[derive(Debug, Default)]
pub struct Inflater {
    decompressor: Decompressor,
    /// Initialised to its whole length, so that growing it is the only time that memory is cleared.
    buffer: Vec<u8>,
}

/// Why a payload was not inflated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotInflated {
    /// More comes out than the limit; inflation stopped there.
    PastLimit,
    /// Not a whole, intact gzip: says why.
    Bad(String),
}

impl Inflater {
    /// Inflates all members of a gzip, at most `limit` bytes. Memory stays below `limit` too, whatever the input says.
    pub fn inflate(&mut self, data: &[u8], limit: usize) -> Result<&[u8], NotInflated> {
        let length = match self.one_member(data, limit) {
            Some(length) => length,
            None => self.members(data, limit)?,
        };
        Ok(&self.buffer[..length])
    }

    /// Gives back memory beyond `bytes`: one large payload must not pin it.
    pub fn shrink(&mut self, bytes: usize) {
        if self.buffer.len() > bytes {
            self.buffer = Vec::new();
        }
    }

    /// The usual case: one member, whose trailer tells its length. `None`: the other way decides.
    fn one_member(&mut self, data: &[u8], limit: usize) -> Option<usize> {
        let trailer: [u8; 4] = data.last_chunk().copied()?;
        let length = u32::from_le_bytes(trailer) as usize;
        if length > limit || length / LARGEST_RATIO > data.len() {
            return None;
        }
        self.reserve(length);
        let member = self.decompressor.gzip_member(data, &mut self.buffer[..length]);
        (member == Member::Whole { read: data.len(), written: length }).then_some(length)
    }

    /// Every other case, strictly: several members, lies about the length, and what is broken.
    fn members(&mut self, data: &[u8], limit: usize) -> Result<usize, NotInflated> {
        let (mut decoder, mut length) = (MultiGzDecoder::new(data), 0);
        loop {
            if length == self.buffer.len() {
                // One byte more than the limit, to see that there is more.
                self.reserve((2 * length).max(64 << 10).min(limit + 1));
            }
            let end = self.buffer.len().min(limit + 1);
            match decoder.read(&mut self.buffer[length..end]) {
                Ok(0) => return Ok(length),
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(NotInflated::Bad("gzip: cut short".to_owned()));
                }
                Err(error) => return Err(NotInflated::Bad(format!("gzip: {error}"))),
            }
            if length > limit {
                return Err(NotInflated::PastLimit);
            }
        }
    }

    fn reserve(&mut self, length: usize) {
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(data: &[u8], limit: usize) -> Result<Vec<u8>, NotInflated> {
        Inflater::default().inflate(data, limit).map(<[u8]>::to_vec)
    }

    #[test]
    fn several_members_are_one_payload() {
        let data = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        assert_eq!(inflate(&data, 100).unwrap(), b"one two");
        // Two of one length: the trailer of the second fits the first.
        assert_eq!(inflate(&[gzip(b"abc"), gzip(b"def")].concat(), 100).unwrap(), b"abcdef");
    }

    #[test]
    fn what_is_not_a_whole_gzip_is_bad() {
        let good = gzip(b"hello, hello, hello");
        let mut crc = good.clone();
        crc[good.len() - 8] ^= 1;
        let mut length = good.clone();
        length[good.len() - 1] ^= 1;
        let behind = [&good[..], b"x"].concat();
        let trailer_again = [&good[..], &good[good.len() - 8..]].concat();
        let zeros = [&good[..], &[0; 8]].concat();
        for bad in [&good[..good.len() - 1], &good[..12], b"\x1f\x8b", &crc, &length, &behind, &trailer_again, &zeros] {
            assert!(matches!(inflate(bad, 1000), Err(NotInflated::Bad(_))), "{bad:?}");
        }
    }

    #[test]
    fn stops_at_the_limit_and_takes_no_more_memory() {
        let bomb = gzip(&vec![b'a'; 10 << 20]);
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&bomb, 1 << 20), Err(NotInflated::PastLimit));
        assert!(inflater.buffer.capacity() <= (1 << 20) + 4096, "{}", inflater.buffer.capacity());
        assert_eq!(inflater.inflate(&bomb, 10 << 20).unwrap().len(), 10 << 20, "the limit itself is allowed");
        inflater.shrink(1 << 20);
        assert_eq!(inflater.buffer.capacity(), 0);
    }

    #[test]
    fn a_lying_trailer_is_seen_through() {
        let mut small = gzip(b"hello");
        let at = small.len() - 4;
        small[at..].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut inflater = Inflater::default();
        assert!(matches!(inflater.inflate(&small, usize::MAX >> 1), Err(NotInflated::Bad(_))));
        assert!(inflater.buffer.capacity() < 1 << 20);
    }

    proptest! {
        #[test]
        fn any_cut_into_members_comes_back(data: Vec<u8>, cuts in prop::collection::vec(0usize..100, 0..4)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(data.len())).collect();
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([data.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let members: Vec<u8> = starts.zip(ends).flat_map(|(from, to)| gzip(&data[from..to])).collect();
            prop_assert_eq!(inflate(&members, data.len()).unwrap(), data);
        }

        #[test]
        fn nothing_panics(data: Vec<u8>, limit in 0usize..1000) {
            let _ = inflate(&[b"\x1f\x8b\x08\x00".as_slice(), &data].concat(), limit);
        }
    }
}
