//! What a reader of the lake finds.

use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde_json::Value;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lake {
    /// Every delivered event's id with the folder it is in, sorted.
    pub events: Vec<(u64, String)>,
    /// Every rejection: its code and its payload, sorted.
    pub rejections: Vec<(String, Vec<u8>)>,
    /// All keys that are neither.
    pub others: Vec<String>,
}

impl Lake {
    pub async fn read(store: &dyn ObjectStore) -> Self {
        let mut lake = Self::default();
        let objects: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
        for object in objects {
            let key = object.location.to_string();
            let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
            if let Some(folder) = key.strip_prefix("log_events/") {
                let folder = folder.rsplit_once('/').unwrap().0;
                lake.events.extend(rows(&bytes).map(|row| (text(&row, "event_id").parse().unwrap(), folder.into())));
            } else if key.starts_with("errors/") {
                let mut lines = Vec::new();
                MultiGzDecoder::new(&bytes[..]).read_to_end(&mut lines).unwrap();
                let raw = |row: &Value| BASE64_STANDARD.decode(text(row, "rawData")).unwrap();
                lake.rejections.extend(rows(&lines).map(|row| (text(&row, "errorCode").to_owned(), raw(&row))));
            } else {
                lake.others.push(key);
            }
        }
        lake.events.sort();
        lake.rejections.sort();
        lake
    }

    pub fn ids(&self) -> Vec<u64> {
        self.events.iter().map(|(id, _)| *id).collect()
    }

    /// Snapshots of the group's state.
    pub fn states(&self) -> usize {
        self.others.iter().filter(|key| key.contains("/state/")).count()
    }
}

fn rows(lines: &[u8]) -> impl Iterator<Item = Value> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap())
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap()
}
