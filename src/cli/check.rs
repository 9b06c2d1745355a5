//! `firemain check`: would a run work from here, and what is to be done if not?

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::output::{BAD, Cell, Column, FAINT, Form, GOOD, POOR, Rows, print, print_json};
use super::{ConfigArgs, Failure};
use crate::check::{self, Line, Probes, Show, State, Surroundings};
use crate::service;

pub const EXAMPLES: &str = "\
Tries what `firemain run` with the same flags will need, from where it is started, and says of each thing whether it is \
there, or what to do: the IAM action that is missing, by its name. Run it with the role, in the network and with the \
configuration of the service, before you deploy it and when something does not work.

It reads one record of the stream. At the destination it puts small objects whose names begin with .check-, and deletes \
them again. Neither is noticed by workers that run, nor by queries. Nothing is registered, subscribed to or changed. What \
can't be tried so is named as not checked, as are settings that these credentials may not look at: the service does not \
need that. docs/configuration.md lists the actions that the service needs, and those that only this command makes use of.

Each line is ok, a warning (it works, and is probably not meant), failed (the service would not work), or not checked. A \
call that is not answered within 10 seconds has failed. The log is shown with --log-level only.

Exit codes: 0 nothing failed; 1 something did; 2 wrong usage or configuration.

Examples:
  firemain check --config firemain.toml
  firemain check --source kinesis://app-logs --destination s3://my-lake/logs
  firemain check --config firemain.toml --output json | jq '.checks[] | select(.state == \"failed\")'";

/// Of the column of subjects: a longer one pushes its text to the right.
const SUBJECT: usize = 22;

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// In what form the lines are printed: each as soon as it is known, or all at the end
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    output: Form,
}

/// Prints a line for each check, and how many there are of each kind.
pub async fn run(args: CheckArgs) -> Result<(), Failure> {
    let loaded = args.config.load()?;
    let tabulator = service::tabulator(&loaded).map_err(|bad| Failure::usage(bad.to_string()))?;
    let around = Surroundings { ecs_metadata: std::env::var("ECS_CONTAINER_METADATA_URI_V4").ok() };
    let (probes, mut shown) = (Probes::default(), Shown::new(args.output));
    tokio::select! {
        () = check::run(&loaded, &tabulator, &around, &probes, &mut shown) => shown.end(),
        number = ended() => {
            shown.bar.finish_and_clear();
            let left = probes.clear().await;
            let left = if left.is_empty() { "nothing is left behind".into() } else { format!("left behind: {}", left.join(", ")) };
            Err(Failure { message: format!("ended by a signal: {left}"), code: 128 + number })
        }
    }
}

/// Returns the number of a signal that ends the process.
async fn ended() -> u8 {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        // Then it ends as it does without.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 15,
        _ = interrupt.recv() => 2,
    }
}

/// Lines as they are shown: at once as text, or kept for JSON.
struct Shown {
    form: Form,
    rows: Rows<3>,
    bar: ProgressBar,
    lines: Vec<Line>,
    /// Standard output is gone.
    broken: Option<Failure>,
}

/// All lines, for a program.
#[derive(Serialize)]
struct Document<'l> {
    checks: &'l [Line],
    passed: usize,
    warnings: usize,
    failed: usize,
    not_checked: usize,
}

impl Shown {
    fn new(form: Form) -> Self {
        let columns = [Column::left("state"), Column::left("check"), Column::left("finding")];
        // As wide as the widest state.
        let rows = Rows::new(columns, ["not checked".len(), SUBJECT, 0]);
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        Self { form, rows, bar, lines: Vec::new(), broken: None }
    }

    /// Prints what comes last, and tells how it all ended.
    fn end(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        if let Some(failure) = self.broken {
            return Err(failure);
        }
        let count = |state| self.lines.iter().filter(|line| line.state == state).count();
        let (passed, warnings) = (count(State::Ok), count(State::Warning));
        let (failed, not_checked) = (count(State::Failed), count(State::NotChecked));
        match self.form {
            Form::Text => print(&format!("\n{}\n", sum(passed, warnings, failed, not_checked)))?,
            Form::Json => print_json(&Document { checks: &self.lines, passed, warnings, failed, not_checked })?,
        }
        outcome(failed)
    }
}

/// How the command ends, of so many failures.
fn outcome(failed: usize) -> Result<(), Failure> {
    match failed {
        0 => Ok(()),
        1 => Err(Failure::fatal("a check failed: do what is said there, then check again")),
        _ => Err(Failure::fatal(format!("{failed} checks failed: do what is said there, then check again"))),
    }
}

fn sum(passed: usize, warnings: usize, failed: usize, not_checked: usize) -> String {
    let warned = if warnings == 1 { "warning" } else { "warnings" };
    format!("{passed} passed, {warnings} {warned}, {failed} failed, {not_checked} not checked")
}

impl Show for Shown {
    fn line(&mut self, line: Line) {
        if self.form == Form::Text && self.broken.is_none() {
            let mut text = if self.lines.is_empty() { self.rows.heads() } else { String::new() };
            text.push_str(&self.rows.row(&[
                state(line.state),
                line.subject.as_str().into(),
                line.text.as_str().into(),
            ]));
            self.broken = self.bar.suspend(|| print(&text)).err();
        }
        self.lines.push(line);
    }

    fn waits_for(&mut self, topic: &'static str) {
        self.bar.set_message(format!("checking {topic}"));
    }
}

fn state(state: State) -> Cell {
    match state {
        State::Ok => Cell::painted(GOOD, "ok"),
        State::Warning => Cell::painted(POOR, "warning"),
        State::Failed => Cell::painted(BAD, "failed"),
        State::NotChecked => Cell::painted(FAINT, "not checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_failed_fails_the_command() {
        assert!(outcome(0).is_ok());
        let told = |failed| outcome(failed).map_err(|failure| (failure.code, failure.message)).unwrap_err();
        assert_eq!(told(1), (1, "a check failed: do what is said there, then check again".to_owned()));
        assert!(told(2).1.starts_with("2 checks failed: "));
    }

    #[test]
    fn the_sum_names_each_kind() {
        assert_eq!(sum(14, 1, 0, 2), "14 passed, 1 warning, 0 failed, 2 not checked");
        assert_eq!(sum(1, 0, 3, 0), "1 passed, 0 warnings, 3 failed, 0 not checked");
    }
}
