//! An S3 server inside the test process, and the commit protocol over real HTTP.
//!
//! What it is not: keys that hold `%` are listed right for `object_store`, but not for clients that ask for
//! url-encoded listings (boto3, DuckDB); a key `a` beside `a/b` is refused; nothing is ever throttled by itself.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use firemain::commit::group::GroupError;
use firemain::retry::Verdict;
use firemain::store::{explain, verdict};
use futures::future::{BoxFuture, join_all};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, RetryConfig};
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::commit::Worker;
use crate::commit::world::World;

pub const BUCKET: &str = "lake";
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "wJalr-never-to-be-shown";
pub const REGION: &str = "us-east-1";

/// Serves one empty bucket until it is dropped.
#[derive(Debug)]
pub struct S3Server {
    pub endpoint: String,
    /// What happens to the next requests, in their order; the others are served.
    instead: Arc<Mutex<VecDeque<Instead>>>,
    oddity: Arc<Mutex<Option<Oddity>>>,
    accepting: JoinHandle<()>,
    _root: TempDir,
}

/// What happens to a request instead of being served.
#[derive(Clone, Copy, Debug)]
pub enum Instead {
    /// This answer, and nothing is done.
    Answer(u16),
    /// It is served, and the connection lost before the answer.
    LoseAnswer,
}

/// What is odd about the server, for as long as it lasts.
#[derive(Clone, Copy, Debug)]
pub enum Oddity {
    /// It knows nothing of conditions on writes.
    IgnoresConditions,
    /// Requests of this method whose path and query have this in them are denied.
    Denies(&'static str, &'static str),
}

impl S3Server {
    pub async fn start() -> Self {
        let root = tempfile::tempdir().expect("a folder for the bucket");
        // A bucket is a folder.
        std::fs::create_dir(root.path().join(BUCKET)).expect("a new folder is empty");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).expect("the folder is there"));
        builder.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let instead: Arc<Mutex<VecDeque<Instead>>> = Arc::default();
        let (s3, oddity) = (builder.build(), Arc::<Mutex<Option<Oddity>>>::default());
        let served = Served {
            s3,
            conditional: Arc::default(),
            instead: Arc::clone(&instead),
            oddity: Arc::clone(&oddity),
            root: root.path().to_owned(),
        };
        Self { endpoint, instead, oddity, accepting: tokio::spawn(accept(listener, served)), _root: root }
    }

    pub fn next(&self, instead: impl IntoIterator<Item = Instead>) {
        self.instead.lock().unwrap().extend(instead);
    }

    /// Nothing happens to further requests.
    pub fn serve_again(&self) {
        self.instead.lock().unwrap().clear();
    }

    /// From now on the server is odd, or no longer so.
    pub fn turn(&self, oddity: Option<Oddity>) {
        *self.oddity.lock().unwrap() = oddity;
    }

    /// A client of the bucket, as Firemain makes it: retries are not its business.
    pub fn store(&self) -> AmazonS3 {
        self.client().build().expect("all settings are there")
    }

    fn client(&self) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(BUCKET)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, served: Served) {
    while let Ok((stream, _)) = listener.accept().await {
        // Small answers wait 40 ms otherwise.
        stream.set_nodelay(true).expect("a fresh connection takes options");
        let served = served.clone();
        tokio::spawn(async move {
            let serve = service_fn(move |request| served.clone().serve(request));
            // An error here is a client that went away, or an answer that was lost on purpose.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), serve).await;
        });
    }
}

#[derive(Clone)]
struct Served {
    s3: S3Service,
    /// s3s-fs looks and then writes: conditions hold only while nothing comes in between.
    conditional: Arc<tokio::sync::Mutex<()>>,
    instead: Arc<Mutex<VecDeque<Instead>>>,
    oddity: Arc<Mutex<Option<Oddity>>>,
    /// Where buckets are folders, and objects files.
    root: PathBuf,
}

impl Served {
    fn serve(self, request: Request<Incoming>) -> BoxFuture<'static, io::Result<Response<s3s::Body>>> {
        Box::pin(async move {
            let instead = self.instead.lock().unwrap().pop_front();
            if let Some(Instead::Answer(status)) = instead {
                return Ok(error(status, "AsToldByTheTest"));
            }
            // s3s-fs makes a bucket of whatever is put into.
            if request.uri().path().split('/').nth(1) != Some(BUCKET) {
                return Ok(error(404, "NoSuchBucket"));
            }
            match *self.oddity.lock().unwrap() {
                Some(Oddity::Denies(method, part))
                    if request.method() == method && request.uri().to_string().contains(part) =>
                {
                    return Ok(error(403, "AccessDenied"));
                }
                // The header is signed, and has to stay: so that the condition holds, the object goes before.
                Some(Oddity::IgnoresConditions) if request.headers().contains_key("if-none-match") => {
                    let _ = std::fs::remove_file(self.root.join(request.uri().path().trim_start_matches('/')));
                }
                _ => {}
            }
            let headers = request.headers();
            let conditional = headers.contains_key("if-none-match") || headers.contains_key("if-match");
            let writes = matches!(*request.method(), Method::PUT | Method::POST);
            let _alone = if conditional && writes { Some(self.conditional.lock().await) } else { None };
            let answer =
                Service::call(&self.s3, request).await.map_err(|error| io::Error::other(format!("{error:?}")))?;
            match instead {
                Some(Instead::LoseAnswer) => Err(io::Error::other("the connection is lost")),
                _ => Ok(answer),
            }
        })
    }
}

