//! The payloads of rejections: masked where they can be read, compressed or not.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Masker, Scratch};
use crate::decode::is_aggregate;
use crate::event::Rejection;
use crate::gzip::is_gzip;

/// What becomes of the payload of a rejection that can't be searched for secrets: what is compressed and damaged, inflates
/// past the limit or is compressed twice, a damaged aggregated record, what is no text or is base 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// The rejection has none: as long as the stream keeps the record, it can be read there.
    #[default]
    Withhold,
    /// It is kept as it is.
    Keep,
}

/// A masker, and what else there is to know for rejections.
#[derive(Debug)]
pub struct Masking {
    pub masker: Masker,
    pub unreadable: Unreadable,
    /// `limits.inflated_record_bytes`
    pub inflated_record_bytes: usize,
}

impl Masking {
    /// Appends a text with its secrets replaced; false, and nothing is appended, if it has none.
    pub fn text(&self, scratch: &mut Scratch, text: &[u8], out: &mut Vec<u8>) -> bool {
        self.masker.mask(scratch, text, out)
    }

    /// Masks the payload of a rejection and what is said of it.
    pub fn rejection(&self, scratch: &mut Scratch, rejection: &mut Rejection) {
        let mut out = Vec::new();
        if self.masker.mask(scratch, rejection.message.as_bytes(), &mut out) {
            rejection.message = String::from_utf8_lossy(&out).into_owned();
        }
        if let Some(key) = &mut rejection.partition_key {
            out.clear();
            if self.masker.mask(scratch, key.as_bytes(), &mut out) {
                *key = String::from_utf8_lossy(&out).into();
            }
        }
        match self.payload(scratch, &rejection.payload) {
            Ok(None) => {}
            Ok(Some(masked)) => rejection.payload = masked,
            Err(Unsearchable) if self.unreadable == Unreadable::Keep => {}
            Err(Unsearchable) => {
                rejection.message.push_str(
                    " (the payload is withheld, for it can't be searched for what [mask] names: the stream has it, by \
                     its sequence number)",
                );
                rejection.payload = Bytes::new();
            }
        }
    }

    /// `None` when it holds no secret.
    fn payload(&self, scratch: &mut Scratch, payload: &[u8]) -> Result<Option<Bytes>, Unsearchable> {
        let mut out = Vec::new();
        if !is_gzip(payload) {
            searchable(payload)?;
            return Ok(self.masker.mask(scratch, payload, &mut out).then(|| out.into()));
        }
        let mut text = Vec::new();
        let most = self.inflated_record_bytes as u64;
        MultiGzDecoder::new(payload).take(most + 1).read_to_end(&mut text).map_err(|_| Unsearchable)?;
        if text.len() as u64 > most {
            return Err(Unsearchable);
        }
        searchable(&text)?;
        if !self.masker.mask(scratch, &text, &mut out) {
            return Ok(None);
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&out).expect("a vector takes what is written");
        Ok(Some(gzip.finish().expect("a vector takes what is written").into()))
    }
}

/// Whether secrets would be found in it: it is text, with some bytes that are none perhaps, and not base 64 as a whole.
fn searchable(payload: &[u8]) -> Result<(), Unsearchable> {
    // Compressed data, protocol buffers and UTF-16 have such; logs have line ends, tabs and the escapes of terminals.
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31);
    let is_base_64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(byte);
    let may_be_base_64 = payload.len() >= SHORTEST_BASE_64 && payload.iter().all(is_base_64);
    if is_aggregate(payload) || is_gzip(payload) || payload.iter().any(is_binary) || may_be_base_64 {
        return Err(Unsearchable);
    }
    Ok(())
}

/// Bytes of what may be base 64; less is taken for a word.
const SHORTEST_BASE_64: usize = 16;

/// Nobody can tell what is in it.
struct Unsearchable;

#[cfg(test)]
mod tests {
    use super::super::{MaskConfig, Replacement};
    use super::*;
    use crate::event::RejectionCode;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn masked(payload: &[u8], unreadable: Unreadable) -> Rejection {
        let config =
            MaskConfig { fields: vec!["pw".to_owned()], replacement: Replacement::default(), ..MaskConfig::default() };
        let masking = Masking { masker: Masker::new(&config).unwrap(), unreadable, inflated_record_bytes: 1000 };
        let mut rejection = Rejection {
            code: RejectionCode::PayloadInvalid,
            message: "pw=x is wrong".to_owned(),
            payload: Bytes::copy_from_slice(payload),
            sequence: "1".parse().unwrap(),
            partition_key: Some("pw=x".into()),
            arrival: 0,
            earlier: None,
        };
        masking.rejection(&mut Scratch::default(), &mut rejection);
        rejection
    }

    #[test]
    fn payloads_are_masked_compressed_or_not() {
        let rejection = masked(b"\xffpw=secret \xfe", Unreadable::Withhold);
        assert_eq!((&*rejection.payload, &*rejection.message), (&b"\xffpw=**** \xfe"[..], "pw=**** is wrong"));
        assert_eq!(rejection.partition_key.as_deref(), Some("pw=****"));
        let rejection = masked(&gzip(br#"{"pw":"secret"}"#), Unreadable::Withhold);
        let mut text = String::new();
        MultiGzDecoder::new(&*rejection.payload).read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"{"pw":"****"}"#);
        let clean = gzip(b"nothing");
        assert_eq!(*masked(&clean, Unreadable::Withhold).payload, *clean, "not compressed again");
    }

    #[test]
    fn what_can_not_be_searched_is_withheld_unless_it_is_to_be_kept() {
        let mut damaged = gzip(br#"{"pw":"secret"}"#);
        damaged.truncate(damaged.len() - 3);
        let bomb = gzip(&[b' '; 1001]);
        let aggregate = include_bytes!("../../tests/golden/kpl-aggregate.bin");
        let twice = gzip(&gzip(b"pw=secret"));
        let utf_16: Vec<u8> = "pw=secret".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"pw=secret, and what else there is to say of it").unwrap();
        let zlib = zlib.finish().unwrap();
        let base_64 = b"cHc9c2VjcmV0LCBhbmQgd2hhdCBlbHNlIHRoZXJlIGlzIHRvIHNheSBvZiBpdA==\n";
        for payload in [&damaged[..], &bomb, aggregate, &twice, &utf_16, &zlib, base_64] {
            let rejection = masked(payload, Unreadable::Withhold);
            assert!(rejection.payload.is_empty() && rejection.message.contains("withheld"), "{}", rejection.message);
            let rejection = masked(payload, Unreadable::Keep);
            assert_eq!((&*rejection.payload, &*rejection.message), (payload, "pw=**** is wrong"));
        }
    }
}
