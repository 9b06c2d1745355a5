//! What was said becomes a configuration that cannot be wrong, or the list of all that is wrong with it.

use std::time::Duration;

use super::keys::{self, KEYS, Key, Values};
use super::layers::{Layer, Origin, Setting, Value};
use super::tables::PlacedRule;
use super::{
    BadConfig, Compression, Config, Consumer, Destination, ErrorsConfig, FileConfig, FlushConfig, Format, FormatKind,
    GlueConfig, HttpConfig, KinesisConfig, LimitsConfig, Loaded, MaskSettings, MetricsConfig, Mode, Needs, Problem,
    SourceConfig, TableConfig, values,
};
use crate::decode::{Payloads, Plain};
use crate::mask::{MaskConfig, Masker, Replacement, Unreadable};

/// Parses every value; `problems` are those that are known already.
pub fn build(said: &Layer, rules: Vec<PlacedRule>, needs: Needs, problems: Vec<Problem>) -> Result<Loaded, BadConfig> {
    let (tables, rules) = rules.into_iter().map(|rule| (rule.config, rule.origins)).unzip();
    let mut builder = Builder { said, tables, needs, problems };
    match builder.config() {
        Some(config) if builder.problems.is_empty() => Ok(Loaded { values: effective(said, &config), config, rules }),
        _ => Err(BadConfig::new(builder.problems)),
    }
}

