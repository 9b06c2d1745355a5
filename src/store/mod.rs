//! The object stores that a lake can be in, and what their errors mean.
//!
//! Whatever the store: a create is atomic (`If-None-Match: *` on S3, a hard link on a local disk), and an object is
//! there whole or not at all. A process that is killed on a local disk leaves `<name>#<n>` files behind, which are
//! never listed as objects. Absent on purpose: retries, which are [`crate::retry`]'s.

#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::aws::{Aws, causes, credentials_verdict};
use crate::config::Destination;
use crate::partition::KeyLimits;
use crate::retry::Verdict;

const CONNECT: Duration = Duration::from_secs(5);
/// For one request: an object of up to 64 MiB is put in one, so that 2.2 MB/s must be there.
const REQUEST: Duration = Duration::from_secs(30);
/// S3 closes connections that are idle; one that is used while it is being closed fails.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// A destination: keys are relative to it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub store: Arc<dyn ObjectStore>,
    pub keys: KeyLimits,
    /// Whether objects can have a content type and metadata: not on a local disk.
    pub attributes: bool,
}

/// Why a destination can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("destination {folder}: the folder can't be made ({error}): make it, or allow this user to")]
    Folder { folder: String, error: std::io::Error },
    #[error("destination {0}: {1}")]
    Store(String, object_store::Error),
}

/// Opens a destination. Asks an S3 bucket nothing yet.
pub fn open(destination: &Destination, aws: Option<&Aws>) -> Result<Opened, OpenError> {
    match destination {
        Destination::S3 { bucket, prefix } => {
            let aws = aws.expect("a destination on S3 loads the AWS settings");
            let store = s3(bucket, aws).map_err(|error| OpenError::Store(format!("s3://{bucket}"), error))?;
            let before = if prefix.is_empty() { 0 } else { prefix.len() + 1 };
            let prefix =
                Path::parse(prefix).map_err(|error| OpenError::Store(format!("s3://{bucket}"), error.into()))?;
            let keys = KeyLimits { key: 1024, segment: 1024, before };
            Ok(Opened { store: Arc::new(PrefixStore::new(store, prefix)), keys, attributes: true })
        }
        Destination::File { folder } => local(folder),
        Destination::Memory => {
            let keys = KeyLimits { key: 1024, segment: 1024, before: 0 };
            Ok(Opened { store: Arc::new(InMemory::new()), keys, attributes: true })
        }
    }
}

fn s3(bucket: &str, aws: &Aws) -> object_store::Result<impl ObjectStore + use<>> {
    let client = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_timeout(REQUEST)
        .with_pool_idle_timeout(POOL_IDLE)
        // Only an endpoint that says so itself is spoken to without TLS.
        .with_allow_http(true);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&aws.region)
        .with_credentials(aws.for_object_store())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Retries are made in one place, and that is crate::retry.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_client_options(client);
    if let Some(endpoint) = aws.endpoint("S3") {
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    builder.build()
}

fn local(folder: &FilePath) -> Result<Opened, OpenError> {
    let shown = folder.display().to_string();
    std::fs::create_dir_all(folder).map_err(|error| OpenError::Folder { folder: shown.clone(), error })?;
    // Synced: a pack is deleted once its objects are there, and they must then outlive a loss of power too. Publishing
    // puts many at once, so that the disk syncs them together: measured on ext4, half a millisecond an object.
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| OpenError::Store(shown, error))?;
    let store = store.with_fsync(true);
    // Linux: 255 bytes a name, 4,096 a path.
    let keys = KeyLimits { key: 4096, segment: 255, before: folder.as_os_str().len() + 1 };
    Ok(Opened { store: Arc::new(store), keys, attributes: false })
}

/// What `object_store` (0.14) says of a redirect that names no place. Not a word of it less: the text of an error also
/// holds the URL, and so whatever buckets and log groups are called.
const BARE_REDIRECT: &str = "Received redirect without LOCATION";

/// A delete is refused inside of an answer whose status is 200: objects are deleted many at a time.
fn is_denied_delete(error: &object_store::Error) -> bool {
    let text = text(error);
    text.contains("DeleteObjects request failed for key") && text.ends_with("(code: AccessDenied)")
}

/// What an error lets its caller do.
pub fn verdict(error: &object_store::Error) -> Verdict {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::NotFound { .. }
        | E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::UnknownConfigurationKey { .. } => Verdict::Refused,
        _ => match status(error) {
            // Too slow, too many; a conflict or a failed condition where none was set is somebody else's moment.
            Some(408 | 409 | 412 | 425 | 429) => Verdict::Transient,
            Some(300..=499) => Verdict::Refused,
            // What the server can't do it will not learn: conditional creates, for one.
            Some(501 | 505) => Verdict::Refused,
            Some(_) => Verdict::Transient,
            // Told without its status.
            None if text(error).contains(BARE_REDIRECT) || is_denied_delete(error) => Verdict::Refused,
            None => credentials_verdict(error).unwrap_or_else(|| io_verdict(error)),
        },
    }
}

