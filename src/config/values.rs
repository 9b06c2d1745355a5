//! Values with a form of their own: names, URLs, times. An error says what is wrong with the value, or nothing where
//! the list of keys says it well enough.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::DateTime;
use object_store::path::Path;

use super::{Destination, Start};
use crate::decode::{BadTimeField, TimeField};
use crate::source::errors::REPLAYED;
use crate::table::ERRORS;

const LONGEST_NAME: usize = 128;
/// Bytes of the destination's prefix and of the error prefix. S3 takes 1,024 for a whole key: with these, every key
/// that does not hold a log group fits.
const LONGEST_DESTINATION_PREFIX: usize = 512;
const LONGEST_ERRORS_PREFIX: usize = 200;
/// Bytes of a log group's or log stream's name: CloudWatch Logs takes 512 characters.
const LONGEST_LOG_NAME: usize = 512;
/// Bytes of the path of a field.
const LONGEST_FIELD: usize = 256;
/// What else is in the lake, by its first folder.
const TAKEN: [&str; 2] = ["_firemain", "log_events"];

/// Letters, digits, `.`, `_` and `-`: what Kinesis takes as a stream's name, and a folder can be called anywhere.
fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A group: a folder's name, not hidden.
pub fn group(text: &str) -> Result<String, String> {
    if is_name(text) && !text.starts_with('.') { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// A stream's name, or `arn:aws:kinesis:REGION:ACCOUNT:stream/NAME` of any AWS partition.
pub fn stream(text: &str) -> Result<String, String> {
    let name = if text.starts_with("arn:") {
        match text.splitn(6, ':').collect::<Vec<_>>().as_slice() {
            [_, partition, "kinesis", region, account, resource]
                if [partition, region, account].iter().all(|part| !part.is_empty()) =>
            {
                resource.strip_prefix("stream/").unwrap_or_default()
            }
            _ => "",
        }
    } else {
        text
    };
    match is_name(name) {
        true => Ok(text.to_owned()),
        false if text.starts_with("arn:") => Err("a stream's ARN is arn:aws:kinesis:REGION:ACCOUNT:stream/NAME".into()),
        false => Err(String::new()),
    }
}

/// A consumer's name.
pub fn consumer_name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// `arn:aws:kinesis:REGION:ACCOUNT:stream/STREAM/consumer/NAME:TIMESTAMP`.
/// Format: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
pub fn consumer_arn(text: &str) -> Result<String, String> {
    let parts = stream_of(text).zip(text.rsplit_once("/consumer/").and_then(|(_, own)| own.split_once(':')));
    match parts {
        Some((of, (name, time)))
            if of.starts_with("arn:")
                && stream(of).is_ok()
                && is_name(name)
                && !time.is_empty()
                && time.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(String::new()),
    }
}

/// The ARN of the stream that a consumer's ARN names.
fn stream_of(consumer_arn: &str) -> Option<&str> {
    consumer_arn.rsplit_once("/consumer/").map(|(stream, _)| stream)
}

/// Whether a consumer's ARN is one of a stream, which is given by its name or its ARN.
pub fn is_consumer_of(consumer_arn: &str, stream: &str) -> bool {
    let of = stream_of(consumer_arn).unwrap_or_default();
    if stream.starts_with("arn:") { of == stream } else { of.rsplit('/').next() == Some(stream) }
}

/// Where to listen; `None` for nowhere.
pub fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "an IP address and a port, with a colon between them".to_owned()),
    }
}

/// Where a shard that is new to the group starts.
pub fn start(text: &str) -> Result<Start, String> {
    match text {
        "trim_horizon" => Ok(Start::TrimHorizon),
        "latest" => Ok(Start::Latest),
        _ => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Start::At(time.timestamp_millis())),
            Err(_) => Err(String::new()),
        },
    }
}

/// The name of a log group or log stream.
pub fn log_name(text: &str) -> Result<Box<str>, String> {
    let is_name = (1..=LONGEST_LOG_NAME).contains(&text.len()) && !text.contains(char::is_control);
    if is_name { Ok(text.into()) } else { Err(String::new()) }
}