/// Every method that returns `None` has added a problem.
struct Builder<'s> {
    said: &'s Layer,
    tables: Vec<TableConfig>,
    needs: Needs,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn config(&mut self) -> Option<Config> {
        // Every one is looked at before the first `?`, so that all problems are found at once.
        let group = self.text("group", values::group);
        let lease_timeout = self.duration("lease_timeout");
        let shutdown_timeout = self.duration("shutdown_timeout");
        let stuck_after = self.duration("stuck_after");
        let destination = self.text("destination", values::destination);
        let source = self.source();
        let (interval, buffer_bytes) = (self.duration("flush.interval"), self.size("flush.buffer_bytes"));
        let (object_bytes, open_partitions) = (self.size("flush.object_bytes"), self.count("flush.open_partitions"));
        let format = self.format();
        let bloom_filters = self.if_said("format.bloom_filters", Self::list);
        let schemas_dir = self.if_said("schemas_dir", |builder, path| builder.text(path, values::folder));
        let mask = self.mask();
        let glue = self.glue(destination.as_ref());
        let prefix = self.errors_prefix();
        let listen = self.text("http.listen", values::listen);
        let (prometheus, emf) = (self.choice("metrics.prometheus"), self.choice("metrics.emf"));
        let emf_interval = self.duration("metrics.emf_interval");
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
            bloom_filters: bloom_filters?.unwrap_or_default(),
            schemas_dir: schemas_dir?,
            tables: std::mem::take(&mut self.tables),
            mask: mask?,
            glue: glue?,
            errors: ErrorsConfig { prefix: prefix? },
            http: HttpConfig { listen: listen? },
            metrics: MetricsConfig { prometheus: prometheus? == "on", emf: emf_interval.filter(|_| emf == Some("on")) },
            limits: LimitsConfig { inflated_record_bytes: inflated_record_bytes? },
        })
    }

    fn source(&mut self) -> Option<SourceConfig> {
        let has = |kind: &str| self.said.keys().any(|path| path.starts_with(kind));
        if has("source.kinesis.") {
            let stream = self.text("source.kinesis.stream", values::stream);
            let start = self.text("source.kinesis.start", values::start);
            let mode = self.mode(stream.as_deref());
            let payloads = self.payloads();
            let (stream, start, mode, payloads) = (stream?, start?, mode?, payloads?);
            return Some(SourceConfig::Kinesis(KinesisConfig { stream, start, mode, payloads }));
        }
        if has("source.file.") {
            let paths = self.list("source.file.paths")?;
            let patterns = paths.iter().filter(|path| !std::path::Path::new(path).exists());
            return match patterns.filter_map(|path| Some((path, glob::Pattern::new(path).err()?))).next() {
                Some((path, why)) => self.wrong("source.file.paths", &format!("{path} is no glob: {why}")),
                None => Some(SourceConfig::File(FileConfig { paths })),
            };
        }
        if self.needs == Needs::NoSource {
            return Some(SourceConfig::None);
        }
        // A URL that is wrong was said to be so already.
        if !self.problems.iter().any(|problem| problem.subject == "--source") {
            let message = "no source: set `source.kinesis.stream` or `source.file.paths`, or pass --source \
                           (kinesis://NAME, file:///path/glob or -)";
            self.problems.push(Problem { subject: "source".to_owned(), place: None, message: message.to_owned() });
        }
        None
    }

    fn mode(&mut self, stream: Option<&str>) -> Option<Mode> {
        const MODE: &str = "source.kinesis.mode";
        const ARN: &str = "source.kinesis.consumer_arn";
        const NAME: &str = "source.kinesis.consumer_name";
        let mode = self.choice(MODE);
        let arn = self.if_said(ARN, |builder, path| builder.text(path, values::consumer_arn));
        let name = self.if_said(NAME, |builder, path| builder.text(path, values::consumer_name));
        match (mode?, arn?, name?) {
            ("fan_out", Some(arn), None) => match stream {
                Some(stream) if !values::is_consumer_of(&arn, stream) => {
                    self.conflict(ARN, &format!("`{ARN}` is no consumer of `source.kinesis.stream`, which is {stream}"))
                }
                _ => Some(Mode::FanOut(Consumer::Arn(arn))),
            },
            ("fan_out", None, Some(name)) => Some(Mode::FanOut(Consumer::Name(name))),
            ("fan_out", None, None) => {
                self.conflict(MODE, &format!("`{MODE}` is fan_out, which reads as a consumer: set `{ARN}` or `{NAME}`"))
            }
            ("fan_out", Some(_), Some(_)) => {
                self.conflict(NAME, &format!("`{NAME}` and `{ARN}` both name the consumer: remove one of them"))
            }
            (_, None, None) => Some(Mode::Polling),
            (_, arn, _) => {
                let path = if arn.is_some() { ARN } else { NAME };
                let message =
                    format!("`{path}` has no use while `{MODE}` is polling: remove it, or set `{MODE}` to fan_out");
                self.conflict(path, &message)
            }
        }
    }

    fn payloads(&mut self) -> Option<Payloads> {
        const LOG_GROUP: &str = "source.kinesis.log_group";
        const LOG_STREAM: &str = "source.kinesis.log_stream";
        const TIME_FIELD: &str = "source.kinesis.time_field";
        let log_group = self.if_said(LOG_GROUP, |builder, path| builder.text(path, values::log_name));
        let log_stream = self.if_said(LOG_STREAM, |builder, path| builder.text(path, values::log_name));
        let time_field = self.if_said(TIME_FIELD, |builder, path| builder.text(path, values::time_field));
        let decode = self.choice("source.kinesis.decode")?;
        let (log_group, log_stream, time_field) = (log_group?, log_stream?, time_field?);
        // What would never be used is a mistake.
        let unused = match (decode, &log_group) {
            ("cloudwatch", _) => [log_group.is_some(), log_stream.is_some(), time_field.is_some()],
            ("lines", _) => [false, false, time_field.is_some()],
            ("auto", None) => [false, log_stream.is_some(), time_field.is_some()],
            _ => [false; 3],
        };
        let why = match decode {
            "auto" => {
                "`source.kinesis.decode` is \"auto\" and `source.kinesis.log_group` is not set: set it, or remove this"
                    .to_owned()
            }
            _ => format!(
                "`source.kinesis.decode` is \"{decode}\", which has no use for it: remove it, or choose another"
            ),
        };
        for (path, _) in [LOG_GROUP, LOG_STREAM, TIME_FIELD].into_iter().zip(unused).filter(|(_, unused)| *unused) {
            self.wrong::<()>(path, &why);
        }
        if unused.contains(&true) {
            return None;
        }
        match (decode, log_group) {
            ("cloudwatch", _) | ("auto", None) => Some(Payloads::Envelopes),
            (_, None) => self.missing(LOG_GROUP, &format!("`source.kinesis.decode` \"{decode}\" needs it")),
            (_, Some(log_group)) => {
                let plain = Plain { log_group, log_stream, time_field };
                Some(match decode {
                    "lines" => Payloads::Lines(plain),
                    "json" => Payloads::Json(plain),
                    _ => Payloads::Any(plain),
                })
            }
        }
    }

    /// The folder of rejections, which is in no table's.
    fn errors_prefix(&mut self) -> Option<String> {
        let prefix = self.text("errors.prefix", values::errors_prefix)?;
        let first = prefix.split('/').next().unwrap_or_default();
        let names = self.tables.iter().map(|table| table.name.as_ref().unwrap_or(&table.schema));
        match names.into_iter().find(|name| *name == first).cloned() {
            Some(table) => self.wrong("errors.prefix", &format!("{table} is a table's folder")),
            None => Some(prefix),
        }
    }

    fn format(&mut self) -> Option<Format> {
        let kind = self.choice("format.kind");
        let compression = self.if_said("format.compression", Self::choice);
        let level = self.if_said("format.level", Self::count);
        let kind = match kind? {
            "json" => FormatKind::Json,
            _ => FormatKind::Parquet,
        };
        let compression = match (compression?, kind) {
            (Some("zstd"), _) | (None, FormatKind::Parquet) => Compression::Zstd,
            (Some("gzip"), _) | (None, FormatKind::Json) => Compression::Gzip,
            (Some("snappy"), FormatKind::Json) => {
                return self.wrong("format.compression", "JSON is compressed by gzip, zstd or none");
            }
            (Some("snappy"), FormatKind::Parquet) => Compression::Snappy,
            (Some(_), _) => Compression::None,
        };
        let (default, highest) = match compression {
            Compression::Zstd => (3, 22),
            Compression::Gzip => (4, 9),
            Compression::Snappy | Compression::None => (0, 0),
        };
        let level = level?.unwrap_or(default);
        match i32::try_from(level) {
            Ok(level) if level <= highest => Some(Format { kind, compression, level }),
            _ if highest == 0 => self.wrong("format.level", &format!("{compression} has no level: remove it")),
            _ => self.wrong("format.level", &format!("{compression} takes 1 to {highest}")),
        }
    }

    #[expect(clippy::option_option, reason = "as in `if_said`")]
    fn glue(&mut self, destination: Option<&Destination>) -> Option<Option<GlueConfig>> {
        const DATABASE: &str = "catalog.glue.database";
        const CATALOG: &str = "catalog.glue.catalog_id";
        let database = self.if_said(DATABASE, |builder, path| builder.text(path, values::database));
        let catalog_id = self.if_said(CATALOG, |builder, path| builder.text(path, values::account));
        match (database?, catalog_id?, destination) {
            (Some(_), _, Some(Destination::File { .. } | Destination::Memory)) => self
                .conflict(DATABASE, &format!("`{DATABASE}` has no use for a destination that is not on S3: remove it")),
            (None, Some(_), _) => self
                .conflict(CATALOG, &format!("`{CATALOG}` has no use without `{DATABASE}`: set that, or remove this")),
            (database, catalog_id, _) => Some(database.map(|database| GlueConfig { database, catalog_id })),
        }
    }

    #[expect(clippy::option_option, reason = "as in `if_said`")]
    fn mask(&mut self) -> Option<Option<MaskSettings>> {
        const RULES: [&str; 3] = ["mask.fields", "mask.patterns", "mask.regexes"];
        let rules = RULES.map(|path| self.if_said(path, Self::list));
        let replacement = self.text("mask.replacement", values::replacement);
        let hash_key = self.if_said("mask.hash_key", |builder, path| builder.text(path, values::hash_key));
        let unreadable = self.choice("mask.unreadable");
        let [fields, patterns, regexes] = rules;
        let (fields, patterns, regexes) = (fields?, patterns?, regexes?);
        let (replacement, hash_key, unreadable) = (replacement?, hash_key?, unreadable?);
        if fields.is_none() && patterns.is_none() && regexes.is_none() {
            let others = ["mask.replacement", "mask.hash_key", "mask.unreadable"];
            return match others.into_iter().find(|path| self.said.contains_key(path)) {
                Some(path) => {
                    let message =
                        format!("`{path}` has no use while nothing is masked: set one of {}", RULES.join(", "));
                    self.conflict(path, &message)
                }
                None => Some(None),
            };
        }
        if hash_key.is_some() && self.said.contains_key("mask.replacement") {
            return self
                .conflict("mask.replacement", "`mask.replacement` and `mask.hash_key` exclude each other: remove one");
        }
        let replacement = hash_key.map_or(Replacement::Text(replacement), |key| Replacement::Hash { key });
        let of = |rules: &Option<Vec<String>>| rules.clone().unwrap_or_default();
        let mask = MaskConfig { fields: of(&fields), patterns: of(&patterns), regexes: of(&regexes), replacement };
        // Rule by rule, to know whose fault it is.
        let one = |rule: usize| MaskConfig {
            fields: if rule == 0 { mask.fields.clone() } else { Vec::new() },
            patterns: if rule == 1 { mask.patterns.clone() } else { Vec::new() },
            regexes: if rule == 2 { mask.regexes.clone() } else { Vec::new() },
            replacement: Replacement::default(),
        };
        let wrong =
            RULES.into_iter().enumerate().filter_map(|(rule, path)| Some((path, Masker::new(&one(rule)).err()?)));
        let wrong: Vec<_> = wrong.map(|(path, error)| self.wrong::<()>(path, &error.to_string())).collect();
        if !wrong.is_empty() {
            return None;
        }
        let unreadable = if unreadable == "keep" { Unreadable::Keep } else { Unreadable::Withhold };
        Some(Some(MaskSettings { mask, unreadable }))
    }

    /// `Some(None)` where nothing was said.
    #[expect(clippy::option_option, reason = "the outer one tells what is wrong, the inner one what was not said")]
    fn if_said<T>(
        &mut self,
        path: &'static str,
        parse: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.said.contains_key(path) { parse(self, path).map(Some) } else { Some(None) }
    }

    fn text<T>(&mut self, path: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let parsed = match self.value(path)? {
            Value::Text(text) => parse(&text),
            _ => Err("a string is wanted".to_owned()),
        };
        parsed.map_or_else(|why| self.wrong(path, &why), Some)
    }

    fn duration(&mut self, path: &'static str) -> Option<Duration> {
        let parse = |text: &str| keys::duration(text).ok_or("not a duration");
        self.between(path, parse, |values| match values {
            Values::Duration(least, most) => Some((keys::duration(least)?, keys::duration(most)?)),
            _ => None,
        })
    }

    fn size(&mut self, path: &'static str) -> Option<usize> {
        let parse = |text: &str| keys::size(text).ok_or("not a size");
        let size = self.between(path, parse, |values| match values {
            Values::Size(least, most) => Some((keys::size(least)?, keys::size(most)?)),
            _ => None,
        });
        self.addressable(path, size?)
    }

    fn count(&mut self, path: &'static str) -> Option<usize> {
        let parse = |text: &str| text.parse::<u64>().map_err(|_| "not a whole number");
        let count = self.between(path, parse, |values| match values {
            Values::Count(least, most) => Some((least, most)),
            _ => None,
        });
        self.addressable(path, count?)
    }

    /// A value with an order, in the bounds that the list of keys has for it.
    fn between<T: PartialOrd>(
        &mut self,
        path: &'static str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
        bounds: impl FnOnce(Values) -> Option<(T, T)>,
    ) -> Option<T> {
        let key = keys::get(path);
        let (least, most) = bounds(key.values).expect("a key's bounds are of the type that its values have");
        let parsed = match (self.value(path)?, key.values) {
            (Value::Text(text), _) | (Value::Integer(text), Values::Size(..) | Values::Count(..)) => parse(&text),
            (Value::Integer(_), _) => Err("the unit is missing"),
            _ => Err(""),
        };
        match parsed {
            Ok(value) if value < least => self.wrong(path, "too little"),
            Ok(value) if value > most => self.wrong(path, "too much"),
            Ok(value) => Some(value),
            Err(why) => self.wrong(path, why),
        }
    }

    /// Where memory is counted in 32 bits, not every bound fits.
    fn addressable(&mut self, path: &'static str, number: u64) -> Option<usize> {
        usize::try_from(number).map_or_else(|_| self.wrong(path, "more than this machine can address"), Some)
    }

    fn choice(&mut self, path: &'static str) -> Option<&'static str> {
        let chosen = match (self.value(path)?, keys::get(path).values) {
            (Value::Text(text), Values::Choice(choices)) => choices.iter().find(|choice| **choice == text).copied(),
            _ => None,
        };
        chosen.or_else(|| self.wrong(path, ""))
    }

    fn list(&mut self, path: &'static str) -> Option<Vec<String>> {
        match self.value(path)? {
            Value::List(items) if items.is_empty() => self.wrong(path, "it is empty"),
            Value::List(items) if items.iter().any(String::is_empty) => self.wrong(path, "an item is empty"),
            Value::List(items) => Some(items),
            _ => self.wrong(path, "a list is wanted"),
        }
    }

    /// What was said, or the default. A key without either is a problem.
    fn value(&mut self, path: &'static str) -> Option<Value> {
        let key = keys::get(path);
        let default = || key.default.map(|text| Value::Text(text.to_owned()));
        let value = self.said.get(path).map(|said| said.value.clone()).or_else(default);
        value.or_else(|| self.missing(path, ""))
    }

    /// A problem with a key that must be set; `why` may be empty.
    fn missing<T>(&mut self, path: &'static str, why: &str) -> Option<T> {
        let key = keys::get(path);
        let flag = key.flag.map(|flag| format!(" or {flag}")).unwrap_or_default();
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let message = format!(
            "`{path}` is missing{why}: set it in the file, or by {}{flag}: {}",
            key.variable(),
            key.values.describe()
        );
        self.problems.push(Problem { subject: path.to_owned(), place: None, message });
        None
    }

    /// A problem of a key with what was said for others.
    fn conflict<T>(&mut self, path: &'static str, message: &str) -> Option<T> {
        let place = self.said.get(path).map(|said| said.origin.clone());
        self.problems.push(Problem { subject: path.to_owned(), place, message: message.to_owned() });
        None
    }

    /// A problem with what was said for a key; `why` may be empty.
    fn wrong<T>(&mut self, path: &'static str, why: &str) -> Option<T> {
        let default = || Setting { value: Value::Other("default"), origin: Origin::Default };
        let Setting { value, origin } = self.said.get(path).cloned().unwrap_or_else(default);
        let (key, why) = (keys::get(path), if why.is_empty() { String::new() } else { format!(" ({why})") });
        let value = if key.is_secret() { "this".to_owned() } else { value.to_string() };
        let message = format!("`{path}` can't be {value}{why}: give {}", key.values.describe());
        self.problems.push(Problem { subject: path.to_owned(), place: Some(origin), message });
        None
    }
}

