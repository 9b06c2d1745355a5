//! An object of a bucket, read by ranges: its beginning is fetched at once and kept, other places in blocks.
//!
//! Each request names the version that was found first, so that what was written again meanwhile is never mixed. Where
//! it can help a request is tried again, a few times.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::event::Millis;
use crate::retry::{Patience, Retry, Verdict};
use crate::store;

/// Of the beginning so much is kept: a small object is fetched by one request.
const HEAD: usize = 1 << 20;
/// Pages of columns are near each other, and headers right before them.
const BLOCK: u64 = 1 << 20;
const BLOCKS: usize = 32;
/// Of one request: a person waits.
const ATTEMPTS: usize = 5;

/// An object of a bucket.
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    meta: ObjectMeta,
    head: Bytes,
    /// Those that were used last, the newest at the end.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Remote {
    /// Fetches the beginning of an object, and what the store says of it.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        key: &Path,
    ) -> object_store::Result<(Self, BTreeMap<String, String>)> {
        let (meta, attributes, head) = retried(&format!("get of {key}"), || begin(&store, key)).await?;
        let (runtime, blocks) = (Handle::current(), Mutex::default());
        let mut metadata = described(&attributes);
        metadata.extend(meta.e_tag.iter().map(|tag| ("etag".to_owned(), tag.clone())));
        metadata.extend(meta.version.iter().map(|version| ("version".to_owned(), version.clone())));
        Ok((Self { store, runtime, meta, head, blocks }, metadata))
    }

    pub fn size(&self) -> u64 {
        self.meta.size
    }

    pub fn modified(&self) -> Millis {
        self.meta.last_modified.timestamp_millis()
    }

    /// So many bytes, or fewer at its end. Not for threads of the runtime.
    pub fn range(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let end = at.saturating_add(length as u64).min(self.size());
        if at >= end {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.of_head(at..end) {
            return Ok(bytes);
        }
        // What is longer than some blocks is fetched as it is.
        if end - at > 4 * BLOCK {
            return self.get(at..end);
        }
        let mut bytes = BytesMut::new();
        for block in at / BLOCK..end.div_ceil(BLOCK) {
            let content = self.block(block)?;
            let within = |at: u64| (at.saturating_sub(block * BLOCK) as usize).min(content.len());
            bytes.extend_from_slice(&content[within(at)..within(end)]);
        }
        Ok(bytes.freeze())
    }

    /// The next bytes of who reads all of it, up to so many.
    pub fn step(&self, at: u64, most: u64) -> io::Result<Bytes> {
        let head = self.head.len() as u64;
        let end = if at < head { head } else { at.saturating_add(most).min(self.size()) };
        match self.of_head(at..end) {
            Some(bytes) => Ok(bytes),
            None if at >= end => Ok(Bytes::new()),
            None => self.get(at..end),
        }
    }

    fn of_head(&self, range: Range<u64>) -> Option<Bytes> {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        (start <= end && end <= self.head.len()).then(|| self.head.slice(start..end))
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = blocks.iter().position(|(kept, _)| *kept == number).and_then(|at| blocks.remove(at));
        let block = match kept {
            Some(block) => block,
            None => {
                let range = number * BLOCK..((number + 1) * BLOCK).min(self.size());
                (number, self.of_head(range.clone()).map_or_else(|| self.get(range), Ok)?)
            }
        };
        if blocks.len() == BLOCKS {
            blocks.pop_front();
        }
        let content = block.1.clone();
        blocks.push_back(block);
        Ok(content)
    }

    fn get(&self, range: Range<u64>) -> io::Result<Bytes> {
        let key = &self.meta.location;
        let wanted = range.end - range.start;
        let attempt = || async {
            let options = GetOptions {
                if_match: self.meta.e_tag.clone(),
                range: Some(GetRange::Bounded(range.clone())),
                ..Default::default()
            };
            self.store.get_opts(key, options).await?.bytes().await
        };
        let got = self.runtime.block_on(retried(&format!("get of {key}"), attempt));
        match got {
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
            Ok(bytes) => Err(io::Error::other(format!("the store sent {} bytes of {wanted}", bytes.len()))),
            Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => {
                Err(io::Error::other("it was written again or deleted meanwhile: inspect it once more"))
            }
            Err(error) => Err(io::Error::other(store::explain(&error))),
        }
    }
}

