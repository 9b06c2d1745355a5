//! What was said becomes a configuration that cannot be wrong.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::DateTime;

use super::keys::{self, KEYS, Values};
use super::layers::{Layer, Origin, Said, Value};
use super::{
    BadConfig, Compression, Config, Destination, ErrorsConfig, FileConfig, FlushConfig, Format, FormatKind,
    KinesisConfig, LimitsConfig, Loaded, Problem, SourceConfig, Start,
};

/// Parses every value; `problems` are those that are known already.
pub fn build(said: &Layer, problems: Vec<Problem>) -> Result<Loaded, BadConfig> {
    let mut builder = Builder { said, problems };
    let config = builder.config();
    match config {
        Some(config) if builder.problems.is_empty() => Ok(Loaded { values: values(said, &config), config }),
        _ => Err(BadConfig(builder.problems)),
    }
}

struct Builder<'s> {
    said: &'s Layer,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn config(&mut self) -> Option<Config> {
        // Every one is looked at before the first `?`, so that all problems are found at once.
        let group = self.text("group", check_group);
        let lease_timeout = self.duration("lease_timeout");
        let shutdown_timeout = self.duration("shutdown_timeout");
        let stuck_after = self.duration("stuck_after");
        let destination = self.text("destination", destination);
        let source = self.source();
        let (interval, buffer_bytes) = (self.duration("flush.interval"), self.size("flush.buffer_bytes"));
        let (object_bytes, open_partitions) = (self.size("flush.object_bytes"), self.count("flush.open_partitions"));
        let format = self.format();
        let prefix = self.text("errors.prefix", errors_prefix);
        let inflated_record_bytes = self.size("limits.inflated_record_bytes");
        Some(Config {
            group: group?,
            lease_timeout: lease_timeout?,
            shutdown_timeout: shutdown_timeout?,
            stuck_after: stuck_after?,
            destination: destination?,
            source: source?,
            flush: FlushConfig {
                interval: interval?,
                buffer_bytes: buffer_bytes?,
                object_bytes: object_bytes?,
                open_partitions: open_partitions?,
            },
            format: format?,
            errors: ErrorsConfig { prefix: prefix? },
            limits: LimitsConfig { inflated_record_bytes: inflated_record_bytes? },
        })
    }

    fn source(&mut self) -> Option<SourceConfig> {
        let has = |kind: &str| self.said.keys().any(|path| path.starts_with(kind));
        if has("source.kinesis.") {
            let stream = self.text("source.kinesis.stream", |text| Ok(text.to_owned()));
            let start = self.text("source.kinesis.start", start);
            return Some(SourceConfig::Kinesis(KinesisConfig { stream: stream?, start: start? }));
        }
        if has("source.file.") {
            return Some(SourceConfig::File(FileConfig { paths: self.list("source.file.paths")? }));
        }
        let message = "no source: set `source.kinesis.stream` or `source.file.paths`, or pass --source \
                       (kinesis://NAME, file:///path/glob or -)";
        self.problems.push(Problem { place: Origin::Default, message: message.to_owned() });
        None
    }

    fn format(&mut self) -> Option<Format> {
        let kind = match self.choice("format.kind")?.as_str() {
            "json" => FormatKind::Json,
            _ => FormatKind::Parquet,
        };
        let compression = match (self.said.contains_key("format.compression"), kind) {
            (false, FormatKind::Parquet) => Compression::Zstd,
            (false, FormatKind::Json) => Compression::Gzip,
            (true, _) => match self.choice("format.compression")?.as_str() {
                "zstd" => Compression::Zstd,
                "snappy" => Compression::Snappy,
                "gzip" => Compression::Gzip,
                _ => Compression::None,
            },
        };
        if (kind, compression) == (FormatKind::Json, Compression::Snappy) {
            return self.wrong("format.compression", "JSON is compressed by gzip, zstd or none");
        }
        let (default, highest) = match compression {
            Compression::Zstd => (3, 22),
            Compression::Gzip => (4, 9),
            Compression::Snappy | Compression::None => (0, 0),
        };
        let level = if self.said.contains_key("format.level") { self.count("format.level")? } else { default };
        if level > highest {
            let range = if highest > 0 { format!("1 to {highest}") } else { "no level".to_owned() };
            return self.wrong("format.level", &format!("{compression} takes {range}"));
        }
        Some(Format { kind, compression, level: i32::try_from(level).ok()? })
    }

    fn text<T>(&mut self, path: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.value(path)? {
            Value::Text(text) => text,
            _ => return self.wrong(path, "a text is wanted"),
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => self.wrong(path, &why),
        }
    }

    fn duration(&mut self, path: &'static str) -> Option<Duration> {
        let Values::Duration(least, most) = keys::find(path)?.values else { return None };
        let parse = |text: &str| humantime::parse_duration(text).ok();
        let range = parse(least)?..=parse(most)?;
        let value = match self.value(path)? {
            Value::Text(text) => parse(&text).filter(|duration| range.contains(duration)),
            _ => None,
        };
        value.or_else(|| self.wrong(path, ""))
    }

    fn size(&mut self, path: &'static str) -> Option<usize> {
        let Values::Size(least, most) = keys::find(path)?.values else { return None };
        let parse = |text: &str| ByteSize::from_str(text).ok().map(|size| size.as_u64());
        let range = parse(least)?..=parse(most)?;
        let value = match self.value(path)? {
            Value::Text(text) | Value::Integer(text) => parse(&text).filter(|size| range.contains(size)),
            _ => None,
        };
        value.and_then(|size| usize::try_from(size).ok()).or_else(|| self.wrong(path, ""))
    }

    fn count(&mut self, path: &'static str) -> Option<usize> {
        let Values::Count(least, most) = keys::find(path)?.values else { return None };
        let value = match self.value(path)? {
            Value::Text(text) | Value::Integer(text) => {
                text.parse::<u64>().ok().filter(|count| (least..=most).contains(count))
            }
            _ => None,
        };
        value.and_then(|count| usize::try_from(count).ok()).or_else(|| self.wrong(path, ""))
    }

    fn choice(&mut self, path: &'static str) -> Option<String> {
        let Values::Choice(choices) = keys::find(path)?.values else { return None };
        match self.value(path)? {
            Value::Text(text) if choices.contains(&text.as_str()) => Some(text),
            _ => self.wrong(path, ""),
        }
    }

    fn list(&mut self, path: &'static str) -> Option<Vec<String>> {
        let items = match self.value(path)? {
            Value::List(items) => items,
            Value::Text(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            _ => return self.wrong(path, ""),
        };
        if items.is_empty() || items.iter().any(String::is_empty) {
            self.wrong(path, "it is empty")
        } else {
            Some(items)
        }
    }

    /// What was said, or the default. A key without either is a problem.
    fn value(&mut self, path: &'static str) -> Option<Value> {
        let default = || keys::find(path)?.default.map(|text| Value::Text(text.to_owned()));
        let value = self.said.get(path).map(|said| said.value.clone()).or_else(default);
        if value.is_none() {
            let values = keys::find(path)?.values.describe();
            let message = format!("`{path}` is missing: {values}; set it in the file, or {}", keys::variable(path));
            self.problems.push(Problem { place: Origin::Default, message });
        }
        value
    }

    fn wrong<T>(&mut self, path: &'static str, why: &str) -> Option<T> {
        let Said { value, origin } = self.said.get(path)?;
        let values = keys::find(path)?.values.describe();
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let message = format!("`{path}` can't be {value}{why}: {values}");
        self.problems.push(Problem { place: origin.clone(), message });
        None
    }
}

