//! The whole of `ObjectStore` with something around each request, once for all decorators.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::{Call, Verb};

/// What is done around one request; both decorators are this, with the whole trait implemented once, below.
pub trait Around: fmt::Debug + Send + Sync + 'static {
    /// Carries out `apply`, or not, or not now. A future that is not polled is a request that is not sent.
    fn around<T: Send + 'static>(
        &self,
        call: Call,
        bytes: Option<Bytes>,
        apply: BoxFuture<'static, Result<T>>,
    ) -> BoxFuture<'static, Result<T>>;
}

/// A store with something around each request.
#[derive(Debug)]
pub struct Decorated<A> {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) around: Arc<A>,
}

impl<A> Clone for Decorated<A> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), around: Arc::clone(&self.around) }
    }
}

impl<A> fmt::Display for Decorated<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decorated({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<A: Around> ObjectStore for Decorated<A> {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (inner, key, call) = (Arc::clone(&self.inner), key.clone(), Call::put(key, &options.mode));
        let bytes = Bytes::from(payload.clone());
        let apply = async move { inner.put_opts(&key, payload, options).await };
        self.around.around(call, Some(bytes), apply.boxed()).await
    }

    /// One effect: what makes the object appear, its completion.
    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(key, options).await?;
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        Ok(Box::new(Upload { upload, parts: Vec::new(), call: Call::new(Verb::Put, key), around: self.around.clone() }))
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let (inner, key, call) = (Arc::clone(&self.inner), key.clone(), Call::new(Verb::Get, key));
        self.around.around(call, None, async move { inner.get_opts(&key, options).await }.boxed()).await
    }

    async fn get_ranges(&self, key: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        let (inner, key, call) = (Arc::clone(&self.inner), key.clone(), Call::new(Verb::Get, key));
        let ranges = ranges.to_vec();
        self.around.around(call, None, async move { inner.get_ranges(&key, &ranges).await }.boxed()).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |key: Result<Path>| {
            let this = this.clone();
            async move {
                let key = key?;
                let (inner, call) = (Arc::clone(&this.inner), Call::new(Verb::Delete, &key));
                let apply = async move { inner.delete(&key).await.map(|()| key) };
                this.around.around(call, None, apply.boxed()).await
            }
        };
        keys.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned().unwrap_or_default());
        let call = Call::new(Verb::List, &prefix);
        self.around.around(call, None, async move { inner.list_with_delimiter(Some(&prefix)).await }.boxed()).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (inner, from, to) = (Arc::clone(&self.inner), from.clone(), to.clone());
        let call = Call::new(Verb::Copy, &to);
        self.around.around(call, None, async move { inner.copy_opts(&from, &to, options).await }.boxed()).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (inner, from, to) = (Arc::clone(&self.inner), from.clone(), to.clone());
        let call = Call::new(Verb::Copy, &to);
        self.around.around(call, None, async move { inner.rename_opts(&from, &to, options).await }.boxed()).await
    }
}

impl<A: Around> Decorated<A> {
    /// A listing is one request and one moment, however long it is.
    fn listed(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, around) = (Arc::clone(&self.inner), Arc::clone(&self.around));
        let (prefix, offset) = (prefix.cloned().unwrap_or_default(), offset.cloned());
        let call = Call::new(Verb::List, &prefix);
        let list = async move {
            let found = match &offset {
                Some(offset) => inner.list_with_offset(Some(&prefix), offset),
                None => inner.list(Some(&prefix)),
            };
            found.try_collect::<Vec<_>>().await
        };
        let listing = async move { around.around(call, None, list.boxed()).await };
        stream::once(listing).map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }
}

#[derive(Debug)]
struct Upload<A> {
    upload: Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>,
    parts: Vec<Bytes>,
    call: Call,
    around: Arc<A>,
}

#[async_trait]
impl<A: Around> MultipartUpload for Upload<A> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data.clone().into());
        match self.upload.try_lock() {
            Ok(mut upload) => upload.put_part(data),
            Err(_) => unreachable!("parts are put before the upload is completed"),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (upload, bytes) = (Arc::clone(&self.upload), Bytes::from(self.parts.concat()));
        let apply = async move { upload.lock().await.complete().await };
        self.around.around(self.call.clone(), Some(bytes), apply.boxed()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.lock().await.abort().await
    }
}

/// A store that is not quite like S3.
#[derive(Debug)]
pub struct LookAlike<S>(pub Oddity, pub S);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It ignores the condition of a create.
    CreatesTwice,
    /// It lists objects under other ETags than those by which it gets them.
    ListsOtherTags,
}

impl<S: fmt::Display> fmt::Display for LookAlike<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookAlike({:?}, {})", self.0, self.1)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for LookAlike<S> {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mode = if self.0 == Oddity::CreatesTwice { PutMode::Overwrite } else { options.mode.clone() };
        self.1.put_opts(key, payload, PutOptions { mode, ..options }).await
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.1.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.1.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.1.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let oddity = self.0;
        let other = move |object: ObjectMeta| match oddity {
            Oddity::ListsOtherTags => ObjectMeta { e_tag: object.e_tag.map(|tag| format!("{tag}-1")), ..object },
            Oddity::CreatesTwice => object,
        };
        self.1.list(prefix).map_ok(other).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.1.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.1.copy_opts(from, to, options).await
    }
}
