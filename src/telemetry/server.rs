//! Serves the status page, metrics and health over HTTP. It reads, and never changes anything.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::health::{Limits, State, Verdict};
use super::page::{self, Facts, PAGE};
use super::recent::{History, STEP};
use super::{Telemetry, prometheus};
use crate::clock::Clock;

/// Connections at once. One more ends the oldest: each has had time for its answer, or stalls.
const CONNECTIONS: usize = 64;
/// How long one may take to say what it wants,
const HEAD: Duration = Duration::from_secs(2);
/// and how long it may last with its answer, its only one: a client that does not read must not hold it.
const LASTS: Duration = Duration::from_secs(7);

/// What is served.
#[derive(Debug)]
pub struct Server {
    pub telemetry: Telemetry,
    pub clock: Clock,
    pub facts: Facts,
    pub limits: Limits,
    /// Whether `/metrics` is there.
    pub prometheus: bool,
    pub history: Mutex<History>,
}

type Answer = Response<Full<Bytes>>;

impl Server {
    pub fn new(telemetry: Telemetry, clock: Clock, facts: Facts, limits: Limits, prometheus: bool) -> Arc<Self> {
        telemetry.watch();
        let history = Mutex::new(History::new(clock.now()));
        Arc::new(Self { telemetry, clock, facts, limits, prometheus, history })
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        tokio::join!(self.accept(listener), self.sample());
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener) -> Infallible {
        let mut open: VecDeque<Open> = VecDeque::with_capacity(CONNECTIONS);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    open.retain(|connection| !connection.0.is_finished());
                    if open.len() == CONNECTIONS {
                        open.pop_front();
                    }
                    // One that breaks is its client's business.
                    let connection = timeout(LASTS, Arc::clone(self).connection(stream));
                    open.push_back(Open(tokio::spawn(async move { drop(connection.await) })));
                }
                Err(error) => {
                    debug!("a connection can't be accepted: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Takes a point of the plots now and then.
    async fn sample(&self) -> Infallible {
        let mut ticks = interval(Duration::from_millis(STEP.unsigned_abs()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let counted = || {
            let metrics = self.telemetry.metrics();
            (metrics.events.get(), metrics.decoded_bytes.get())
        };
        let mut before = counted();
        loop {
            ticks.tick().await;
            let (now, after) = (self.clock.now(), counted());
            let metrics = self.telemetry.metrics_at(now);
            let (behind, freshness) = (metrics.behind.get(), metrics.freshness.get().map(|seconds| seconds * 1000.0));
            let mut history = self.history.lock().expect("no panic while it is locked");
            history.push(now, after.0 - before.0, after.1 - before.1, behind, freshness);
            before = after;
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) -> hyper::Result<()> {
        // Who listens on all addresses is asked by a local one too.
        let local = stream.local_addr().is_ok_and(|address| is_loopback(address.ip()));
        let answer = service_fn(|request: Request<Incoming>| {
            let answer = self.answer(&request, local);
            async move { Ok::<_, Infallible>(answer) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), answer)
            .await
    }

    fn answer<B>(&self, request: &Request<B>, local: bool) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are known here\n");
        }
        // A page of somebody else's must not read this one by a name of its own for this machine.
        if local && !request.headers().get(header::HOST).is_none_or(is_local) {
            return text(StatusCode::FORBIDDEN, "this address is asked by 127.0.0.1 or localhost only\n");
        }
        match request.uri().path() {
            "/" => {
                let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", PAGE);
                let policy = HeaderValue::from_static(page::content_security_policy());
                answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                answer
            }
            "/status.json" => {
                let (verdict, now) = (self.judge(), self.clock.now());
                let history = self.history.lock().expect("no panic while it is locked").clone();
                let status = page::status(&self.telemetry, &self.facts, &history, &verdict, now);
                with_type(StatusCode::OK, "application/json", status.to_string())
            }
            "/metrics" if self.prometheus => {
                let metrics = self.telemetry.metrics_at(self.clock.now());
                let rendered = prometheus::render(metrics, &[("group", &self.facts.group)]);
                with_type(StatusCode::OK, prometheus::CONTENT_TYPE, rendered)
            }
            "/healthz" => {
                let verdict = self.judge();
                told(&verdict, verdict.is_healthy())
            }
            "/readyz" => {
                let verdict = self.judge();
                told(&verdict, verdict.state == State::Ready)
            }
            _ => text(StatusCode::NOT_FOUND, "there are /, /status.json, /metrics, /healthz and /readyz\n"),
        }
    }

    fn judge(&self) -> Verdict {
        self.telemetry.judge(self.limits)
    }
}

/// A connection; it is closed when this is dropped.
struct Open(JoinHandle<()>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An IPv4 address may come as an IPv6 one.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn told(verdict: &Verdict, good: bool) -> Answer {
    let state = match verdict.state {
        State::Starting => "starting",
        State::Ready => "ready",
        State::NotReady => "not ready",
        State::Unhealthy => "unhealthy",
        State::Ending => "ending",
    };
    let lines = std::iter::once(state).chain(verdict.problems.iter().map(String::as_str));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    text(if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Whether a host is named by an address, or as this machine.
fn is_local(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = host.parse::<SocketAddr>().map(|address| address.ip().to_string());
    let name = name.unwrap_or_else(|_| host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned());
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// Listens. `said`: somebody asked for this address; if not, one that is taken is no reason to fail.
pub async fn listen(address: SocketAddr, said: bool) -> Result<Option<TcpListener>, String> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if !said => {
            warn!(
                "no status page: {address} can't be listened on ({error}); set `http.listen` to another address, or to off"
            );
            Ok(None)
        }
        Err(error) => {
            Err(format!("`http.listen` {address} can't be listened on ({error}): name another address, or off"))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn server() -> Arc<Server> {
        let facts = Facts {
            started: 1,
            group: "g".into(),
            source: "arn".into(),
            destination: "s3://lake".into(),
            host: "h".into(),
            flush_interval: 300_000,
            buffer_limit: 9,
        };
        let limits = Limits { flush_interval: Duration::from_secs(300), stuck_after: Duration::from_secs(600) };
        Server::new(Telemetry::default(), Clock::simulated(1, 0), facts, limits, true)
    }

    fn ask(server: &Server, method: Method, path: &str, host: &str, local: bool) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap();
        let answer = server.answer(&request, local);
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind)
    }

    #[tokio::test(start_paused = true)]
    async fn each_path_has_its_answer_and_others_have_none() {
        let server = server();
        let get = |path| ask(&server, Method::GET, path, "127.0.0.1:9464", true);
        assert_eq!(get("/"), (200, "text/html; charset=utf-8".to_owned()));
        assert_eq!(get("/status.json").0, 200);
        assert_eq!(get("/metrics"), (200, prometheus::CONTENT_TYPE.to_owned()));
        assert_eq!((get("/healthz").0, get("/readyz").0), (200, 503), "it is starting");
        assert_eq!((get("/x").0, ask(&server, Method::POST, "/", "localhost", true).0), (404, 405));
        let mut without = Arc::into_inner(self::server()).expect("nobody else has it");
        without.prometheus = false;
        assert_eq!(ask(&Arc::new(without), Method::GET, "/metrics", "localhost", true).0, 404, "it is off");
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(get("/healthz").0, 503, "it has not joined for too long");
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_of_somebody_elses_reads_nothing_of_a_local_address() {
        let server = server();
        for (host, status) in [
            ("localhost:9464", 200),
            ("127.0.0.1", 200),
            ("[::1]:9464", 200),
            ("evil.example:9464", 403),
            ("localhost.evil.example", 403),
        ] {
            assert_eq!(ask(&server, Method::GET, "/status.json", host, true).0, status, "{host}");
            assert_eq!(ask(&server, Method::GET, "/status.json", host, false).0, 200, "{host}");
        }
    }

    /// Serves at an address; returns the port.
    async fn served(address: &str) -> (u16, Open) {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (port, Open(tokio::spawn(server().serve(listener))))
    }

    /// All that comes back until the connection is closed.
    async fn sent(to: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_host_is_judged_by_the_address_that_was_asked_wherever_it_listens() {
        for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let (port, _serving) = served(listen).await;
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            for (host, status) in [("evil.example", "403"), ("localhost", "200"), ("127.0.0.1:9464", "200")] {
                let answer = sent(to, &format!("GET /status.json HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
                assert_eq!(answer.get(9..12), Some(status), "{listen}, {host}");
            }
        }
    }

    #[tokio::test]
    async fn who_stalls_is_shown_out_and_an_answer_is_the_only_one() {
        let (port, _serving) = served("127.0.0.1:0").await;
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let twice = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
        let begun = std::time::Instant::now();
        let (slow, silent, two) = tokio::join!(sent(to, "GET / HT"), sent(to, ""), sent(to, &twice));
        assert!(!slow.contains("200 OK") && silent.is_empty(), "{slow} {silent}");
        assert_eq!(two.matches("HTTP/1.1 ").count(), 1, "{two}");
        assert!(begun.elapsed() < HEAD + Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
