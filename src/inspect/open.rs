//! Where to find what is to be inspected: a path, standard input, or a URL.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path as Key;

use super::input::Input;
use super::remote::Remote;
use crate::aws::{Aws, causes};
use crate::config::{Destination, values};
use crate::retry::Verdict;
use crate::store;

/// So many of the files in a folder are named, for who has named the folder.
const LISTED: usize = 5;
/// Objects that they are chosen out of: what one request lists.
const PAGE: usize = 1000;
/// Folders that are looked into for them.
const MOST_FOLDERS: usize = 1000;

/// What was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `-`
    Standard,
    /// A path, or `file:///path`. Nothing in it is percent-decoded.
    File(PathBuf),
    /// `s3://bucket/key`, the key as it is.
    Object { bucket: String, key: String },
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            _ if text == "-" => Ok(Self::Standard),
            _ if text.is_empty() => Err("give a path, `-`, file:///PATH or s3://BUCKET/KEY".to_owned()),
            Some(("s3", rest)) => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                values::destination(&format!("s3://{bucket}")).map_err(|why| format!("{why}: give s3://BUCKET/KEY"))?;
                Ok(Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("file", _)) => Err("a file URL names an absolute path: file:///PATH".to_owned()),
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') => {
                Err(format!("{scheme} is nothing that is read here: give a path, `-`, file:///PATH or s3://BUCKET/KEY"))
            }
            _ => Ok(Self::File(text.into())),
        }
    }
}

/// Why there is nothing to inspect. The last line says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not there, or is no single file or object.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
}

/// Opens it, and reads its beginning where that comes from afar.
pub async fn open(address: Address) -> Result<Arc<Input>, OpenError> {
    match address {
        Address::Object { bucket, key } => object(&bucket, &key).await,
        // What is on this machine blocks: a pipe for long.
        local => {
            let opening = tokio::task::spawn_blocking(move || match local {
                Address::File(path) => file(&path),
                _ => {
                    let input = Input::pipe("standard input".to_owned(), io::stdin());
                    input.map_err(|error| OpenError::Failed(format!("standard input can't be read: {error}")))
                }
            });
            opening.await.expect("opening does not panic").map(Arc::new)
        }
    }
}

fn file(path: &Path) -> Result<Input, OpenError> {
    let name = path.display();
    Input::file(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => OpenError::Usage(format!("{name}: no such file: check the path")),
        ErrorKind::NotADirectory => OpenError::Usage(format!("{name}: a part of the path is no folder: check it")),
        ErrorKind::IsADirectory => {
            let files = files(path).into_iter().map(|file| file.display().to_string()).collect();
            not_one(&name.to_string(), "a folder", files)
        }
        ErrorKind::PermissionDenied => {
            OpenError::Failed(format!("{name} can't be read ({error}): run this as a user who may"))
        }
        _ => OpenError::Failed(format!("{name} can't be read: {error}")),
    })
}

/// Several things, where one is wanted.
fn not_one(name: &str, what: &str, some: Vec<String>) -> OpenError {
    if some.is_empty() {
        return OpenError::Usage(format!("{name} is {what}, and nothing was found in it: name a file or an object"));
    }
    let lines: String = some.iter().map(|one| format!("  {one}\n")).collect();
    OpenError::Usage(format!("{lines}{name} is {what}: name one of what is in it, such as those above"))
}

/// A few of the files in a folder or further below. What can't be read is passed over.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open, mut looked_into) = (Vec::new(), vec![folder.to_owned()], 0);
    while let Some(here) = open.pop() {
        looked_into += 1;
        let mut entries: Vec<_> = fs::read_dir(&here).into_iter().flatten().flatten().collect();
        entries.sort_by_key(|entry| (is_aside(&entry.file_name().to_string_lossy()), entry.file_name()));
        let mut folders = Vec::new();
        for entry in entries {
            // Links are not followed: they may lead round in a circle.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
            if found.len() == LISTED {
                return found;
            }
        }
        if looked_into == MOST_FOLDERS {
            break;
        }
        open.extend(folders.into_iter().rev());
    }
    found
}

