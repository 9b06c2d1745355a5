//! Object stores that tell what was done to them, and stores that fail on purpose: decorators over any `ObjectStore`.
//!
//! One shared store below; above it, for each worker, a [`Faulty`] connection with faults of its own and a
//! [`Recording`] that tells what the worker asked and what it was answered. A further `Recording` right above the
//! shared store tells what really happened, in order, whoever did it.
//!
//! Absent on purpose: a listing that lags. S3 has not had one since 2020, and the protocol needs that.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::watch;
use tokio::time::sleep;

/// One request, as the store's log would show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub verb: Verb,
    pub key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Put,
    /// A put that must find nothing there.
    Create,
    Get,
    List,
    Delete,
    Copy,
}

impl Call {
    fn new(verb: Verb, key: &Path) -> Self {
        Self { verb, key: key.to_string() }
    }

    fn put(key: &Path, mode: &PutMode) -> Self {
        Self::new(if *mode == PutMode::Create { Verb::Create } else { Verb::Put }, key)
    }

    pub fn is(&self, verb: Verb, part: &str) -> bool {
        self.verb == verb && self.key.contains(part)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Put => "put",
            Verb::Create => "create",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Delete => "delete",
            Verb::Copy => "copy",
        };
        write!(f, "{verb} {}", self.key)
    }
}

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Effect {
    pub call: Call,
    pub outcome: Outcome,
    /// What a put or create carried.
    pub bytes: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer came, so far.
    Pending,
    Ok,
    Exists,
    NotFound,
    Failed,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Pending => " -> no answer",
            Outcome::Ok => "",
            Outcome::Exists => " -> exists",
            Outcome::NotFound => " -> not found",
            Outcome::Failed => " -> failed",
        };
        write!(f, "{}{outcome}", self.call)
    }
}

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
    inner: Arc<dyn ObjectStore>,
    around: Arc<A>,
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

// Recording.

pub type Recording = Decorated<Log>;

#[derive(Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Effect>>>);

impl Around for Log {
    fn around<T: Send + 'static>(
        &self,
        call: Call,
        bytes: Option<Bytes>,
        apply: BoxFuture<'static, Result<T>>,
    ) -> BoxFuture<'static, Result<T>> {
        let log = Arc::clone(&self.0);
        async move {
            let index = {
                let mut log = log.lock().unwrap();
                log.push(Effect { call, outcome: Outcome::Pending, bytes });
                log.len() - 1
            };
            let answer = apply.await;
            log.lock().unwrap()[index].outcome = outcome(&answer);
            answer
        }
        .boxed()
    }
}

fn outcome<T>(answer: &Result<T>) -> Outcome {
    use object_store::Error as E;
    match answer {
        Ok(_) => Outcome::Ok,
        Err(E::AlreadyExists { .. } | E::Precondition { .. }) => Outcome::Exists,
        Err(E::NotFound { .. }) => Outcome::NotFound,
        Err(_) => Outcome::Failed,
    }
}

impl Recording {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, around: Arc::default() }
    }

    /// Every request so far, in the order in which they were sent.
    pub fn effects(&self) -> Vec<Effect> {
        self.around.0.lock().unwrap().clone()
    }

    /// Those from `index` on.
    pub fn effects_from(&self, index: usize) -> Vec<Effect> {
        self.around.0.lock().unwrap()[index..].to_vec()
    }
}

// Faults.

pub type Faulty = Decorated<Line>;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// Takes so long to arrive, and its answer again.
    Slow(Duration),
    /// A 503: not applied.
    Fail,
    /// Applied, but the answer is lost.
    Lose,
    /// Answers with a timeout, and is applied when [`Faulty::land`] says so.
    Late,
    /// The worker stops here: nothing of it goes on until [`Faulty::thaw`]. Without that, a crash.
    Freeze(When),
}

/// On which side of being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// Decides about a request by its index (from 0, over the life of the connection) and what it asks.
pub type Script = Box<dyn FnMut(usize, &Call) -> Fault + Send>;

/// One worker's connection.
pub struct Line {
    script: Mutex<(usize, Script)>,
    late: Arc<Mutex<VecDeque<BoxFuture<'static, ()>>>>,
    frozen: watch::Sender<bool>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line at request {}", self.script.lock().unwrap().0)
    }
}

impl Line {
    fn decide(&self, call: &Call) -> Fault {
        let (index, script) = &mut *self.script.lock().unwrap();
        *index += 1;
        script(*index - 1, call)
    }
}