fn error(status: u16, code: &str) -> Response<s3s::Body> {
    let mut answer = Response::new(s3s::Body::from(format!("<Error><Code>{code}</Code></Error>")));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a test names a real status");
    answer
}

#[tokio::test]
async fn workers_commit_over_http() {
    let server = S3Server::start().await;
    let world = World::over(Arc::new(server.store()), &[("a", 7), ("b%2Fc", 4)]);
    // The first leaves with records still to be read.
    let mut first = world.join(&world.healthy(1)).await.unwrap();
    first.claim().await.unwrap();
    let committed = first.flush(2).await.unwrap().unwrap();
    first.publish(committed).await.unwrap();
    first.group.beat().await.unwrap();
    first.leave().await.unwrap();
    world.finish(2).await;
}

/// Each answer of the server comes to nothing once, on the way out or on the way back.
#[tokio::test]
async fn lost_requests_and_answers_over_http_cost_only_time() {
    for instead in [Instead::Answer(503), Instead::Answer(409), Instead::LoseAnswer] {
        for step in 0..5 {
            let server = S3Server::start().await;
            let world = World::over(Arc::new(server.store()), &[("a", 2)]);
            let process = world.healthy(1);
            let mut worker = world.join(&process).await.unwrap();
            worker.claim().await.unwrap();
            let disturb = |now: usize| {
                if step == now {
                    server.next([instead]);
                }
            };
            disturb(0);
            let (commit, objects) = worker.stage(2).await.unwrap();
            disturb(1);
            let committed = worker.commit(commit, objects).await.unwrap();
            disturb(2);
            worker.publish(committed).await.unwrap();
            disturb(3);
            worker.clear().await.unwrap();
            disturb(4);
            worker.leave().await.unwrap();
            assert!(server.instead.lock().unwrap().is_empty(), "{instead:?} at step {step}");
            finished(&server, 2).await;
        }
    }
}

/// What is in the bucket in the end, read past all decorators.
async fn finished(server: &S3Server, events: usize) {
    use futures::TryStreamExt;
    let store = server.store();
    let found: Vec<_> = store.list(None).try_collect().await.unwrap();
    let keys: Vec<String> = found.into_iter().map(|object| object.location.to_string()).collect();
    assert!(keys.iter().all(|key| !key.contains("/staged/")), "{keys:?}");
    let objects: Vec<&String> = keys.iter().filter(|key| key.starts_with("log_events/")).collect();
    assert_eq!(objects.len(), 1, "{keys:?}");
    let path = Path::parse(objects[0]).unwrap();
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), events);
}

#[tokio::test]
async fn creates_over_http_have_one_winner() {
    let server = S3Server::start().await;
    let store = server.store();
    for round in 0..20 {
        let key = Path::from(format!("race/{round}"));
        let create = |n: u8| store.put_opts(&key, vec![n; 10_000].into(), PutMode::Create.into());
        let answers = join_all((0..8).map(create)).await;
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        let lost = |answer: &&Result<_, _>| matches!(answer, Err(object_store::Error::AlreadyExists { .. }));
        assert_eq!((won, answers.iter().filter(lost).count()), (1, 7), "{answers:?}");
    }
}

#[tokio::test]
async fn answers_of_a_server_allow_to_try_again_or_not() {
    let server = S3Server::start().await;
    let (store, key) = (server.store(), Path::from("x"));
    for (status, expected) in [
        (503, Verdict::Transient),
        (500, Verdict::Transient),
        (429, Verdict::Transient),
        (408, Verdict::Transient),
        (409, Verdict::Transient),
        (403, Verdict::Refused),
        (400, Verdict::Refused),
        (301, Verdict::Refused),
    ] {
        server.next([Instead::Answer(status)]);
        let error = store.put(&key, "x".into()).await.unwrap_err();
        assert_eq!(verdict(&error), expected, "{status}: {error}");
    }
    server.next([Instead::LoseAnswer]);
    let error = store.put(&key, "x".into()).await.unwrap_err();
    assert_eq!(verdict(&error), Verdict::Transient, "{error}");
}

async fn refused(store: AmazonS3) -> String {
    let world = World::over(Arc::new(store), &[("a", 1)]);
    let joined: Result<Worker, GroupError> = world.join(&world.healthy(1)).await;
    joined.unwrap_err().to_string()
}

#[tokio::test]
async fn a_worker_does_not_start_where_it_is_refused() {
    let server = S3Server::start().await;
    let error = refused(server.client().with_secret_access_key("wrong").build().unwrap()).await;
    assert!(error.contains("access denied"), "{error}");
    let error = refused(server.client().with_bucket_name("elsewhere").build().unwrap()).await;
    assert!(error.contains("no such bucket"), "{error}");
}

/// Nobody listens there any more: it may come back.
#[tokio::test]
async fn a_refused_connection_is_not_a_refusal() {
    let server = S3Server::start().await;
    let store = server.store();
    drop(server);
    tokio::task::yield_now().await;
    let error = store.put(&Path::from("x"), "x".into()).await.unwrap_err();
    assert_eq!(verdict(&error), Verdict::Transient, "{}", explain(&error));
}