/// What went wrong, in one word: for counting.
pub fn kind(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    match (error, status(error)) {
        (E::PermissionDenied { .. } | E::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => "denied",
        (E::NotFound { .. }, _) | (_, Some(404)) => "not_found",
        (_, Some(429 | 503)) => "throttled",
        (_, Some(409 | 412)) => "conflict",
        (_, Some(408)) => "timeout",
        (_, Some(500..)) => "server",
        (_, Some(_)) => "refused",
        (_, None) if credentials_verdict(error).is_some() => "credentials",
        (_, None) => match io_kind(error) {
            Some(std::io::ErrorKind::TimedOut) => "timeout",
            Some(std::io::ErrorKind::StorageFull) => "disk_full",
            _ => http_kind(error),
        },
    }
}

/// The same where there was no answer.
fn http_kind(error: &object_store::Error) -> &'static str {
    use object_store::client::{HttpError, HttpErrorKind as K};
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return if error.kind() == K::Timeout { "timeout" } else { "connection" };
        }
        source = error.source();
    }
    "other"
}

/// On a local disk: what no waiting helps against. A full disk is waited for.
fn io_verdict(error: &object_store::Error) -> Verdict {
    use std::io::ErrorKind as K;
    let kind = io_kind(error);
    let refused = matches!(
        kind,
        Some(
            K::PermissionDenied
                | K::ReadOnlyFilesystem
                | K::NotADirectory
                | K::InvalidFilename
                | K::IsADirectory
                // A file system without hard links.
                | K::Unsupported
        )
    );
    if refused { Verdict::Refused } else { Verdict::Transient }
}

fn io_kind(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

/// One line for a person: what was refused, and what to do about it. Never a secret: requests are signed in headers,
/// and the text has none.
pub fn explain(error: &object_store::Error) -> String {
    let text = text(error);
    advice(error).map_or(text.clone(), |advice| format!("{} ({text})", advice.text))
}

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    pub text: String,
    /// Until it is done nothing works, whatever is asked of the store.
    pub of_all: bool,
    /// The actions that S3 has to allow, where it is that.
    pub allow: Option<&'static str>,
}

/// In a few words what to do; `None` where nothing helps but waiting.
pub fn advice(error: &object_store::Error) -> Option<Advice> {
    use object_store::Error as E;
    let (text, status) = (text(error), status(error));
    let says = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
    // Not every request tells a refusal by the variant: listings do by the status alone.
    let denied =
        matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. }) || matches!(status, Some(401 | 403));
    let of_all = |text: &str| Some(Advice { text: text.to_owned(), of_all: true, allow: None });
    let of_this = |text: &str| Some(Advice { text: text.to_owned(), of_all: false, allow: None });
    let allow = |action| {
        let text = format!("access denied: check the credentials, and allow {action} there");
        Some(Advice { text, of_all: false, allow: Some(action) })
    };
    if says(&["NoSuchBucket"]) {
        of_all("no such bucket: make it, or correct `destination`")
    } else if says(&["ExpiredToken", "InvalidToken", "TokenRefreshRequired"]) {
        of_all("access denied: the credentials have expired: renew them")
    } else if says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"]) {
        of_all("access denied: the credentials are not accepted: check them, and this machine's clock")
    } else if says(&["AuthorizationHeaderMalformed", BARE_REDIRECT]) || matches!(status, Some(300..=399)) {
        of_all("the bucket is in another region: set AWS_REGION to it")
    } else if is_denied_delete(error) {
        allow("s3:DeleteObject")
    } else if denied && status.is_some() {
        allow(permission(&text))
    } else if denied {
        of_this("access denied: allow this user to write there")
    } else if matches!(status, Some(501 | 505)) {
        of_this("the store can't do that: it must know `If-None-Match` on puts, as S3 does")
    } else if credentials_verdict(error).is_some() {
        of_all("no AWS credentials any more")
    } else if io_kind(error) == Some(std::io::ErrorKind::StorageFull) {
        of_all("the disk is full: make room")
    } else if io_kind(error) == Some(std::io::ErrorKind::Unsupported) {
        of_this("the file system has no hard links, which a destination must have")
    } else {
        None
    }
}

/// What S3 itself says of a refusal, its code and its message, or else what happened.
pub fn said(error: &object_store::Error) -> String {
    let text = text(error);
    let part = |name: &str| {
        let (_, behind) = text.split_once(&format!("<{name}>"))?;
        behind.split_once(&format!("</{name}>")).map(|(part, _)| part)
    };
    match (part("Code"), part("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text,
    }
}

/// What a refused request needs to be allowed, by its method and query.
fn permission(text: &str) -> &'static str {
    let request = text.rsplit("Error performing ").next().unwrap_or(text);
    let (method, url) = request.split_once(' ').unwrap_or(("", ""));
    let listing = url.split(' ').next().is_some_and(|url| url.contains("list-type="));
    match method {
        "GET" if listing => "s3:ListBucket",
        // Without leave to list, S3 answers 403 for an object that is not there.
        "GET" | "HEAD" => "s3:GetObject and s3:ListBucket",
        "PUT" => "s3:PutObject (and kms:GenerateDataKey where the bucket is encrypted with a key of KMS)",
        "DELETE" => "s3:DeleteObject",
        "POST" if url.contains("?delete") => "s3:DeleteObject",
        "POST" => "s3:PutObject and s3:AbortMultipartUpload",
        _ => "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject",
    }
}

/// The HTTP status of the answer, which `object_store` (0.14) tells in the text alone.
pub fn status(error: &object_store::Error) -> Option<u16> {
    let text = text(error);
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

/// The error and its causes, on one line, without what S3 says twice.
fn text(error: &object_store::Error) -> String {
    causes(error)
}