/// Waits while the worker is frozen: then it sends nothing and hears nothing.
async fn while_frozen(mut frozen: watch::Receiver<bool>) {
    // An error is a connection that is gone: nobody can thaw it any more.
    if frozen.wait_for(|frozen| !frozen).await.is_err() {
        std::future::pending().await
    }
}

impl Around for Line {
    fn around<T: Send + 'static>(
        &self,
        call: Call,
        _: Option<Bytes>,
        apply: BoxFuture<'static, Result<T>>,
    ) -> BoxFuture<'static, Result<T>> {
        let frozen = self.frozen.subscribe();
        // A frozen worker has no next request. (One may come from a task beside the one that froze.)
        if *frozen.borrow() {
            return async move {
                while_frozen(frozen).await;
                apply.await
            }
            .boxed();
        }
        let (fault, freezer) = (self.decide(&call), self.frozen.clone());
        if fault == Fault::Late {
            self.late.lock().unwrap().push_back(apply.map(drop).boxed());
            return async move { Err(timed_out(&call)) }.boxed();
        }
        async move {
            let answer = match fault {
                Fault::Pass | Fault::Late => apply.await,
                Fault::Slow(time) => {
                    sleep(time).await;
                    let answer = apply.await;
                    sleep(time).await;
                    answer
                }
                Fault::Fail => Err(unavailable(&call)),
                Fault::Lose => {
                    drop(apply.await);
                    Err(timed_out(&call))
                }
                Fault::Freeze(When::Before) => {
                    freezer.send_replace(true);
                    while_frozen(frozen.clone()).await;
                    apply.await
                }
                Fault::Freeze(When::After) => {
                    let answer = apply.await;
                    freezer.send_replace(true);
                    answer
                }
            };
            // The answer to a request that was under way when the worker froze waits as well.
            while_frozen(frozen).await;
            answer
        }
        .boxed()
    }
}

/// As `object_store` tells of an answer of S3 that allows to try again.
fn unavailable(call: &Call) -> object_store::Error {
    let source = format!("Server returned non-2xx status code: 503 Service Unavailable: SlowDown ({call})");
    object_store::Error::Generic { store: "S3", source: source.into() }
}

fn timed_out(call: &Call) -> object_store::Error {
    let source = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("operation timed out ({call})"));
    object_store::Error::Generic { store: "S3", source: source.into() }
}

impl Faulty {
    pub fn new(inner: Arc<dyn ObjectStore>, script: impl FnMut(usize, &Call) -> Fault + Send + 'static) -> Self {
        let line =
            Line { script: Mutex::new((0, Box::new(script))), late: Arc::default(), frozen: watch::Sender::new(false) };
        Self { inner, around: Arc::new(line) }
    }

    /// Another script from now on; the indices go on.
    pub fn set(&self, script: impl FnMut(usize, &Call) -> Fault + Send + 'static) {
        self.around.script.lock().unwrap().1 = Box::new(script);
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.around.script.lock().unwrap().0
    }

    /// Returns when the worker has frozen.
    pub async fn frozen(&self) {
        let mut frozen = self.around.frozen.subscribe();
        frozen.wait_for(|frozen| *frozen).await.expect("the sender is in self");
    }

    pub fn thaw(&self) {
        self.around.frozen.send_replace(false);
    }

    /// Applies the requests that were late, in their order. Returns how many there were.
    pub async fn land(&self) -> usize {
        let late = std::mem::take(&mut *self.around.late.lock().unwrap());
        let landed = late.len();
        for request in late {
            request.await;
        }
        landed
    }
}

/// A script: this for request number `index`, nothing for the others.
pub fn at(index: usize, fault: Fault) -> impl FnMut(usize, &Call) -> Fault + Send + 'static {
    move |n, _| if n == index { fault } else { Fault::Pass }
}

/// A script: this for the first request that is so, nothing for the others.
pub fn first(verb: Verb, part: &'static str, fault: Fault) -> impl FnMut(usize, &Call) -> Fault + Send + 'static {
    let mut done = false;
    move |_, call| {
        if done || !call.is(verb, part) {
            return Fault::Pass;
        }
        done = true;
        fault
    }
}

// The whole trait, once for both.

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

    async fn rename_opts(&self, from: &Path, to: &Path, options: object_store::RenameOptions) -> Result<()> {
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

/// A store that ignores the condition of a create, as some look-alikes of S3 do.
#[derive(Debug)]
pub struct Unconditional<S>(pub S);

impl<S: fmt::Display> fmt::Display for Unconditional<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unconditional({})", self.0)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Unconditional<S> {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(key, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
