//! The store below the destination, with the one way to retry: every call here either works or gives up for good.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::debug;

use crate::clock::Clock;
use crate::retry::{GaveUp, Patience, Retry};
use crate::store;
use crate::telemetry::Telemetry;

/// Past this an object is put in parts: one lost connection then costs one part, not the whole.
const MULTIPART_BYTES: usize = 64 << 20;
/// S3 takes at most 10,000 parts of at least 5 MiB: room for 156 GiB.
const PART_BYTES: usize = 16 << 20;
/// Bytes of puts under way at once: on a slow link, more of them would each take longer than a request may.
const UNDER_WAY: usize = 64 << 20;
/// Less than this does not count, nor wait: heartbeats, for one.
const SMALL: usize = 16 << 10;
const KIB: usize = 1 << 10;
/// Deletes under way at once: hundreds one after the other, as collection has them, would take most of a lease.
const DELETES: usize = 32;

/// A store, its clock and its patience. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Whether the store takes content types and metadata: a local disk does not.
    attributes: bool,
    /// For [`UNDER_WAY`], in KiB.
    uploads: Arc<Semaphore>,
    telemetry: Telemetry,
    pub clock: Clock,
    pub patience: Patience,
}

/// What a put-if-absent answered. None of these is proof of what happened: see [`super::log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Created,
    Exists,
    /// Anything else: it may have been applied, may still be, or never.
    Unknown,
}

/// How an object is described to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    pub content_type: String,
    pub metadata: Vec<(String, String)>,
}

impl Storage {
    pub fn new(store: Arc<dyn ObjectStore>, attributes: bool, clock: Clock, patience: Patience) -> Self {
        let uploads = Arc::new(Semaphore::new(UNDER_WAY / KIB));
        Self { store, attributes, uploads, telemetry: Telemetry::default(), clock, patience }
    }

    /// The same, telling of its puts and of what fails.
    pub fn telling(self, telemetry: &Telemetry) -> Self {
        Self { telemetry: telemetry.clone(), ..self }
    }

    /// Puts an object, whatever is there, until it is acknowledged.
    pub async fn put(&self, key: &Path, payload: PutPayload, description: &Description) -> Result<(), GaveUp> {
        self.retried(format!("put of {key}"), || self.put_once(key, payload.clone(), description)).await
    }

    /// The same with an object of the lake, whose tries are counted.
    pub async fn deliver(&self, key: &Path, payload: PutPayload, description: &Description) -> Result<(), GaveUp> {
        self.retried(format!("put of {key}"), || async {
            let put = self.put_once(key, payload.clone(), description).await;
            self.telemetry.metrics().puts.tried(put.is_ok());
            put
        })
        .await
    }

    async fn put_once(&self, key: &Path, payload: PutPayload, about: &Description) -> object_store::Result<()> {
        let _room = self.room(payload.content_length()).await;
        if payload.content_length() > MULTIPART_BYTES && self.attributes {
            return self.put_in_parts(key, payload, about).await;
        }
        let options = PutOptions { attributes: self.attributes(about), ..Default::default() };
        self.store.put_opts(key, payload, options).await.map(drop)
    }

    /// A share of [`UNDER_WAY`] for one attempt; more than all of it is all of it.
    async fn room(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        if bytes < SMALL {
            return None;
        }
        let share = u32::try_from((bytes / KIB).min(UNDER_WAY / KIB)).expect("it is 65,536 at most");
        Some(self.uploads.acquire_many(share).await.expect("the semaphore is never closed"))
    }

    async fn put_in_parts(&self, key: &Path, payload: PutPayload, about: &Description) -> object_store::Result<()> {
        let options = PutMultipartOptions { attributes: self.attributes(about), ..Default::default() };
        let mut upload = self.store.put_multipart_opts(key, options).await?;
        let sent = send_parts(upload.as_mut(), payload).await;
        if sent.is_err() {
            // Parts that stay behind cost money until the bucket's lifecycle removes them; try, but do not insist.
            if let Err(error) = upload.abort().await {
                debug!("abort of the upload of {key} failed: {error}");
            }
        }
        sent
    }

