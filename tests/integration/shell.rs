//! The commands that need no server, and what all have in common: colours, control characters, the log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_firemain");
const HOSTILE: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J";

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    command(args, env).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command prints that goes well.
fn prints(args: &[&str]) -> String {
    let output = run(args, &[]);
    assert!(output.status.success(), "{args:?}: {}", err(&output));
    out(&output)
}

/// The exit code and the last line of one that does not.
fn refused(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(args, env);
    (output.status.code(), err(&output).lines().last().unwrap_or_default().to_owned())
}

/// A lake as `firemain demo` leaves it: with rejections, and a worker that has gone.
struct Lake {
    folder: TempDir,
    url: String,
}

impl Lake {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        prints(&["demo", dir.to_str().unwrap()]);
        let url = format!("file://{}/lake", dir.display());
        Self { folder, url }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join("demo").join(below)
    }

    fn status(&self) -> [&str; 3] {
        ["status", "--destination", &self.url]
    }
}

/// What a command writes to a terminal; `None` where there is no program that makes one.
fn on_a_terminal(line: &str, env: &[(&str, &str)]) -> Option<String> {
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("TERM", "xterm");
    match script.envs(env.iter().copied()).stdin(Stdio::null()).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("not tried on a terminal: util-linux's script is not there ({error})");
            None
        }
    }
}

#[test]
fn check_config_shows_each_value_and_where_it_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("firemain.toml");
    std::fs::write(&file, "destination = \"s3://lake/logs\"\n[source.kinesis]\nstream = \"app-logs\"\n").unwrap();
    let args = ["check-config", "--config", file.to_str().unwrap(), "--group", "g"];
    let output = run(&args, &[("FIREMAIN_FLUSH__INTERVAL", "60s")]);
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    for (key, value, said) in [
        ("destination", "s3://lake/logs", "firemain.toml"),
        ("source.kinesis.stream", "app-logs", "firemain.toml"),
        ("flush.interval", "60s", "FIREMAIN_FLUSH__INTERVAL"),
        ("group", "g", "--group"),
        ("flush.buffer_bytes", "256", "default"),
    ] {
        let line = text.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("no {key} in {text}"));
        assert!(line.contains(value) && line.contains(said), "{line}");
    }
    std::fs::write(&file, "destination = \"s3://lake/logs\"\nflsh = 1\n").unwrap();
    let (code, said) = refused(&args, &[]);
    assert!(code == Some(2) && said.contains("flsh"), "{code:?} {said}");
}

#[test]
fn completions_are_taken_by_the_shell_that_they_are_for() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(prints(&["completions", shell]).contains("check-config"), "{shell}");
    }
    assert_eq!(refused(&["completions", "cmd"], &[]).0, Some(2));
    // What the shell itself makes of it: `firemain sta` and a tab.
    let line = "source <(\"$0\" completions bash) && complete -p firemain && \
        COMP_WORDS=(firemain sta) COMP_CWORD=1 && _firemain firemain sta firemain && echo \"${COMPREPLY[@]}\"";
    match Command::new("bash").args(["-euc", line, BINARY]).output() {
        Ok(output) => {
            let text = out(&output);
            assert!(output.status.success(), "{}", err(&output));
            assert!(text.contains(" -F _firemain firemain\n") && text.trim_end().ends_with("\nstatus"), "{text}");
        }
        Err(error) => eprintln!("not tried in bash, which is not there ({error})"),
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    assert!(prints(&["man"]).contains(".TH FIREMAIN 1"));
    let folder = tempfile::tempdir().unwrap();
    prints(&["man", "--out", folder.path().to_str().unwrap()]);
    for page in ["firemain", "firemain-run", "firemain-status", "firemain-schema-ddl"] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
    let file = folder.path().join("firemain.1");
    let (code, said) = refused(&["man", "--out", file.to_str().unwrap()], &[]);
    assert!(code == Some(2) && said.contains("name a folder"), "{code:?} {said}");
}

