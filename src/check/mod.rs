//! What a deployment needs, tried from where it is to run: `firemain check`.
//!
//! Each subject has a file that asks, and judges by functions that ask nothing: from answers to [`Finding`]s. Each call is
//! bounded; after a failure goes on whatever does not depend on it. What passes by itself, such as 503, is tried again a few
//! times: the service bears it too. Nothing that a service reads or writes
//! is touched: what is put below the destination has names of its own ([`crate::commit::log::PROBE`]), and is deleted.
//!
//! Absent on purpose: how lines are shown.

pub mod aws;
mod bucket;
mod glue;
mod limits;
mod local;
mod store;
mod stream;

use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::aws::{Clocks, Settings};
pub use self::store::Probes;
use crate::clock::Clock;
use crate::config::{Destination, Loaded, SourceConfig};
use crate::table::tabulate::Tabulator;

/// For one call.
const BOUND: Duration = Duration::from_secs(10);

/// What came of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It works, and is probably not meant.
    Warning,
    /// The service would not work, or not for long.
    Failed,
    NotChecked,
}

/// A state, and a sentence that says what is there, or what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub state: State,
    pub text: String,
}

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Self { state: State::Ok, text: text.into() }
    }

    fn warning(text: impl Into<String>) -> Self {
        Self { state: State::Warning, text: text.into() }
    }

    fn failed(text: impl Into<String>) -> Self {
        Self { state: State::Failed, text: text.into() }
    }

    fn not_checked(text: impl Into<String>) -> Self {
        Self { state: State::NotChecked, text: text.into() }
    }
}

/// A finding about a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub subject: String,
    pub state: State,
    pub text: String,
}

/// Who shows the lines.
pub trait Show {
    fn line(&mut self, line: Line);

    /// What the next line will be about: it may be long in coming.
    fn waits_for(&mut self, topic: &'static str);
}

/// What the process was told of where it runs, beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `ECS_CONTAINER_METADATA_URI_V4`: where Amazon ECS tells a task about itself.
    pub ecs_metadata: Option<String>,
}

/// Checks everything. Lines come topic by topic, each as soon as it is known and those before it are.
pub async fn run(loaded: &Loaded, tabulator: &Tabulator, around: &Surroundings, probes: &Probes, show: &mut impl Show) {
    let (config, tables, clocks) = (&loaded.config, &tabulator.tables, Clocks::new(&Clock::system()));
    let mut board = Board::default();
    let configuration = board.topic("the configuration");
    let credentials = board.topic("AWS credentials");
    let source = board.topic("the source");
    let destination = board.topic("the destination");
    let objects = board.topic("objects at the destination");
    let catalog = board.topic("AWS Glue");
    let clock = board.topic("the clock");
    let machine = board.topic("this machine");
    let work = async {
        configured(loaded, tabulator, configuration);
        let aws = aws::settings(config, &clocks, &credentials).await;
        let source = async {
            match &config.source {
                SourceConfig::Kinesis(stream) => stream::check(stream, &aws, &clocks, source).await,
                SourceConfig::File(files) => local::files(&files.paths, source).await,
                SourceConfig::None => unreachable!("it was loaded with a source"),
            }
        };
        let destination = async {
            match &config.destination {
                Destination::S3 { bucket, prefix } => {
                    let by_name = matches!(&config.source, SourceConfig::Kinesis(k) if !k.stream.starts_with("arn:"));
                    bucket::check(bucket, prefix, by_name, &aws, &clocks, destination).await;
                }
                Destination::File { folder } => local::folder(folder, config.flush.buffer_bytes, &destination),
                Destination::Memory => destination.tell("destination", local::memory()),
            }
        };
        tokio::join!(
            aws::check(&aws, credentials),
            source,
            destination,
            store::check(config, tables, &aws, probes, objects),
            glue::check(config, tables, &aws, catalog),
            limits::check(config, around, &aws, machine),
        );
        if !matches!(aws, Settings::NotNeeded) {
            clock.tell("clock", clocks.finding());
        }
        drop(clock);
    };
    tokio::join!(work, board.show(show));
}

