//! What came, or was to come, off a stream: records and rejections.

use super::super::output::{BAD, Column, painted, table};
use super::text::{Fact, Told, fact, first, listed, numbered, plain, section};
use crate::inspect::payload::{Beginning, Event, Form, Log, Payload, Refused};
use crate::inspect::records::{Records, Shown};
use crate::inspect::rejections::{self, Rejections, Writer};
use crate::inspect::shown::{bytes, count, escaped};
use crate::inspect::sniff::Shape;

/// Log groups that are listed.
const LOG_GROUPS: usize = 20;

pub fn records(records: &Records) -> Told {
    let shape = match records.shape {
        Shape::Pages => "as of `aws kinesis get-records`",
        Shape::LambdaEvents => "in events as Lambda gets them",
        Shape::Payloads => "as bare payloads",
    };
    let what = format!("record file: {} {shape}", count(records.records, "record"));
    let mut facts = vec![fact("events", events(records))];
    facts.extend(records.event_time.map(|span| fact("event times", span.to_string())));
    facts.extend(records.arrival.map(|span| fact("arrived", span.to_string())));
    let rejected: Vec<_> = records.rejections.iter().map(|(code, count)| format!("{count} {code}")).collect();
    if !rejected.is_empty() {
        facts.push(fact("rejections", rejected.join(", ")).painted(BAD));
    }
    let shown = |shown: &[Shown]| shown.iter().map(record).collect::<String>();
    let sections = [
        section("Log groups", &log_groups(records)),
        section(&first(records.first_records.len(), records.records, "record"), &shown(&records.first_records)),
        section(&further(records), &shown(&records.further_rejected)),
    ];
    (what, facts, sections.concat())
}

fn further(records: &Records) -> String {
    let before = records.first_records.iter().filter(|shown| shown.payload.rejections > 0).count() as u64;
    let (shown, all) = (records.further_rejected.len(), records.records_with_rejections.saturating_sub(before));
    format!("First {shown} of {} with rejections", count(all, "further record"))
}

fn events(records: &Records) -> String {
    let mut text = count(records.events, "event");
    text.push_str(&format!(", {} inflated", bytes(records.payload_bytes)));
    for (number, what) in [(records.control, "control message"), (records.aggregated, "aggregated record")] {
        if number > 0 {
            text.push_str(&format!("; {}", count(number, what)));
        }
    }
    text
}

fn log_groups(records: &Records) -> String {
    if records.log_groups.is_empty() {
        return String::new();
    }
    let mut groups: Vec<_> = records.log_groups.iter().collect();
    groups.sort_by_key(|(name, events)| (std::cmp::Reverse(**events), *name));
    let more = groups.len().saturating_sub(LOG_GROUPS);
    let rows = groups
        .iter()
        .take(LOG_GROUPS)
        .map(|(name, events)| [indicatif::HumanCount(**events).to_string().into(), escaped(name).into()]);
    let more = if more == 0 { String::new() } else { format!("… and {more} more: --output json has all\n") };
    table([Column::right("events"), Column::left("log group")], rows) + &more
}

fn record(record: &Shown) -> String {
    let arrival = record.arrival.map_or_else(|| "tells no arrival".to_owned(), |time| format!("arrived {time}"));
    let key = record.partition_key.as_deref().map(|key| format!(", key {key}")).unwrap_or_default();
    let head = format!("{arrival}{key}, {}: {}", form(&record.payload), holds(&record.payload));
    numbered(record.number, &format!("{}\n{}", escaped(&head), payload(&record.payload)))
}

/// `1,234 bytes (1.2 KiB) of gzip`
fn form(payload: &Payload) -> String {
    let form = match payload.form {
        Form::Gzip => " of gzip",
        Form::Aggregated => ", aggregated",
        Form::Plain => ", not compressed",
    };
    format!("{}{form}", bytes(payload.bytes))
}

/// `200 events, 1 rejection`
fn holds(payload: &Payload) -> String {
    let mut holds = Vec::new();
    if payload.events > 0 || (payload.control == 0 && payload.rejections == 0) {
        holds.push(count(payload.events, "event"));
    }
    if payload.control > 0 {
        holds.push(count(payload.control, "control message"));
    }
    if payload.rejections > 0 {
        holds.push(count(payload.rejections, "rejection"));
    }
    holds.join(", ")
}

fn payload(payload: &Payload) -> String {
    let logs = payload.logs.iter().map(log).collect::<String>();
    let refused = payload.refused.iter().map(refused).collect::<String>();
    logs + &refused
}

fn log(log: &Log) -> String {
    let stream = log.log_stream.as_deref().map(|stream| format!("  {stream}")).unwrap_or_default();
    let owner = log.owner.as_deref().map(|owner| format!("  (account {owner})")).unwrap_or_default();
    let head = escaped(&format!("{}{stream}{owner}", log.log_group));
    let more = log.events.saturating_sub(log.first.len() as u64);
    let more = if more == 0 { String::new() } else { format!("  … {more} more\n") };
    format!("{head}\n{}{more}", messages(&log.first))
}

