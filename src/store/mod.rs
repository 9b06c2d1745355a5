//! The object stores that a lake can be in, and what their errors mean.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::aws::Aws;
use crate::config::Destination;
use crate::partition::KeyLimits;
use crate::retry::Verdict;

const CONNECT: Duration = Duration::from_secs(5);
/// For one request: an object of up to 64 MiB is put in one, so that 2.2 MB/s must be there.
const REQUEST: Duration = Duration::from_secs(30);

/// A destination: keys are relative to it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub store: Arc<dyn ObjectStore>,
    pub keys: KeyLimits,
    /// Whether objects can have a content type and metadata: not on a local disk.
    pub attributes: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("destination {folder}: the folder can't be made: {error}")]
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
    let client = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST).with_allow_http(true);
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
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| OpenError::Store(shown, error))?;
    // Linux: 255 bytes a name, 4,096 a path.
    let keys = KeyLimits { key: 4096, segment: 255, before: folder.as_os_str().len() + 1 };
    Ok(Opened { store: Arc::new(store), keys, attributes: false })
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
            Some(_) => Verdict::Transient,
            // A redirect is told without its status.
            None if text(error).contains("redirect") => Verdict::Refused,
            None => io_verdict(error),
        },
    }
}

/// On a local disk: what no waiting helps against. A full disk is waited for.
fn io_verdict(error: &object_store::Error) -> Verdict {
    use std::io::ErrorKind as K;
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let refused = matches!(
                error.kind(),
                K::PermissionDenied | K::ReadOnlyFilesystem | K::NotADirectory | K::InvalidFilename | K::IsADirectory
            );
            return if refused { Verdict::Refused } else { Verdict::Transient };
        }
        source = error.source();
    }
    if text(error).contains("credential") && !text(error).contains("timed out") {
        return Verdict::Refused;
    }
    Verdict::Transient
}

/// One line for a person: what was refused, and what to do about it.
pub fn explain(error: &object_store::Error) -> String {
    use object_store::Error as E;
    let text = text(error);
    let hint = match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            "access denied: check the credentials, and that they allow s3:ListBucket, s3:GetObject, s3:PutObject and \
             s3:DeleteObject there"
        }
        E::NotFound { .. } if text.contains("NoSuchBucket") => "no such bucket: make it, or correct `destination`",
        _ if matches!(status(error), Some(301 | 307 | 308)) || text.contains("redirect") => {
            "the bucket is in another region: set AWS_REGION to it"
        }
        _ => return text,
    };
    format!("{hint} ({text})")
}

/// The HTTP status of the answer, which `object_store` (0.14) tells in the text alone.
fn status(error: &object_store::Error) -> Option<u16> {
    let text = text(error);
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

/// The error and its causes, on one line, without what S3 says twice.
fn text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text.replace(['\n', '\r'], " ")
}