/// It was read before: a mistake in it is wrong usage.
fn configured(loaded: &Loaded, tabulator: &Tabulator, topic: Topic) {
    let tables: Vec<_> = tabulator.tables.iter().map(|table| &*table.name).collect();
    let of = if tables.len() == 1 { "table" } else { "tables" };
    topic.tell("configuration", Finding::ok(format!("valid, its schemas too; {of} {}", tables.join(", "))));
    for warning in loaded.warnings() {
        topic.tell("configuration", Finding::warning(warning.to_string()));
    }
}

/// The topics, in the order in which they are shown.
#[derive(Default)]
struct Board(Vec<(&'static str, mpsc::UnboundedReceiver<Line>)>);

impl Board {
    fn topic(&mut self, name: &'static str) -> Topic {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.push((name, receiver));
        Topic(sender)
    }

    async fn show(self, show: &mut impl Show) {
        for (name, mut lines) in self.0 {
            show.waits_for(name);
            while let Some(line) = lines.recv().await {
                show.line(line);
                show.waits_for(name);
            }
        }
    }
}

/// Where the lines of a topic are told. It ends when this is dropped.
#[derive(Debug)]
struct Topic(mpsc::UnboundedSender<Line>);

impl Topic {
    fn tell(&self, subject: impl Into<String>, Finding { state, text }: Finding) {
        // Nobody listens any more when the command is being ended.
        let _ = self.0.send(Line { subject: subject.into(), state, text });
    }
}

/// `None` when there is no answer in time.
async fn bounded<T>(call: impl Future<Output = T>) -> Option<T> {
    timeout(BOUND, call).await.ok()
}

/// Of what never answers.
fn silence() -> String {
    unreachable_because(&format!("no answer within {} s", BOUND.as_secs()))
}

fn unreachable_because(why: &str) -> String {
    format!("can't be reached ({why}): check the network from here: routes, security groups, VPC endpoints, DNS")
}

/// The action that a refusal names: "User: … is not authorized to perform: kms:Decrypt on resource: …".
fn action_in(said: &str) -> Option<&str> {
    let (_, behind) = said.split_once("not authorized to perform: ")?;
    behind.split_whitespace().next().filter(|action| action.contains(':'))
}

/// `1 shard`, `2 shards`, `1,234 shards`.
fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|part| String::from_utf8_lossy(part)).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Seen(Vec<String>);

    impl Show for Seen {
        fn line(&mut self, line: Line) {
            self.0.push(line.subject);
        }

        fn waits_for(&mut self, topic: &'static str) {
            self.0.push(format!("({topic})"));
        }
    }

    #[tokio::test]
    async fn topics_are_shown_in_their_order_whichever_is_done_first() {
        let mut board = Board::default();
        let (first, second) = (board.topic("one"), board.topic("two"));
        second.tell("b", Finding::ok(""));
        drop(second);
        let late = async {
            tokio::task::yield_now().await;
            first.tell("a", Finding::ok(""));
            drop(first);
        };
        let mut seen = Seen(Vec::new());
        tokio::join!(late, board.show(&mut seen));
        assert_eq!(seen.0, ["(one)", "a", "(one)", "(two)", "b", "(two)"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_comes_to_an_end() {
        assert_eq!(bounded(std::future::pending::<()>()).await, None);
        assert_eq!(bounded(async { 1 }).await, Some(1));
        assert!(silence().starts_with("can't be reached (no answer within 10 s): check the network"));
    }

    #[test]
    fn the_action_that_was_refused_is_taken_from_what_was_said() {
        let said = "AccessDenied: User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: kms:GenerateDataKey on \
                    resource: arn:aws:kms:eu-west-1:1:key/2 because no identity-based policy allows it";
        assert_eq!(action_in(said), Some("kms:GenerateDataKey"));
        assert_eq!(action_in("AccessDenied: Access Denied"), None);
    }

    #[test]
    fn numbers_are_grouped_and_one_is_no_plural() {
        assert_eq!(
            [0, 1, 999, 1000, 1_234_567].map(|n| counted(n, "shard")),
            ["0 shards", "1 shard", "999 shards", "1,000 shards", "1,234,567 shards"]
        );
    }
}
