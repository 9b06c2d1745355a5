//! Snapshots of a group's state, and heartbeats: small documents, held whole.

use std::io::{self, Read};
use std::sync::Arc;

use super::Problems;
use super::input::Input;
use super::sniff::{Compression, inflated};
use super::values::plainly;
use crate::commit::peers::Heartbeat;
use crate::commit::snapshot::{BadSnapshot, Snapshot};
use crate::source::file::members::Known;

/// A snapshot of a hundred thousand shards is smaller.
const LARGEST: u64 = 64 << 20;

/// `None`, and why, when it is none after all.
pub fn snapshot(
    input: &Arc<Input>,
    compression: Option<Compression>,
    problems: &mut Problems,
) -> io::Result<Option<Snapshot>> {
    let bytes = whole(input, compression, problems)?;
    Ok(match Snapshot::from_json(&bytes) {
        Ok(snapshot) => Some(snapshot),
        Err(bad) => {
            let why = match bad {
                BadSnapshot::Json(error) => plainly(&error),
                newer @ BadSnapshot::Version(_) => newer.to_string(),
            };
            problems.add(format!("it begins as a snapshot of the state, but can't be read: {why}"));
            None
        }
    })
}

/// The same of a heartbeat.
pub fn heartbeat(
    input: &Arc<Input>,
    compression: Option<Compression>,
    problems: &mut Problems,
) -> io::Result<Option<Heartbeat>> {
    let bytes = whole(input, compression, problems)?;
    let read = serde_json::from_slice(&bytes).map_err(|error| {
        problems.add(format!("it begins as a worker's heartbeat, but can't be read: {}", plainly(&error)));
    });
    Ok(read.ok())
}

fn whole(input: &Arc<Input>, compression: Option<Compression>, problems: &mut Problems) -> io::Result<Vec<u8>> {
    let (mut bytes, damage) = (Vec::new(), Known::default());
    inflated(input.read()?, compression, &damage)?.take(LARGEST).read_to_end(&mut bytes)?;
    if let Some(damage) = damage.get() {
        problems.add(damage.why.to_string());
    }
    if compression.is_some() {
        problems.note("Firemain writes it uncompressed, and reads it so");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::fixtures::gzip;

    const GOLDEN: &str = include_str!("../../tests/golden/state-v1.json");

    fn of(content: &[u8], compression: Option<Compression>) -> (Option<Snapshot>, Vec<String>) {
        let mut problems = Problems::default();
        let snapshot = snapshot(&Input::memory(content.to_vec()), compression, &mut problems).unwrap();
        (snapshot, problems.into_inner())
    }

    #[test]
    fn a_snapshot_is_read_as_workers_read_it() {
        let (snapshot, problems) = of(GOLDEN.as_bytes(), None);
        assert_eq!((snapshot.unwrap().number, problems.len()), (42, 0));
        assert_eq!(of(&gzip(GOLDEN.as_bytes()), Some(Compression::Gzip)).0.unwrap().number, 42);
        let (none, problems) = of(&GOLDEN.as_bytes()[..100], None);
        assert!(none.is_none() && problems[0].contains("EOF while parsing"), "{problems:?}");
        let newer = GOLDEN.replacen("\"version\":1", "\"version\":9", 1);
        assert!(of(newer.as_bytes(), None).1[0].contains("version 9 is newer"));
    }

    #[test]
    fn a_heartbeat_is_read() {
        let mut problems = Problems::default();
        let bytes = br#"{"worker":"0189","counter":7,"host":"ip-10-0-0-1","pid":12,"version":"0.1.0"}"#;
        let beat = heartbeat(&Input::memory(&bytes[..]), None, &mut problems).unwrap().unwrap();
        assert_eq!((beat.counter, &beat.about.host[..], beat.worker.to_string()), (7, "ip-10-0-0-1", "0189".into()));
        assert!(heartbeat(&Input::memory(&bytes[..40]), None, &mut problems).unwrap().is_none());
        assert_eq!(problems.into_inner().len(), 1);
    }
}
