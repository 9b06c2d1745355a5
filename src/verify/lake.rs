//! What the objects of the lake say of themselves: by the commits that they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Attribute, ObjectMeta};
use parquet::file::metadata::ParquetMetaDataReader;

use super::VerifyError;
use crate::commit::snapshot::{PackId, WorkerId};
use crate::commit::storage::Storage;

/// Objects that are asked at once.
const LOOKS: usize = 32;
/// Of a Parquet object the end is read: mostly its whole footer.
const FOOTER: u64 = 64 << 10;

/// An object of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    pub rows: u64,
    pub is_error: bool,
}

/// Finds the objects of packs, and those of the same workers that are of no such pack.
#[derive(Debug, Default)]
pub struct Found {
    /// By pack and by the number in their names.
    pub objects: BTreeMap<PackId, BTreeMap<u64, Object>>,
    /// Keys of objects of packs that are not wanted.
    pub others: BTreeMap<PackId, String>,
}

impl Found {
    pub fn of(&self, pack: &PackId) -> Vec<Object> {
        self.objects.get(pack).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }
}

/// Looks at all objects of the lake. `wanted`: packs whose objects are to be found. `workers`: whose others are told.
pub async fn find(
    storage: &Storage,
    wanted: &BTreeSet<&PackId>,
    workers: &BTreeSet<&WorkerId>,
) -> Result<Found, VerifyError> {
    let (mut found, mut looks) = (Found::default(), Vec::new());
    let state = Path::from("_firemain");
    let packed = |object: &ObjectMeta| {
        let name = object.location.filename().filter(|_| !object.location.prefix_matches(&state));
        name.and_then(named)
    };
    let is_known = |object: &ObjectMeta| packed(object).is_some_and(|(pack, _)| workers.contains(&pack.worker));
    for object in storage.list_only(&Path::default(), None, is_known).await? {
        let Some((pack, number)) = packed(&object) else { continue };
        if wanted.contains(&pack) {
            let look = async move { look(storage, &object).await.map(|object| (pack, number, object)) };
            looks.push(look.boxed());
        } else {
            found.others.insert(pack, object.location.to_string());
        }
    }
    let mut looks = futures::stream::iter(looks).buffer_unordered(LOOKS);
    while let Some((pack, number, object)) = looks.try_next().await? {
        let twice = found.objects.entry(pack).or_default().insert(number, object.clone());
        // An error object is in two places while a replay moves it, or where that was killed in between.
        if let Some(twice) = twice.filter(|twice| !twice.is_error || !object.is_error) {
            return Err(VerifyError::Twice(twice.key, object.key));
        }
    }
    Ok(found)
}

/// The pack, and which of its objects, that a file's name tells: `<worker>-<flush>-<n>.<extension>`.
fn named(name: &str) -> Option<(PackId, u64)> {
    let (stem, _) = name.split_once('.')?;
    let (pack, number) = stem.rsplit_once('-')?;
    let pack: PackId = pack.parse().ok()?;
    // Others have names of their own in their tables.
    uuid::Uuid::parse_str(&pack.worker.to_string()).ok()?;
    Some((pack, number.parse().ok()?))
}

/// Whether a key is that of rejections: in the error prefix, whatever it was called then, or in what was replayed of it.
pub fn is_error(key: &str) -> bool {
    key.split('/').any(|segment| segment.starts_with("error="))
}

async fn look(storage: &Storage, object: &ObjectMeta) -> Result<Object, VerifyError> {
    let key = object.location.to_string();
    let told = storage.attributes_of(&object.location).await?;
    let rows = told.and_then(|told| told.get(&Attribute::Metadata("rows".into()))?.parse().ok());
    let rows = match rows {
        Some(rows) => rows,
        None => count(storage, object).await?,
    };
    Ok(Object { is_error: is_error(&key), key, rows })
}

/// A store without metadata, such as a disk: the rows are counted.
async fn count(storage: &Storage, object: &ObjectMeta) -> Result<u64, VerifyError> {
    let key = object.location.to_string();
    let unreadable = |why: String| VerifyError::Unreadable(key.clone(), why);
    if key.ends_with(".parquet") {
        let mut reader = ParquetMetaDataReader::new();
        let mut from = object.size.saturating_sub(FOOTER);
        loop {
            let end = storage.get_range(object, from..object.size).await?.unwrap_or_default();
            match reader.try_parse_sized(&end, object.size) {
                Ok(()) => {
                    let metadata = reader.finish().map_err(|error| unreadable(error.to_string()))?;
                    return Ok(u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0));
                }
                Err(parquet::errors::ParquetError::NeedMoreData(needed)) if from > 0 => {
                    from = object.size.saturating_sub(needed as u64);
                }
                Err(error) => return Err(unreadable(error.to_string())),
            }
        }
    }
    let bytes = storage.get(&object.location).await?.unwrap_or_default();
    let counting = tokio::task::spawn_blocking(move || lines(&key, &bytes).map_err(|error| (key, error)));
    let counted = counting.await.expect("counting lines does not panic");
    counted.map_err(|(key, error)| VerifyError::Unreadable(key, error.to_string()))
}

fn lines(key: &str, bytes: &Bytes) -> std::io::Result<u64> {
    let count = |text: &mut dyn BufRead| {
        let (mut lines, mut line) = (0, Vec::new());
        while text.read_until(b'\n', &mut line)? > 0 {
            lines += 1;
            line.clear();
        }
        Ok(lines)
    };
    if key.ends_with(".gz") {
        count(&mut BufReader::new(MultiGzDecoder::new(&bytes[..])))
    } else if key.ends_with(".zst") {
        count(&mut BufReader::new(zstd::Decoder::new(&bytes[..])?))
    } else {
        count(&mut &bytes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_tell_their_pack() {
        let worker = "0190b2d6-8c2f-7cc3-98e2-5f3a8c0d1e2f";
        let (pack, number) = named(&format!("{worker}-12-3.json.gz")).unwrap();
        assert_eq!((pack.to_string(), number), (format!("{worker}-12"), 3));
        for other in ["part-0000-1.parquet", "x.parquet", "12-3.json", &format!("{worker}.json")] {
            assert!(named(other).is_none(), "{other}");
        }
    }

    #[test]
    fn lines_are_counted_whatever_they_are_compressed_by() {
        use std::io::Write;
        let text = b"{}\n{}\n{}\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        assert_eq!(lines("a.json", &Bytes::from_static(text)).unwrap(), 3);
        assert_eq!(lines("a.json.gz", &gzip.finish().unwrap().into()).unwrap(), 3);
        assert_eq!(lines("a.json.zst", &zstd::encode_all(&text[..], 1).unwrap().into()).unwrap(), 3);
    }
}
