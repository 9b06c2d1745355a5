//! Object stores that tell what was done to them, and stores that fail on purpose: decorators over any `ObjectStore`.
//!
//! One shared store below; above it, for each worker, a [`Faulty`] connection with faults of its own and a
//! [`Recording`] that tells what the worker asked and what it was answered. A further `Recording` right above the
//! shared store tells what really happened, in order, whoever did it.
//!
//! Absent on purpose: a listing that lags. S3 has not had one since 2020, and the protocol needs that.

mod decorated;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, Result};
use tokio::sync::Notify;
use tokio::time::sleep;

use self::decorated::{Around, Decorated};
pub use self::decorated::{LookAlike, Oddity};

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
    /// A 409 to a create, as S3 gives while another is under way: not applied, whether anything is there or not.
    Conflict,
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
    frozen: Arc<Frozen>,
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

/// Whether the worker is frozen: then it sends nothing and hears nothing. (Not a `watch` channel: that wakes those who wait
/// in any order, and a simulation has to repeat itself.)
#[derive(Debug, Default)]
struct Frozen {
    is: AtomicBool,
    changed: Notify,
}

impl Frozen {
    fn set(&self, frozen: bool) {
        self.is.store(frozen, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    fn get(&self) -> bool {
        self.is.load(Ordering::Relaxed)
    }

    async fn until(&self, frozen: bool) {
        while self.get() != frozen {
            self.changed.notified().await;
        }
    }
}

impl Around for Line {
    fn around<T: Send + 'static>(
        &self,
        call: Call,
        _: Option<Bytes>,
        apply: BoxFuture<'static, Result<T>>,
    ) -> BoxFuture<'static, Result<T>> {
        let frozen = Arc::clone(&self.frozen);
        // A frozen worker has no next request. (One may come from a task beside the one that froze.)
        if frozen.get() {
            return async move {
                frozen.until(false).await;
                apply.await
            }
            .boxed();
        }
        let fault = self.decide(&call);
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
                Fault::Conflict => {
                    Err(object_store::Error::AlreadyExists { path: call.key.clone(), source: "409 Conflict".into() })
                }
                Fault::Lose => {
                    drop(apply.await);
                    Err(timed_out(&call))
                }
                Fault::Freeze(When::Before) => {
                    frozen.set(true);
                    frozen.until(false).await;
                    apply.await
                }
                Fault::Freeze(When::After) => {
                    let answer = apply.await;
                    frozen.set(true);
                    answer
                }
            };
            // The answer to a request that was under way when the worker froze waits as well.
            frozen.until(false).await;
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
        let line = Line { script: Mutex::new((0, Box::new(script))), late: Arc::default(), frozen: Arc::default() };
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
        self.around.frozen.until(true).await;
    }

    /// The worker stops now, wherever it is: see [`Fault::Freeze`].
    pub fn freeze(&self) {
        self.around.frozen.set(true);
    }

    /// Waits while the worker is frozen.
    pub async fn thawed(&self) {
        self.around.frozen.until(false).await;
    }

    pub fn thaw(&self) {
        self.around.frozen.set(false);
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