/// Each key with a value, as TOML, and where it was said.
fn effective(said: &Layer, config: &Config) -> Vec<(&'static str, String, Origin)> {
    let source = match config.source {
        SourceConfig::Kinesis(_) => Some("source.kinesis."),
        SourceConfig::File(_) => Some("source.file."),
        SourceConfig::None => None,
    };
    let is_of = |path: &str| source.is_some_and(|source| path.starts_with(source));
    let counts = |key: &&Key| !key.path.starts_with("source.") || is_of(key.path);
    let values = KEYS.iter().filter(counts).filter_map(|key| {
        let (value, origin) = match said.get(key.path) {
            Some(Setting { value, origin }) => (value.clone(), origin.clone()),
            None => (Value::Text(default(key, config)?), Origin::Default),
        };
        let shown = match (value, key.values) {
            // A number, whether a file said so or the text of a variable.
            (Value::Text(digits), Values::Count(..)) => digits,
            _ if key.is_secret() => "(secret)".to_owned(),
            (value, _) => value.to_string(),
        };
        Some((key.path, shown, origin))
    });
    values.collect()
}

/// The default of a key, also where it depends on others.
fn default(key: &Key, config: &Config) -> Option<String> {
    match key.path {
        "format.compression" => Some(config.format.compression.to_string()),
        "format.level" if config.format.level > 0 => Some(config.format.level.to_string()),
        "mask.replacement" => match &config.mask.as_ref()?.mask.replacement {
            Replacement::Text(text) => Some(text.clone()),
            Replacement::Hash { .. } => None,
        },
        "mask.unreadable" if config.mask.is_none() => None,
        _ => key.default.map(str::to_owned),
    }
}