fn messages(events: &[Event]) -> String {
    let line = |event: &Event| {
        let time = event.timestamp.map(|time| format!("{time}  ")).unwrap_or_default();
        format!("  {time}{}\n", escaped(&event.message))
    };
    events.iter().map(line).collect()
}

fn refused(refused: &Refused) -> String {
    let head = painted(BAD, &escaped(&format!("{}: {}", refused.code, refused.reason)));
    format!("{head}\n{}", beginning(&refused.begins))
}

fn beginning(begins: &Beginning) -> String {
    match begins {
        Beginning::Text(text) => format!("  begins with the text: \"{}\"\n", escaped(text)),
        Beginning::Hex(hex) => format!("  begins with the bytes: {hex}\n"),
        Beginning::Envelope { log_group, log_stream, events, first } => {
            let unsaid = || "(none)".to_owned();
            let group = log_group.clone().unwrap_or_else(unsaid);
            let stream = log_stream.clone().unwrap_or_else(unsaid);
            let events = events.map_or_else(|| "its events are no list".to_owned(), |events| count(events, "event"));
            let head = escaped(&format!("envelope of {group}, stream {stream}: {events}"));
            let messages = messages(first).lines().map(|line| format!("  {line}\n")).collect::<String>();
            format!("  {head}\n{messages}")
        }
    }
}

pub fn rejections(rejections: &Rejections) -> Told {
    let writer = match rejections.written_by {
        Some(Writer::Firemain) => " of Firemain",
        Some(Writer::FirehoseProcessing) => " of Amazon Data Firehose (processing-failed)",
        Some(Writer::FirehoseFormatConversion) => " of Amazon Data Firehose (format-conversion-failed)",
        None => "",
    };
    let what = format!("error object{writer}: {}", count(rejections.rejections, "rejection"));
    let facts = rejections.arrival.map(|span| fact("arrived", span.to_string())).into_iter().collect();
    let rows = rejections.codes.iter().map(|(code, count)| {
        let time =
            |time: Option<_>| time.map_or_else(String::new, |time: crate::inspect::shown::Time| time.to_string());
        [
            escaped(code).into(),
            indicatif::HumanCount(count.rejections).to_string().into(),
            time(count.arrival.map(|span| span.first)).into(),
            time(count.arrival.map(|span| span.last)).into(),
        ]
    });
    let heads = [
        Column::left("code"),
        Column::right("rejections"),
        Column::left("first arrival"),
        Column::left("last arrival"),
    ];
    let codes = if rejections.codes.is_empty() { String::new() } else { table(heads, rows) };
    let shown = &rejections.first_rejections;
    let shown = section(
        &first(shown.len(), rejections.rejections, "rejection"),
        &shown.iter().map(rejection).collect::<String>(),
    );
    (what, facts, section("By code", &codes) + &shown)
}

fn rejection(rejection: &rejections::Shown) -> String {
    let head = painted(BAD, &escaped(&rejection.code));
    let arrival = rejection.arrival.map(|time| format!(", arrived {time}")).unwrap_or_default();
    let attempts = match (rejection.attempts, rejection.attempt_ended) {
        (Some(1), Some(ended)) => format!(", 1 attempt, ended {ended}"),
        (Some(attempts), Some(ended)) => format!(", {attempts} attempts, the last ended {ended}"),
        (Some(attempts), None) => format!(", attempts: {attempts}"),
        (None, _) => String::new(),
    };
    let mut facts: Vec<Fact> = rejection.reason.iter().map(|why| fact("reason", why.clone())).collect();
    facts.extend(rejection.from.0.iter().map(|(name, value)| fact(name, plain(value))));
    let data = match &rejection.payload {
        None => "its data is missing, or no base64\n".to_owned(),
        Some(data) => held(data),
    };
    numbered(rejection.number, &format!("{head}{arrival}{attempts}\n{}{data}", listed(&facts, "")))
}

/// The payload of a rejection: why it can't be delivered is said already, that it can be is news.
fn held(data: &Payload) -> String {
    let head = format!("payload: {}", form(data));
    let good = match (data.events, data.control) {
        (0, 0) => String::new(),
        (0, control) => format!(", which decodes: {}", count(control, "control message")),
        (events, _) => format!(", which decodes: {}", count(events, "event")),
    };
    let begins = data.refused.iter().map(|refused| beginning(&refused.begins)).collect::<String>();
    let logs = data.logs.iter().map(log).collect::<String>();
    let logs = logs.lines().map(|line| format!("  {line}\n")).collect::<String>();
    format!("{head}{good}\n{logs}{begins}")
}
