//! The pack: every object of one flush in one object under `staged/`, so that one put makes a flush durable.
//!
//! Layout, version 1, integers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | `FMPACK` and the version as two ASCII digits |
//! | 8..12 | length of the index |
//! | 12..16 | CRC-32C of the index |
//! | 16.. | the index, JSON: key, offset, length, CRC-32C, content type and metadata of each object |
//! | then | the bodies, one after the other; offsets count from here |

use bytes::Bytes;
use object_store::PutPayload;
use serde::{Deserialize, Serialize};

use super::storage::Description;
use crate::buffer::Lease;

const MAGIC: &[u8; 8] = b"FMPACK01";
/// Bytes before the index.
pub(crate) const HEAD: usize = 16;

/// An object with its final key.
#[derive(Debug)]
pub struct PackedObject {
    /// Below the destination.
    pub key: String,
    pub description: Description,
    /// The body, in pieces.
    pub body: Vec<Bytes>,
    /// What the body counts for in the budget, where it does; given back with it.
    pub lease: Option<Lease>,
}

impl PackedObject {
    pub fn len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// Rows, as its metadata says.
    pub fn rows(&self) -> u64 {
        let rows = self.description.metadata.iter().find(|(name, _)| name == "rows");
        rows.and_then(|(_, rows)| rows.parse().ok()).unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Serialize, Deserialize)]
struct Index {
    objects: Vec<Entry>,
}

/// What the index says of an object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub key: String,
    /// Where its body begins, counted from the first body.
    pub offset: usize,
    pub length: usize,
    pub crc32c: u32,
    pub content_type: String,
    pub metadata: Vec<(String, String)>,
}

/// A pack that is not what was staged: its bytes were changed, or a newer version wrote it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadPack {
    #[error("not a pack, or of a version that this firemain does not know")]
    NotAPack,
    #[error("cut short: {0} bytes")]
    Truncated(usize),
    #[error("the checksum of {0} does not match")]
    Checksum(String),
    #[error("the index can't be read: {0}")]
    Index(String),
}

/// The bytes of a pack; bodies are not copied.
pub fn write(objects: &[PackedObject]) -> PutPayload {
    let mut offset = 0;
    let entries = objects.iter().map(|object| {
        let start = offset;
        offset += object.len();
        Entry {
            key: object.key.clone(),
            offset: start,
            length: object.len(),
            crc32c: crc32c(&object.body),
            content_type: object.description.content_type.clone(),
            metadata: object.description.metadata.clone(),
        }
    });
    let index = Index { objects: entries.collect() };
    let index = serde_json::to_vec(&index).expect("an index of plain values is always JSON");
    let length = u32::try_from(index.len()).expect("an index of fewer than millions of objects is below 4 GiB");
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&index).to_le_bytes());
    let bodies = objects.iter().flat_map(|object| object.body.iter().cloned());
    [Bytes::from(head), Bytes::from(index)].into_iter().chain(bodies).collect()
}

/// Where the first body begins. `bytes` are the first of a pack: [`HEAD`] of them tell it.
pub(crate) fn bodies_at(bytes: &[u8]) -> Result<usize, BadPack> {
    if bytes.get(..8).ok_or(BadPack::Truncated(bytes.len()))? != MAGIC {
        return Err(BadPack::NotAPack);
    }
    Ok(HEAD + word(bytes, 8)? as usize)
}

/// What the index says, which is checked. `bytes` are the first of a pack: all that come before the bodies tell it.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, BadPack> {
    let index = bytes.get(HEAD..bodies_at(bytes)?).ok_or(BadPack::Truncated(bytes.len()))?;
    if crc32c::crc32c(index) != word(bytes, 12)? {
        return Err(BadPack::Checksum("the index".into()));
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| BadPack::Index(error.to_string()))?;
    Ok(index.objects)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BadPack> {
    let word = bytes.get(at..at + 4).ok_or(BadPack::Truncated(bytes.len()))?;
    Ok(u32::from_le_bytes(word.try_into().expect("four bytes")))
}

/// Reads a pack back; every checksum is checked. Bodies share the memory of `bytes`.
pub fn read(bytes: &Bytes) -> Result<Vec<PackedObject>, BadPack> {
    let truncated = || BadPack::Truncated(bytes.len());
    let end = bodies_at(bytes)?;
    let objects = entries(bytes)?.into_iter().map(|entry| {
        let (from, to) =
            (end.saturating_add(entry.offset), end.saturating_add(entry.offset.saturating_add(entry.length)));
        if to > bytes.len() {
            return Err(truncated());
        }
        let body = bytes.slice(from..to);
        if crc32c::crc32c(&body) != entry.crc32c {
            return Err(BadPack::Checksum(entry.key));
        }
        let description = Description { content_type: entry.content_type, metadata: entry.metadata };
        Ok(PackedObject { key: entry.key, description, body: vec![body], lease: None })
    });
    objects.collect()
}

fn crc32c(pieces: &[Bytes]) -> u32 {
    pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects() -> Vec<PackedObject> {
        let description =
            Description { content_type: "application/x-ndjson".into(), metadata: vec![("rows".into(), "2".into())] };
        vec![
            PackedObject {
                key: "log_events/log_group=%2Fa/dt=2024-03-22/hour=05/w-1-0.parquet".into(),
                description: description.clone(),
                body: vec![Bytes::from_static(b"PAR1"), Bytes::from_static(b"more")],
                lease: None,
            },
            PackedObject {
                key: "errors/x".into(),
                description,
                body: vec![Bytes::from_static(b"\x1f\x8b")],
                lease: None,
            },
        ]
    }

    fn bytes_of(payload: PutPayload) -> Bytes {
        Bytes::from(payload)
    }

    #[test]
    fn a_pack_reads_back() {
        let read = read(&bytes_of(write(&objects()))).unwrap();
        assert_eq!(read.len(), 2);
        for (read, written) in read.iter().zip(objects()) {
            assert_eq!((&read.key, &read.description), (&written.key, &written.description));
            assert_eq!(read.body.concat(), written.body.concat());
        }
    }

    /// The stored format: a change here needs a new version and a reader for the old one.
    #[test]
    fn version_1_is_these_bytes() {
        let written = bytes_of(write(&objects()));
        let golden = include_bytes!("../../tests/golden/pack-v1.bin");
        assert_eq!(written, golden.as_slice());
        assert!(read(&Bytes::from_static(golden)).is_ok());
    }

    proptest! {
        /// Whatever byte is changed or wherever it is cut, a pack is refused and nothing panics.
        #[test]
        fn a_damaged_pack_is_refused(at in 0usize..10_000, flip in 1u8..=255, cut: bool) {
            let mut bytes = bytes_of(write(&objects())).to_vec();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            prop_assert!(read(&bytes.into()).is_err());
        }
    }
}