/// The field of an object's time.
pub fn time_field(text: &str) -> Result<TimeField, String> {
    if text.len() > LONGEST_FIELD {
        return Err(format!("it has {} bytes, of at most {LONGEST_FIELD}", text.len()));
    }
    text.parse().map_err(|error: BadTimeField| error.to_string())
}

/// A destination's URL. Paths are taken as they are: nothing in them is percent-decoded.
pub fn destination(text: &str) -> Result<Destination, String> {
    match text.split_once("://") {
        Some(("s3", rest)) => s3(rest),
        Some(("file", folder)) if folder.starts_with('/') && !folder.trim_matches('/').is_empty() => {
            Ok(Destination::File { folder: PathBuf::from(folder) })
        }
        Some(("file", _)) => Err("a file URL names an absolute folder: file:///folder".to_owned()),
        // Every one is a store of its own, so a path says nothing more.
        Some(("memory", path)) if path.is_empty() || path.starts_with('/') => Ok(Destination::Memory),
        Some(("memory", _)) => Err("it has no host: memory:///".to_owned()),
        Some((scheme, _)) => Err(format!("{scheme} is no kind of destination")),
        None if text.starts_with('/') => Err(format!("for a folder, write file://{text}")),
        None => Err("not a URL".to_owned()),
    }
}

fn s3(rest: &str) -> Result<Destination, String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    // What old buckets and stand-ins allow too; the service has the last word.
    let is_bucket = (3..=255).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_bucket {
        return Err("the bucket is missing, or has characters that no bucket has".to_owned());
    }
    check_folder(prefix, LONGEST_DESTINATION_PREFIX)?;
    Ok(Destination::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// The error prefix: relative, and not where something else is.
pub fn errors_prefix(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Err("it starts with a slash, but it is below the destination".to_owned());
    }
    let folder = text.strip_suffix('/').unwrap_or(text);
    if folder.is_empty() {
        return Err("it is empty".to_owned());
    }
    check_folder(folder, LONGEST_ERRORS_PREFIX)?;
    match folder.split('/').next() {
        Some(REPLAYED) => Err(format!("{REPLAYED} holds what was replayed")),
        Some(first) if TAKEN.contains(&first) => Err(format!("{first} holds other things")),
        _ if folder.split('/').any(|part| part == REPLAYED) => {
            Err(format!("a folder {REPLAYED} in it would be taken for what was replayed"))
        }
        _ => Ok(folder.to_owned()),
    }
}

fn check_folder(folder: &str, longest: usize) -> Result<(), String> {
    if folder.len() > longest {
        return Err(format!("it has {} bytes; at most {longest} leave room for the keys below it", folder.len()));
    }
    match Path::parse(folder) {
        Ok(path) if path.as_ref() == folder => Ok(()),
        _ => Err("it has an empty part, `.`, `..` or a control character".to_owned()),
    }
}

/// A folder of this machine.
pub fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A table's name.
pub fn table_name(text: &str) -> Result<String, String> {
    if crate::table::is_name(text) && text != ERRORS && text != REPLAYED {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?}"))
    }
}

/// A Glue database: <https://docs.aws.amazon.com/glue/latest/webapi/API_Database.html>
pub fn database(text: &str) -> Result<String, String> {
    let is_name = (1..=255).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c == '/');
    if is_name { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// An AWS account's number.
pub fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_account { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// What stands in the place of a secret: JSON and texts in quotes have to stay what they are.
pub fn replacement(text: &str) -> Result<String, String> {
    let is_plain = !text.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\'));
    if is_plain { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// The key of hashes. What is wrong with it is said without it.
pub fn hash_key(text: &str) -> Result<Vec<u8>, String> {
    if text.len() >= 16 { Ok(text.as_bytes().to_vec()) } else { Err("it is too short".to_owned()) }
}