/// One request, of which no more is taken than the beginning: a range that an empty object has not would be refused.
async fn begin(store: &Arc<dyn ObjectStore>, key: &Path) -> object_store::Result<(ObjectMeta, Attributes, Bytes)> {
    let found: GetResult = store.get_opts(key, GetOptions::default()).await?;
    let (meta, attributes) = (found.meta.clone(), found.attributes.clone());
    let (mut stream, mut head) = (found.into_stream(), BytesMut::new());
    while head.len() < HEAD {
        match stream.next().await {
            Some(bytes) => head.extend_from_slice(&bytes?),
            None => break,
        }
    }
    head.truncate(HEAD);
    Ok((meta, attributes, head.freeze()))
}

fn described(attributes: &Attributes) -> BTreeMap<String, String> {
    let name = |attribute: &Attribute| match attribute {
        Attribute::ContentDisposition => "content-disposition".to_owned(),
        Attribute::ContentEncoding => "content-encoding".to_owned(),
        Attribute::ContentLanguage => "content-language".to_owned(),
        Attribute::ContentType => "content-type".to_owned(),
        Attribute::CacheControl => "cache-control".to_owned(),
        Attribute::StorageClass => "storage-class".to_owned(),
        Attribute::Metadata(name) => name.to_string(),
        other => format!("{other:?}").to_lowercase(),
    };
    attributes.iter().map(|(attribute, value)| (name(attribute), value.as_ref().to_owned())).collect()
}

/// Tries a few times what may heal by itself; a refusal, and the last attempt, is an error.
async fn retried<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut retry = Retry::new(&Clock::system(), &Patience::default(), what);
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if store::verdict(&error) == Verdict::Transient && !is_condition(&error) => {
                // Only a refusal is not borne.
                let _ = retry.again(Verdict::Transient, &store::explain(&error)).await;
            }
            done => return done,
        }
    }
    attempt().await
}

/// No time helps against another version.
fn is_condition(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Precondition { .. })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::super::input::Input;
    use super::*;

    async fn input(content: &[u8]) -> (Arc<dyn ObjectStore>, Path, Arc<Input>) {
        let (store, key) = (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, Path::from("a/b"));
        store.put(&key, Bytes::copy_from_slice(content).into()).await.unwrap();
        let (remote, metadata) = Remote::open(Arc::clone(&store), &key).await.unwrap();
        (store, key, Arc::new(Input::remote("s3://x/a/b".into(), metadata, remote)))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn any_range_is_what_is_there() {
        let content: Vec<u8> = (0..12_000_000u32).map(|n| (n % 251) as u8 ^ (n >> 16) as u8).collect();
        let (_, _, input) = input(&content).await;
        tokio::task::spawn_blocking(move || {
            let block = BLOCK as usize;
            for (at, length) in [
                (0, 5),
                (0, block),
                (block - 3, 7),
                (3 * block - 1, 2),
                (2 * block, block),
                (5, 9 * block),
                (11_999_990, 99),
                (12_000_000, 1),
            ] {
                let end = (at + length).min(content.len());
                assert!(input.range(at as u64, length).unwrap() == content[at..end], "{at} {length}");
            }
            let mut all = Vec::new();
            input.read().unwrap().read_to_end(&mut all).unwrap();
            assert!(all == content);
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_written_again_meanwhile_is_not_mixed() {
        let (store, key, input) = input(&vec![1; 3 << 20]).await;
        store.put(&key, vec![2u8; 3 << 20].into()).await.unwrap();
        let error = tokio::task::spawn_blocking(move || input.range(2 << 20, 5).unwrap_err()).await.unwrap();
        assert!(error.to_string().contains("written again or deleted meanwhile"), "{error}");
    }

    #[tokio::test]
    async fn an_empty_object_has_no_bytes() {
        let (_, _, input) = input(b"").await;
        assert_eq!((input.size, input.range(0, 8).unwrap().len()), (Some(0), 0));
        assert!(input.metadata.contains_key("etag"));
    }
}