    /// One attempt to create an object that must not exist. A refusal (denied, no such bucket) goes by the patience
    /// of `retry`; everything else is for the caller to resolve.
    pub async fn create(&self, key: &Path, bytes: &Bytes, retry: &mut Retry) -> Result<Answer, GaveUp> {
        match self.store.put_opts(key, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Answer::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Answer::Exists)
            }
            Err(error) => {
                self.failed(&error, retry).await?;
                Ok(Answer::Unknown)
            }
        }
    }

    /// The bytes of an object; `None` when it is not there.
    pub async fn get(&self, key: &Path) -> Result<Option<Bytes>, GaveUp> {
        self.retried(format!("get of {key}"), || async {
            match self.store.get(key).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// The bytes of an object as it was when it was listed; `None` when it is not there any more, or was written again.
    pub async fn get_as_listed(&self, object: &ObjectMeta) -> Result<Option<Bytes>, GaveUp> {
        let key = &object.location;
        self.retried(format!("get of {key}"), || async {
            let options = GetOptions { if_match: object.e_tag.clone(), ..Default::default() };
            match self.store.get_opts(key, options).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// What an object says of itself; `None` when it is not there, or the store keeps no such thing.
    pub async fn attributes_of(&self, key: &Path) -> Result<Option<Attributes>, GaveUp> {
        if !self.attributes {
            return Ok(None);
        }
        self.retried(format!("head of {key}"), || async {
            match self.store.get_opts(key, GetOptions { head: true, ..Default::default() }).await {
                Ok(found) => Ok(Some(found.attributes)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Some bytes of an object as it was when it was listed; `None` when it is not there any more, or was written again.
    pub async fn get_range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Option<Bytes>, GaveUp> {
        let key = &object.location;
        self.retried(format!("get of {key}"), || async {
            let range = Some(GetRange::Bounded(range.clone()));
            let options = GetOptions { if_match: object.e_tag.clone(), range, ..Default::default() };
            match self.store.get_opts(key, options).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// The objects directly or further below a prefix, after `offset` in the order of keys, sorted.
    pub async fn list(&self, prefix: &Path, offset: Option<&Path>) -> Result<Vec<ObjectMeta>, GaveUp> {
        self.list_only(prefix, offset, |_| true).await
    }

    /// The same of those that are wanted: all others need no memory, however many there are.
    pub async fn list_only(
        &self,
        prefix: &Path,
        offset: Option<&Path>,
        wanted: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Vec<ObjectMeta>, GaveUp> {
        self.retried(format!("list of {prefix}"), || async {
            let found = match offset {
                Some(offset) => self.store.list_with_offset(Some(prefix), offset),
                None => self.store.list(Some(prefix)),
            };
            let found = found.try_filter(|object| std::future::ready(wanted(object)));
            let mut found: Vec<ObjectMeta> = found.try_collect().await?;
            found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            Ok(found)
        })
        .await
    }

    /// Deletes objects, in no order; one that is not there is as good as deleted.
    pub async fn delete(&self, keys: Vec<Path>) -> Result<(), GaveUp> {
        let deletes: Vec<_> = keys.into_iter().map(|key| self.delete_one(key).boxed()).collect();
        futures::stream::iter(deletes).buffer_unordered(DELETES).try_collect().await
    }

    async fn delete_one(&self, key: Path) -> Result<(), GaveUp> {
        self.retried(format!("delete of {key}"), || async {
            match self.store.delete(&key).await {
                Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Moves an object within the store: copies it, then deletes it. One that is not there any more was moved before.
    pub async fn rename(&self, from: &Path, to: &Path) -> Result<(), GaveUp> {
        self.retried(format!("copy of {from} to {to}"), || async {
            match self.store.copy(from, to).await {
                Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error),
                _ => Ok(()),
            }
        })
        .await?;
        self.delete_one(from.clone()).await
    }

    fn attributes(&self, description: &Description) -> Attributes {
        let mut attributes = Attributes::new();
        if self.attributes {
            attributes.insert(Attribute::ContentType, description.content_type.clone().into());
            for (name, value) in &description.metadata {
                attributes.insert(Attribute::Metadata(name.clone().into()), value.clone().into());
            }
        }
        attributes
    }

    async fn retried<T, F>(&self, what: String, mut attempt: impl FnMut() -> F) -> Result<T, GaveUp>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut retry = Retry::new(&self.clock, &self.patience, what);
        loop {
            match attempt().await {
                Ok(value) => {
                    retry.recovered();
                    return Ok(value);
                }
                Err(error) => self.failed(&error, &mut retry).await?,
            }
        }
    }

    /// After a request that failed: waits until it is time to try again, unless that is hopeless.
    async fn failed(&self, error: &object_store::Error, retry: &mut Retry) -> Result<(), GaveUp> {
        self.telemetry.metrics().store_errors.add(store::kind(error), 1);
        retry.again(store::verdict(error), &store::explain(error)).await
    }
}

async fn send_parts(upload: &mut dyn MultipartUpload, payload: PutPayload) -> object_store::Result<()> {
    let parts: Vec<_> = parts(payload).into_iter().map(|part| upload.put_part(part)).collect();
    let mut sending = futures::stream::iter(parts).buffer_unordered(4);
    while sending.try_next().await?.is_some() {}
    upload.complete().await.map(drop)
}

/// Cuts a payload into parts of one size (but the last), without copying.
fn parts(payload: PutPayload) -> Vec<PutPayload> {
    let (mut parts, mut part, mut size) = (Vec::new(), Vec::<Bytes>::new(), 0);
    for mut bytes in payload {
        while size + bytes.len() > PART_BYTES {
            part.push(bytes.split_to(PART_BYTES - size));
            parts.push(part.drain(..).collect());
            size = 0;
        }
        size += bytes.len();
        part.push(bytes);
    }
    if size > 0 {
        parts.push(part.into_iter().collect());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_to_the_payload_and_have_one_size() {
        let bytes: Vec<Bytes> = (0..9u8).map(|n| Bytes::from(vec![n; 7 << 20])).collect();
        let parts = parts(bytes.iter().cloned().collect());
        let sizes: Vec<usize> = parts.iter().map(PutPayload::content_length).collect();
        assert_eq!(sizes, [PART_BYTES, PART_BYTES, PART_BYTES, (63 << 20) - 3 * PART_BYTES]);
        let joined: Vec<u8> = parts.into_iter().flatten().flatten().collect();
        assert!(joined == bytes.concat());
    }
}
