//! An HTTP server on 127.0.0.1 that answers as a test says: for answers that no stand-in gives.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    /// The action that a Kinesis request names in a header: `GetRecords`.
    pub fn action(&self) -> &str {
        self.headers.get("x-amz-target").and_then(|target| target.split('.').nth(1)).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// An answer that comes in parts, with a pause before each but the first.
    Stream {
        parts: Vec<Vec<u8>>,
        pause: Duration,
        end: StreamEnd,
    },
    /// The connection is closed before anything is answered.
    Cut,
}

/// What comes behind the last part.
#[derive(Clone, Copy, Debug)]
pub enum StreamEnd {
    /// The end of the answer.
    Whole,
    /// The connection is closed in the middle of it.
    Cut,
    /// Nothing, for as long as the client waits.
    Silence,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// An error as Kinesis tells it.
    pub fn error(status: u16, code: &str) -> Self {
        Self::new(status, format!(r#"{{"__type":"{code}","message":"said by a test"}}"#))
    }
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Scripted {
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// `script` answers the requests one after the other, in the order in which they come in.
    pub async fn serve(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, script) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(script)));
        let requests = Arc::clone(&seen);
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (requests, script) = (Arc::clone(&requests), Arc::clone(&script));
                tokio::spawn(converse(stream, move |request| {
                    requests.lock().unwrap().push(request.clone());
                    (script.lock().unwrap())(&request)
                }));
            }
        });
        Self { url, seen, connections, task }
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The actions of all Kinesis requests so far.
    pub fn actions(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.action().to_owned()).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests and answers over one connection, until either side ends it.
async fn converse(stream: TcpStream, answer: impl Fn(Request) -> Reply) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let head = request.method == "HEAD";
        let (status, headers, body) = match answer(request) {
            Reply::Answer { status, headers, body } => (status, headers, body),
            Reply::Stream { parts, pause, end } => match send_parts(&mut stream, parts, pause, end).await {
                Ok(true) => continue,
                _ => return,
            },
            Reply::Cut => return,
        };
        let mut text = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        if !head {
            text += &body;
        }
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Whether the connection can be used again.
async fn send_parts(
    stream: &mut BufReader<TcpStream>,
    parts: Vec<Vec<u8>>,
    pause: Duration,
    end: StreamEnd,
) -> std::io::Result<bool> {
    stream.write_all(b"HTTP/1.1 200 Scripted\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    for (n, part) in parts.into_iter().enumerate() {
        if n > 0 {
            sleep(pause).await;
        }
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await?;
        stream.write_all(&part).await?;
        stream.write_all(b"\r\n").await?;
    }
    match end {
        StreamEnd::Whole => stream.write_all(b"0\r\n\r\n").await.map(|()| true),
        StreamEnd::Cut => Ok(false),
        // Until the client has gone.
        StreamEnd::Silence => stream.read_u8().await.map(|_| false),
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(stream).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let line = line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, target, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