#[test]
fn schemas_are_listed_shown_and_made_into_tables() {
    let list = prints(&["schema", "list"]);
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for file in std::fs::read_dir(schemas).unwrap().map(|file| file.unwrap().path()) {
        let Some(name) = file.file_stem().and_then(|name| name.to_str()) else { continue };
        if file.extension().is_some_and(|extension| extension == "json") {
            assert!(list.lines().any(|line| line.split(' ').next() == Some(name)), "{name}: {list}");
            assert_eq!(prints(&["schema", "show", name]), std::fs::read_to_string(&file).unwrap(), "{name}");
        }
    }
    let table = ["apache_access", "--location", "s3://lake/logs/apache_access/"];
    let ddl = |more: &[&str]| prints(&[&["schema", "ddl"][..], &table, more].concat());
    let athena = ddl(&[]);
    assert!(
        athena.contains("CREATE EXTERNAL TABLE IF NOT EXISTS `apache_access`")
            && athena.contains("s3://lake/logs/apache_access/"),
        "{athena}"
    );
    assert!(ddl(&["--partitions", "projected"]).contains("projection.enabled"));
    assert!(
        ddl(&["--dialect", "trino"]).contains("CREATE TABLE") && ddl(&["--dialect", "duckdb"]).contains("read_parquet")
    );
    let glue: Value = serde_json::from_str(&prints(&[&["schema", "glue"][..], &table].concat())).unwrap();
    assert_eq!(glue["StorageDescriptor"]["Location"], "s3://lake/logs/apache_access/");
    let (code, said) = refused(&["schema", "show", "nothing"], &[]);
    assert!(code == Some(2) && said.contains("give one of"), "{code:?} {said}");

    // One of one's own.
    let folder = tempfile::tempdir().unwrap();
    let own = prints(&["schema", "show", "apache_access"]).replace("\"apache_access\"", "\"web\"");
    std::fs::write(folder.path().join("web.json"), own).unwrap();
    let list = prints(&["schema", "list", "--schemas-dir", folder.path().to_str().unwrap()]);
    assert!(list.lines().any(|line| line.starts_with("web ")), "{list}");
}

/// Answers one request, whatever it asks.
fn answer_once(listener: TcpListener, answer: String) {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&request));
        request.extend(&part[..read]);
    }
    stream.write_all(answer.as_bytes()).unwrap();
}

#[test]
fn health_says_what_a_worker_answers_and_nothing_steers_the_terminal() {
    let ask = |answer: Option<&str>| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap().to_string();
        let answering = match answer {
            Some(answer) => {
                let answer = answer.to_owned();
                Some(std::thread::spawn(move || answer_once(listener, answer)))
            }
            None => {
                drop(listener);
                None
            }
        };
        let output = run(&["health"], &[("FIREMAIN_HTTP__LISTEN", &listen)]);
        answering.into_iter().for_each(|thread| thread.join().unwrap());
        (output.status.code(), out(&output), err(&output))
    };
    let well = ask(Some("HTTP/1.1 200 OK\r\n\r\nready\n"));
    assert_eq!(well, (Some(0), "ready\n".to_owned(), String::new()));
    let (code, _, said) = ask(Some(&format!("HTTP/1.1 503 x\r\n\r\nunhealthy\n{HOSTILE}\n")));
    assert_eq!((code, said.as_str()), (Some(1), "firemain: unhealthy\nfiremain: \\u{1b}]0;pwned\\u{7}\\u{1b}[2J\n"));
    let (code, _, said) = ask(None);
    assert!(code == Some(1) && said.contains("no worker answers at 127.0.0.1:"), "{said}");
    let (code, said) = refused(&["health"], &[("FIREMAIN_HTTP__LISTEN", "off")]);
    assert!(code == Some(2) && said.contains("`http.listen` is off"), "{said}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let lake = Lake::new();
    let status = lake.status();
    assert!(!out(&run(&status, &[])).contains('\u{1b}'), "none into a pipe");
    assert!(out(&run(&status, &[("CLICOLOR_FORCE", "1")])).contains("\u{1b}["));
    let line = format!("'{BINARY}' {}", status.join(" "));
    let Some(coloured) = on_a_terminal(&line, &[]) else { return };
    assert!(coloured.contains("\u{1b}[31m") || coloured.contains("\u{1b}[1m"), "{coloured:?}");
    let plain = on_a_terminal(&line, &[("NO_COLOR", "1")]).unwrap();
    assert!(plain.contains("no worker shows a sign of life") && !plain.contains('\u{1b}'), "{plain:?}");

    // Frames take each other's place, colours or not.
    let watch = format!("timeout --foreground 4 {line} --watch 1");
    for no_color in ["", "1"] {
        let text = on_a_terminal(&watch, &[("NO_COLOR", no_color)]).unwrap();
        let (frames, clears) = (text.matches("group default").count(), text.matches("\u{1b}[H\u{1b}[2J").count());
        assert!(frames > 1 && frames == clears, "{frames} frames, {clears} times cleared: {text:?}");
    }
}