fn check_group(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain && (1..=128).contains(&text.len()) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err(String::new())
    }
}

fn destination(text: &str) -> Result<Destination, String> {
    match text.split_once("://") {
        Some(("s3", rest)) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            if bucket.is_empty() {
                return Err("the bucket is missing".to_owned());
            }
            if object_store::path::Path::parse(prefix).is_err() {
                return Err("the prefix has an empty or relative part".to_owned());
            }
            Ok(Destination::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        }
        Some(("file", rest)) if rest.starts_with('/') && rest.len() > 1 => {
            Ok(Destination::File { folder: PathBuf::from(rest) })
        }
        Some(("file", _)) => Err("an absolute path is wanted: file:///folder".to_owned()),
        Some(("memory", _)) => Ok(Destination::Memory),
        Some((scheme, _)) => Err(format!("{scheme} is not a kind of destination")),
        None => Err("a URL is wanted".to_owned()),
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "trim_horizon" => Ok(Start::TrimHorizon),
        "latest" => Ok(Start::Latest),
        _ => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Start::At(time.timestamp_millis())),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn errors_prefix(text: &str) -> Result<String, String> {
    let folder = text.trim_matches('/');
    let first = folder.split('/').next().unwrap_or_default();
    if folder.is_empty() || object_store::path::Path::parse(folder).is_err() {
        return Err("it has an empty or relative part".to_owned());
    }
    if first == "_firemain" || first == "log_events" {
        return Err(format!("{first} holds other things"));
    }
    Ok(folder.to_owned())
}

/// Each key with a value, where it was said, and as what it counts.
fn values(said: &Layer, config: &Config) -> Vec<(&'static str, String, Origin)> {
    let values = KEYS.iter().filter_map(|key| {
        if let Some(Said { value, origin }) = said.get(key.path) {
            return Some((key.path, value.to_string(), origin.clone()));
        }
        let derived = match key.path {
            "format.compression" => Some(config.format.compression.to_string()),
            "format.level" if config.format.level > 0 => Some(config.format.level.to_string()),
            path if path.starts_with("source.kinesis.") && matches!(config.source, SourceConfig::File(_)) => None,
            _ => key.default.map(str::to_owned),
        };
        derived.map(|value| (key.path, value, Origin::Default))
    });
    values.collect()
}
