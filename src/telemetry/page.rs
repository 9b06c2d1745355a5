//! What the status page is made of: the page, and how things stand in JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::health::Verdict;
use super::recent::History;
use super::{Live, Reading, Telemetry};
use crate::commit::snapshot::{ShardState, Snapshot, Totals, WorkerId};
use crate::event::{Millis, ShardId};

/// The page, whole.
pub const PAGE: &str = include_str!("page.html");

/// What it may load, as the page says itself.
pub fn content_security_policy() -> &'static str {
    let line = PAGE.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: "));
    line.expect("the page says so in its first lines")
}

/// What does not change while a process runs.
#[derive(Clone, Debug)]
pub struct Facts {
    pub started: Millis,
    pub group: String,
    /// As it is configured: until the state is known, which says it whole.
    pub source: String,
    pub destination: String,
    pub host: String,
    pub flush_interval: Millis,
    pub buffer_limit: usize,
}

/// How things stand.
pub fn status(telemetry: &Telemetry, facts: &Facts, history: &History, verdict: &Verdict, now: Millis) -> Value {
    let metrics = telemetry.metrics_at(now);
    let live = telemetry.live();
    let state = live.state.as_deref();
    let number = |gauge: &super::measures::Gauge| gauge.get().unwrap_or(0.0);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": now,
        "started": facts.started,
        "group": facts.group,
        "source": state.map_or(&facts.source, |state| &state.source),
        "destination": facts.destination,
        "worker": live.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        "host": facts.host,
        "state": verdict.state,
        "problems": verdict.problems,
        "flush_interval_ms": facts.flush_interval,
        "buffered_bytes": number(&metrics.buffered),
        "buffer_limit": facts.buffer_limit,
        "open_partitions": number(&metrics.partitions),
        "backlog_packs": number(&metrics.backlog),
        "totals": state.map_or_else(Totals::default, |state| state.totals),
        "history": history,
        "shards": state.map(|state| shards(state, &live.reading)).unwrap_or_default(),
        "workers": state.map(|state| workers(state, &live, facts)).unwrap_or_default(),
        "partitions": live.recent.partitions(now),
        "rejections": live.recent.rejections(now),
        "objects": live.recent.objects(),
    })
}

#[derive(Serialize)]
struct Shard<'a> {
    id: &'a ShardId,
    owner: Option<&'a WorkerId>,
    position: String,
    /// Of this worker's shards alone.
    behind_ms: Option<u64>,
    committed: Option<Millis>,
}

fn shards(state: &Snapshot, reading: &BTreeMap<ShardId, Reading>) -> Value {
    let now = Instant::now();
    let shard = |(id, shard): (&ShardId, &ShardState)| {
        let shown = Shard {
            id,
            owner: shard.owner.as_ref(),
            position: shard.position.to_string(),
            behind_ms: reading.get(id).and_then(|reading| reading.behind(now)),
            committed: shard.committed,
        };
        json!(shown)
    };
    state.shards.iter().map(shard).collect()
}

/// The host is known of this worker alone: the others' heartbeats are not read for a page.
fn workers(state: &Snapshot, live: &Live, facts: &Facts) -> Value {
    let workers = state.workers.iter().map(|(id, worker)| {
        let this = live.worker.as_ref() == Some(id);
        json!({
            "id": id,
            "host": this.then_some(&facts.host),
            "joined": worker.joined,
            "shards": state.owned_by(id).count(),
            "this": this,
        })
    });
    workers.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};

    use super::super::Stands;
    use super::super::health::State;
    use super::*;
    use crate::commit::change::tests::{group, worker};

    /// Another script would not be run by a browser, and the page stay empty.
    #[test]
    fn the_policy_names_the_pages_script_by_its_hash() {
        let (_, script) = PAGE.split_once("<script type=\"module\">").expect("it has a script");
        let (script, rest) = script.split_once("</script>").expect("it ends");
        assert!(!rest.contains("<script"), "it is the only one");
        let hash = format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(script)));
        let policy = content_security_policy();
        assert!(policy.contains(&format!("script-src {hash};")), "the script's hash is {hash}: {policy}");
    }

    #[test]
    fn what_the_page_asks_for_is_there() {
        let telemetry = Telemetry::default();
        telemetry.joined(&worker(1));
        telemetry.read(&"a".into(), 1, 1, Some(7));
        let state = Arc::new(group());
        telemetry.stands(Stands {
            state,
            shards: Some((2, 0)),
            oldest: None,
            waiting: None,
            flushing: None,
            publishing: None,
        });
        let facts = Facts {
            started: 1,
            group: "g".into(),
            source: "arn".into(),
            destination: "s3://lake".into(),
            host: "h".into(),
            flush_interval: 300_000,
            buffer_limit: 9,
        };
        let verdict = Verdict { state: State::NotReady, problems: vec!["x".into()] };
        let status = status(&telemetry, &facts, &History::new(5), &verdict, 5);
        assert_eq!((&status["state"], &status["worker"]), (&json!("not ready"), &json!(worker(1).to_string())));
        assert_eq!(status["shards"][0]["behind_ms"], 7);
        assert_eq!(status["shards"][1]["behind_ms"], Value::Null);
        assert_eq!((&status["workers"][0]["this"], &status["workers"][0]["shards"]), (&json!(true), &json!(2)));
        assert_eq!(status["history"]["events"].as_array().unwrap().len(), super::super::recent::POINTS);
        assert!(content_security_policy().starts_with("default-src 'none'"));
    }
}