#[test]
fn what_is_watched_through_a_pipe_has_a_time_above_each_frame_and_nothing_is_cleared() {
    let lake = Lake::new();
    let args = [&lake.status()[..], &["--watch", "1"]].concat();
    let mut child = command(&args, &[("CLICOLOR_FORCE", "1")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut frame = || -> Vec<String> { lines.by_ref().take_while(|line| !line.contains("sign of life")).collect() };
    let (first, second) = (frame(), frame());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first[0].ends_with('Z') && first[1].starts_with("group default"), "{first:?}");
    assert!(second[0].is_empty() && second[1].ends_with('Z') && second[1] > first[0], "{second:?}");
    assert!(!first.concat().contains("\u{1b}[2J"), "{first:?}");
}

#[test]
fn nobody_who_writes_into_the_bucket_steers_a_terminal() {
    let lake = Lake::new();
    let workers = lake.path("lake/_firemain/default/workers");
    std::fs::create_dir_all(&workers).unwrap();
    let says = serde_json::json!({ "host": HOSTILE, "pid": 1, "version": HOSTILE });
    std::fs::write(workers.join("01234567-89ab-7def-8123-456789abcdef.json"), says.to_string()).unwrap();
    let force = [("CLICOLOR_FORCE", "1")];
    let text = out(&run(&lake.status(), &force));
    assert!(text.contains(r"\u{1b}]0;pwned\u{7}\u{1b}[2J"), "{text:?}");
    assert!(!text.contains("\u{1b}]0") && !text.contains('\u{7}') && !text.contains("\u{1b}[2J"), "{text:?}");
    let json = run(&[&lake.status()[..], &["--output", "json"]].concat(), &force);
    assert!(!out(&json).contains('\u{1b}') && out(&json).contains("pwned"), "{}", out(&json));
}

#[test]
fn status_says_what_it_did_not_look_at() {
    let lake = Lake::new();
    let output = run(&lake.status(), &[]);
    assert!(out(&output).contains("lag not looked at: ") && !out(&output).contains("all is well"), "{}", out(&output));
    let (code, said) = refused(&[&lake.status()[..], &["--max-lag", "1s"]].concat(), &[]);
    assert!(code == Some(2) && said.contains("--max-lag needs a stream"), "{code:?} {said}");
    let replays = [&lake.status()[..], &["--replays"]].concat();
    assert_eq!(refused(&[&replays[..], &["--max-lag", "1s"]].concat(), &[]).0, Some(2));

    // A replay ends when it is done: that none is running is as it should be.
    prints(&["replay", "--destination", &lake.url]);
    let output = run(&replays, &[]);
    let text = out(&output);
    assert!(output.status.success() && text.contains("no replay is running"), "{text}");
    assert!(!text.contains("lag not looked at") && text.contains("all else is well"), "{text}");
}

#[test]
fn a_filter_of_the_log_that_is_none_does_not_silence_it() {
    let lake = Lake::new();
    let (records, copy) = (lake.path("records.ndjson"), lake.folder.path().join("copy"));
    let (source, destination) = (format!("file://{}", records.display()), format!("file://{}", copy.display()));
    let args = ["run", "--source", &source, "--destination", &destination];
    let log = |env: &[(&str, &str)], more: &[&str]| {
        let output = run(&[&args, more].concat(), &[env, &[("FIREMAIN_HTTP__LISTEN", "off")]].concat());
        assert!(output.status.success(), "{}", err(&output));
        err(&output)
    };
    let bogus = log(&[("RUST_LOG", "bogus")], &[]);
    assert!(bogus.contains("RUST_LOG is not used: \"bogus\" is no level") && bogus.contains(" INFO "), "{bogus}");
    assert!(!log(&[("RUST_LOG", "warn")], &[]).contains(" INFO "), "one that is");
    assert!(log(&[("RUST_LOG", "")], &[]).contains(" INFO "), "none");
    let flag = log(&[("RUST_LOG", "bogus")], &["--log-level", "info"]);
    assert!(flag.contains(" INFO ") && !flag.contains("RUST_LOG"), "the flag goes before it: {flag}");
}
