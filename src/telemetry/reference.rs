//! `docs/metrics.md`, made from the list of metrics. The file is written anew by
//! `UPDATE_DOCS=1 cargo test --lib telemetry::reference`.

use std::fmt::Write as _;

use super::metrics::{About, LIST, STORE_KINDS, STREAM_KINDS};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

const HEAD: &str = r"# Metrics

<!-- Made from src/telemetry/metrics.rs: UPDATE_DOCS=1 cargo test --lib telemetry::reference -->

The same numbers go out in two forms, each on or off:

- **Prometheus**: `GET /metrics` at `http.listen` (`metrics.prometheus`, on by default). Every name begins with
  `firemain_`, and every metric has the label `group`. Counters count from the start of the process.
- **CloudWatch**: lines of the Embedded Metric Format on standard output (`metrics.emf`, off by default), every
  `metrics.emf_interval` and at the end, of which CloudWatch Logs makes metrics in the namespace `Firemain`. Counters are
  what came since the last line. The dimension is `Group` (and `Code` or `Kind`, where the table says so), so that
  workers add up: use Sum for counters, Maximum for gauges (each worker tells `PackBacklog` of the whole group), Average for
  `DeliveryToS3.Success`. Which worker it was stands beside it as `Worker`, for queries over the lines.

Names are those of Amazon Data Firehose where they mean the same, so that dashboards and alarms can stay. No metric and no
log line holds an event or a payload. The status page tells why something was rejected, and with it the value that was
refused, 64 characters of it at most, masked where [masks](tables.md) say so.

";

const TAIL: &str = r"
## What to be woken by

| alarm | when | what it means |
| --- | --- | --- |
| lag | `KinesisMillisBehindLatest` Maximum over 10 minutes for 10 minutes | reading does not keep up: [runbook](runbook.md#lag-grows) |
| freshness | `DeliveryToS3.DataFreshness` Maximum over three times `flush.interval` | what was read is not delivered: [runbook](runbook.md#s3-denies) |
| nothing | no data of `DeliveryToS3.Records` for 15 minutes | no worker runs |
| stream | `KinesisErrors` Sum over 5 in each of two times 5 minutes | the stream can't be read, by the kind: access, throttling, the network; lag grows meanwhile: [runbook](runbook.md#lag-grows) |
| rejections | `Rejections` Sum over what is usual | [a poison producer](runbook.md#a-poison-producer), or [a deploy](runbook.md#a-bad-deploy-is-rolled-back) |
| loss | `PositionsExpired` Sum over 0 | the stream's retention has passed what nobody had read: it is lost |
| retention | `KinesisMillisBehindLatest` Maximum over half of the stream's retention | data is about to be lost: [runbook](runbook.md#lag-grows), and first a longer retention |
| backlog | `PackBacklog` Maximum over 10 for 10 minutes | what is committed does not get visible: [runbook](runbook.md#s3-denies) |
| restarts | more than one task that ended by itself in 15 minutes, which ECS tells EventBridge | [a worker does not stay](runbook.md#a-worker-does-not-stay) |

The [Terraform module](../terraform/README.md) makes all of them. By *nothing*, *loss* and *retention* somebody is to get up.

## Health

| path | 200 while | for |
| --- | --- | --- |
| `/healthz` | its loops turn, and what is due is committed within `stuck_after` | restarting a process that hangs; `firemain health` asks it |
| `/readyz` | it has also joined, owns shards or has none to own, reads them, and commits and publishes in time | a deployment that waits |
| `/` | | people: throughput and lag over the last hour, shards, workers, partitions, rejections, objects |
| `/status.json` | | what the page shows |

A store that is away makes a worker wait, not unhealthy, until `stuck_after` has passed. A stream that is away makes it not
ready, and never unhealthy once it has begun: a restart does not help.
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("| CloudWatch | unit | Prometheus | what it says |\n| --- | --- | --- | --- |\n");
    for About { name, prometheus, unit, kind, label, says } in LIST {
        let total = if *kind == "counter" { "_total" } else { "" };
        let outcome = if *name == "DeliveryToS3.Success" { Some("outcome") } else { None };
        let by = label.map(str::to_lowercase).or(outcome.map(str::to_owned));
        let by = by.map_or(String::new(), |by| format!("{{{by}}}"));
        let dimension = label.map_or(String::new(), |label| format!(" by `{label}`"));
        let _ =
            writeln!(text, "| `{name}`{dimension} | {unit} | `firemain_{prometheus}{total}{by}`, {kind} | {says} |");
    }
    for (metric, kinds) in [("KinesisErrors", &STREAM_KINDS[..]), ("S3Errors", &STORE_KINDS[..])] {
        let kinds: Vec<_> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        let _ = writeln!(text, "\n`Kind` of `{metric}` is one of {}.", kinds.join(", "));
    }
    text + TAIL
}

#[test]
fn the_document_is_what_the_list_of_metrics_says() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, reference()).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        written == reference(),
        "{PATH} is old: UPDATE_DOCS=1 cargo test --lib telemetry::reference writes it anew"
    );
}