/// Whether readers of a lake pass over it: the state of a group is asked for less often than rows are.
fn is_aside(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

async fn object(bucket: &str, key: &str) -> Result<Arc<Input>, OpenError> {
    let name = if key.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{key}") };
    let aws = Aws::load(None).await.map_err(|error| OpenError::Failed(error.to_string()))?;
    let destination = Destination::S3 { bucket: bucket.to_owned(), prefix: String::new() };
    let opened = store::open(&destination, Some(&aws)).map_err(|error| OpenError::Failed(error.to_string()))?;
    in_store(opened.store, bucket, key, name).await
}

async fn in_store(store: Arc<dyn ObjectStore>, bucket: &str, key: &str, name: String) -> Result<Arc<Input>, OpenError> {
    let path = Key::parse(key).map_err(|error| OpenError::Usage(format!("{name} names no object: {error}")))?;
    if !path.as_ref().is_empty() && !key.ends_with('/') {
        match Remote::open(Arc::clone(&store), &path).await {
            Ok((remote, metadata)) => return Ok(Arc::new(Input::remote(name, metadata, remote))),
            Err(error) if causes(&error).contains("NoSuchBucket") => {
                return Err(OpenError::Usage(format!("{name}: no such bucket: check the URL, and AWS_REGION")));
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(&name, &error)),
        }
    }
    let prefix = Some(&path).filter(|path| !path.as_ref().is_empty());
    match store.list(prefix).take(PAGE).try_collect::<Vec<_>>().await {
        Ok(mut some) if !some.is_empty() => {
            some.sort_by_cached_key(|object| object.location.parts().any(|part| is_aside(part.as_ref())));
            let some = some.iter().take(LISTED).map(|object| format!("s3://{bucket}/{}", object.location)).collect();
            Err(not_one(&name, if key.is_empty() { "a bucket" } else { "a prefix" }, some))
        }
        // Who may not list learns that it is not there all the same.
        _ if prefix.is_some() => {
            Err(OpenError::Usage(format!("{name}: no such object: check the key, and the bucket")))
        }
        Ok(_) => Err(not_one(&name, "a bucket", Vec::new())),
        Err(error) => Err(failed(&name, &error)),
    }
}

fn failed(name: &str, error: &object_store::Error) -> OpenError {
    if causes(error).contains("InvalidObjectState") {
        let message =
            format!("{name} is archived: restore it first (`aws s3api restore-object`), which may take hours");
        return OpenError::Failed(message);
    }
    let why = store::explain(error);
    OpenError::Failed(match store::verdict(error) {
        Verdict::Refused => format!("{name}: {why}"),
        Verdict::Transient => format!("{name}: {why}; check the network and AWS_ENDPOINT_URL, then try again"),
    })
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_url() {
        let object = |bucket: &str, key: &str| Address::Object { bucket: bucket.into(), key: key.into() };
        for (text, address) in [
            ("-", Address::Standard),
            ("a/b", Address::File("a/b".into())),
            ("./a://b", Address::File("./a://b".into())),
            ("file:///a/log_group=%2Fx", Address::File("/a/log_group=%2Fx".into())),
            ("s3://lake/log_group=%2Fx/a b.parquet", object("lake", "log_group=%2Fx/a b.parquet")),
            ("s3://lake", object("lake", "")),
        ] {
            assert_eq!(text.parse::<Address>(), Ok(address), "{text}");
        }
        for (text, says) in [
            ("", "give a path"),
            ("s3:///x", "the bucket is missing"),
            ("file://x", "absolute path"),
            ("https://x/y", "https is nothing that is read here"),
        ] {
            assert!(text.parse::<Address>().unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn a_folder_is_answered_with_files_in_it() {
        let root = tempfile::tempdir().unwrap();
        let said = || file(root.path()).unwrap_err().to_string();
        assert!(said().ends_with("nothing was found in it: name a file or an object"));
        for n in 0..9 {
            let folder = root.path().join(format!("t/hour={n}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("x.parquet"), "x").unwrap();
        }
        fs::create_dir(root.path().join("_firemain")).unwrap();
        fs::write(root.path().join("_firemain/1.json"), "x").unwrap();
        let said = said();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), LISTED + 1);
        assert!(lines[0].ends_with("t/hour=0/x.parquet"), "{said}");
        assert!(lines[LISTED].contains("is a folder: name one of what is in it"));
        let missing = file(&root.path().join("no")).unwrap_err();
        assert!(matches!(&missing, OpenError::Usage(said) if said.ends_with("no such file: check the path")));
    }

    #[tokio::test]
    async fn a_prefix_is_answered_with_objects_below_it() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for n in 0..9 {
            store.put(&Key::from(format!("logs/t/{n}")), "x".into()).await.unwrap();
        }
        store.put(&Key::from("logs/_firemain/1.json"), "x".into()).await.unwrap();
        let open = async |key: &str| in_store(Arc::clone(&store), "lake", key, format!("s3://lake/{key}")).await;
        assert_eq!(open("logs/t/3").await.unwrap().size, Some(1));
        for key in ["logs", "logs/t/", ""] {
            let said = open(key).await.unwrap_err().to_string();
            assert!(said.starts_with("  s3://lake/logs/t/0\n"), "{said}");
            assert!(said.contains(if key.is_empty() { "is a bucket: name" } else { "is a prefix: name" }), "{said}");
        }
        let said = open("logs/no").await.unwrap_err();
        assert!(matches!(&said, OpenError::Usage(said) if said.contains("no such object")), "{said}");
        assert!(open("a//b").await.unwrap_err().to_string().contains("names no object"));
    }
}
