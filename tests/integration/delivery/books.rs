//! `verify`: a lake that agrees with its state, and each way in which it may not.

use std::sync::Arc;

use bytes::Bytes;
use firemain::clock::Clock;
use firemain::commit::storage::Storage;
use firemain::retry::Patience;
use firemain::verify::{Proof, VerifyError, verify};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::script::{ScriptedSource, closed, open, payload};
use super::{START, never, parts, run};

struct Lake(Arc<dyn ObjectStore>);

impl Lake {
    /// What two workers delivered, one after the other: five records, of which one is a control message and one is
    /// rejected.
    async fn new() -> Self {
        let lake = Self(Arc::new(InMemory::new()));
        let control = Bytes::from_static(br#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#);
        let first = closed(vec![payload("/x", 0..5), control, payload("/y", 5..7)]);
        let second = open(vec![Bytes::from_static(b"poison"), payload("/x", 7..9)]).after(&["a"]);
        run(parts(&ScriptedSource::new([("a", first.clone())]), lake.store(), true), never()).await.unwrap();
        run(parts(&ScriptedSource::new([("a", first), ("b", second)]), lake.store(), true), never()).await.unwrap();
        lake
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0)
    }

    async fn verify(&self, since: Option<i64>) -> Result<Proof, VerifyError> {
        let storage = Storage::new(self.store(), true, Clock::simulated(7, START), Patience::default());
        verify(&storage, "test", since).await
    }

    async fn difference(&self) -> String {
        self.verify(None).await.expect_err("it does not balance").to_string()
    }

    async fn keys(&self, folder: &str) -> Vec<Path> {
        let listed: Vec<_> = self.0.list(Some(&folder.into())).try_collect().await.unwrap();
        let mut keys: Vec<_> = listed.into_iter().map(|object| object.location).collect();
        keys.sort();
        keys
    }

    /// Copies an object of the lake to a name that says another pack, or to another folder.
    async fn copy(&self, key: &Path, from: &str, to: &str) {
        let copy = key.to_string().replace(from, to);
        assert_ne!(copy, key.to_string());
        self.0.copy(key, &copy.into()).await.unwrap();
    }

    /// Changes every snapshot that says so: those of the last commit, and what came behind it.
    async fn tamper(&self, from: &str, to: &str) {
        let mut changed = 0;
        for key in self.keys("_firemain/test/state").await {
            let snapshot = self.0.get(&key).await.unwrap().bytes().await.unwrap();
            let snapshot = String::from_utf8(snapshot.to_vec()).unwrap();
            if snapshot.contains(from) {
                changed += 1;
                self.0.put(&key, snapshot.replace(from, to).into_bytes().into()).await.unwrap();
            }
        }
        assert!(changed > 0, "no snapshot has {from}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_each_shard_is_what_the_lake_has() {
    let proof = Lake::new().await.verify(None).await.unwrap();
    assert_eq!((proof.read.events, proof.delivered.rows), (9, 9));
    assert_eq!((proof.read.rejections, proof.delivered.rejections), (1, 1));
    let ranges: Vec<_> = proof
        .shards
        .iter()
        .map(|range| {
            let records = range.records;
            let counts = (records.read, records.delivered, records.rejected, records.control);
            (range.shard.as_str(), range.from.to_string(), range.to.to_string(), counts)
        })
        .collect();
    let (start, text) = ("trim_horizon".to_owned(), str::to_owned);
    assert_eq!(ranges, [("a", start.clone(), text("end"), (3, 2, 0, 1)), ("b", start, text("after 1"), (2, 1, 1, 0))]);
}

#[tokio::test(start_paused = true)]
async fn an_object_too_few_or_too_many_is_named() {
    let lake = Lake::new().await;
    let first = lake.keys("log_events").await.remove(0);
    lake.0.delete(&first).await.unwrap();
    let difference = lake.difference().await;
    let (stem, _) = first.filename().unwrap().split_once('.').unwrap();
    assert!(difference.contains(&format!("{stem}.* is not in the lake")), "{difference}");

    // Of a flush that no commit has, of a worker that joined meanwhile: it was put before its commit, which failed.
    let lake = Lake::new().await;
    let last = lake.keys("log_events").await.pop().unwrap();
    lake.copy(&last, "-1-", "-7-").await;
    let difference = lake.difference().await;
    assert!(difference.contains("-7-") && difference.contains("was never committed"), "{difference}");

    let lake = Lake::new().await;
    let last = lake.keys("log_events").await.pop().unwrap();
    lake.copy(&last, "hour=05", "hour=06").await;
    let difference = lake.difference().await;
    assert!(difference.contains("its rows are there twice"), "{difference}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_was_killed_while_it_moved_an_object_is_no_difference() {
    let lake = Lake::new().await;
    let [rejected] = &lake.keys("errors").await[..] else { panic!("one error object") };
    lake.copy(rejected, "errors/", "replayed/").await;
    lake.verify(None).await.unwrap();
    lake.0.delete(rejected).await.unwrap();
    lake.verify(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_knows_of_are_a_difference() {
    for (from, to, why) in [
        // Read, and never decoded.
        (r#""read":2,"delivered":1"#, r#""read":3,"delivered":2"#, "positions went past 3 records"),
        (r#""read":2,"delivered":1"#, r#""read":3,"delivered":1"#, "of the 3 records of b from"),
        (r#""totals":{"records":5"#, r#""totals":{"records":6"#, "and 3 were decoded"),
        (r#""events":9"#, r#""events":8"#, "1 events and 1 rejections were counted, and its objects hold 2 and 1"),
    ] {
        let lake = Lake::new().await;
        lake.tamper(from, to).await;
        let difference = lake.difference().await;
        assert!(difference.contains(why), "{difference}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_the_state_has_forgotten_is_not_proven() {
    let lake = Lake::new().await;
    lake.verify(Some(0)).await.expect("the first snapshot is there: nothing was before it");
    let first = lake.keys("_firemain/test/state").await.remove(0);
    lake.0.delete(&first).await.unwrap();
    let forgotten = lake.verify(Some(0)).await.unwrap_err().to_string();
    assert!(forgotten.contains("the state reaches back to"), "{forgotten}");
    lake.verify(None).await.expect("as far back as it goes");
}
