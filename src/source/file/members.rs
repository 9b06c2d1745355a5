//! A gzip file as far as it can be read, and what is wrong with it.
//!
//! Its checksum comes last. So that no row is made of bytes that it would have refuted, a file is read through with
//! [`check`] before anything is taken out of it.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use crate::gzip::Damage;

/// Of bytes behind the last member no more are kept.
const MOST_TRAILING: u64 = 16 << 20;

/// What is wrong with a gzip, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Bytes of its content that are as they were; what comes behind them may be wrong.
    pub intact: u64,
    /// For a person.
    pub why: Arc<str>,
    /// What stands behind the last member.
    pub trailing: Bytes,
}

/// Is set when damage is known: before anything is read where that could be checked, else when it is met.
pub type Known = Arc<OnceLock<Damaged>>;

/// The content of all members. It ends where the gzip does, or where its damage is met: see [`Known`].
pub struct Members<R> {
    /// `None` at the end.
    member: Option<GzDecoder<BufReader<R>>>,
    inflated: u64,
    /// As much of it is known to be right, by the checksums of whole members.
    verified: u64,
    damage: Known,
}

impl<R: Read> Members<R> {
    /// `input` starts with a member.
    pub fn new(input: R, damage: &Known) -> Self {
        let member = GzDecoder::new(BufReader::with_capacity(1 << 20, input));
        Self { member: Some(member), inflated: 0, verified: 0, damage: Arc::clone(damage) }
    }

    /// A member has come to its end.
    fn next(&mut self) -> io::Result<()> {
        self.verified = self.inflated;
        let Some(member) = self.member.take() else { return Ok(()) };
        let mut input = member.into_inner();
        match input.fill_buf()?.first() {
            None => {}
            Some(0x1f) => self.member = Some(GzDecoder::new(input)),
            Some(_) => {
                let mut trailing = Vec::new();
                input.take(MOST_TRAILING).read_to_end(&mut trailing)?;
                self.damaged(self.inflated, &Damage::Trailing, trailing.into());
            }
        }
        Ok(())
    }

    fn damaged(&mut self, intact: u64, damage: &Damage, trailing: Bytes) {
        self.member = None;
        // Where it was checked before, this is known.
        let _ = self.damage.set(Damaged { intact, why: damage.to_string().into(), trailing });
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = self.member.as_mut().filter(|_| !into.is_empty()) {
            match member.read(into) {
                Ok(0) => self.next()?,
                Ok(read) => {
                    self.inflated += read as u64;
                    return Ok(read);
                }
                Err(error) => {
                    let damage = Damage::of(error)?;
                    // What inflates before a cut is right; else nobody knows where in the member it went wrong.
                    let intact = if matches!(damage, Damage::Truncated) { self.inflated } else { self.verified };
                    self.damaged(intact, &damage, Bytes::new());
                }
            }
        }
        Ok(0)
    }
}

/// Reads a gzip through: sets what is wrong with it, if anything.
pub fn check(input: impl Read, damage: &Known) -> io::Result<()> {
    io::copy(&mut Members::new(input, damage), &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(gzip: &[u8]) -> (Vec<u8>, Option<Damaged>) {
        let (known, mut content) = (Known::default(), Vec::new());
        Members::new(gzip, &known).read_to_end(&mut content).unwrap();
        let checked = Known::default();
        check(gzip, &checked).unwrap();
        assert_eq!(checked.get(), known.get());
        (content, known.get().cloned())
    }

    #[test]
    fn whole_members_are_read_one_behind_the_other() {
        let two = [member(b"one "), member(b"two")].concat();
        assert_eq!(read(&two), (b"one two".to_vec(), None));
    }

    #[test]
    fn it_says_up_to_where_the_content_can_be_believed() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let whole = [member(b"one "), member(&content)].concat();
        let cut = |bytes: usize| read(&whole[..whole.len() - bytes]);
        let (got, damage) = cut(8);
        assert_eq!((got.len() as u64, &*damage.clone().unwrap().why), (400_004, "gzip: truncated"));
        assert_eq!(damage.unwrap().intact, 400_004, "what inflates before the cut is right");
        let (got, damage) = cut(1000);
        assert!(got.len() > 100_000 && damage.unwrap().intact == got.len() as u64);

        for (what, byte) in [("checksum", whole.len() - 8), ("length", whole.len() - 1), ("data", whole.len() / 2)] {
            let mut wrong = whole.clone();
            wrong[byte] ^= 0x40;
            let damage = read(&wrong).1.expect(what);
            assert_eq!(damage.intact, 4, "{what}: no more than the members before it: {}", damage.why);
        }
        let (got, damage) = read(&[&whole[..], b"junk"].concat());
        let damage = damage.unwrap();
        assert_eq!((got.len(), damage.intact, &damage.trailing[..]), (400_004, 400_004, &b"junk"[..]));
    }
}
