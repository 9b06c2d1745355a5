//! A record file: every record of it is decoded as delivery would, and the first of them shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Problems;
use super::input::Input;
use super::payload::{self, Payload, Reader};
use super::shown::{Options, Span, Time};
use super::sniff::{Compression, Shape, inflated};
use crate::decode::{Counts, is_aggregate};
use crate::event::Millis;
use crate::source::file::content::{Again, Content, Failed, Found, Sink};
use crate::source::file::members::Known;

/// Of more log groups than this no count is kept.
const MOST_LOG_GROUPS: usize = 10_000;
/// A file has one of a gzip, and some of its records.
const MOST_FLAWS: usize = 100;
/// The arrival of a record that tells none: no record has it.
const UNTOLD: Millis = -1;

/// What a record file holds.
#[derive(Debug, Serialize)]
pub struct Records {
    pub shape: Shape,
    pub records: u64,
    /// Of them, those that the Kinesis Producer Library aggregated.
    pub aggregated: u64,
    /// Events that would be rows.
    pub events: u64,
    /// Control messages.
    pub control: u64,
    /// Bytes of payloads, inflated.
    pub payload_bytes: u64,
    pub arrival: Option<Span>,
    /// Of the events.
    pub event_time: Option<Span>,
    /// Events by log group; the first ten thousand groups.
    pub log_groups: BTreeMap<String, u64>,
    /// Rejections that would come of it, by code.
    pub rejections: BTreeMap<&'static str, u64>,
    /// Records that they would come of.
    pub records_with_rejections: u64,
    pub first_records: Vec<Shown>,
    /// The first of those, behind the ones above, that a rejection would come of.
    pub further_rejected: Vec<Shown>,
}

/// A record that is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// From 1.
    pub number: u64,
    /// `None` where it tells none: then the time of the file counts.
    pub arrival: Option<Time>,
    pub partition_key: Option<String>,
    #[serde(flatten)]
    pub payload: Payload,
}

/// Reads all of it.
pub fn inspect(
    input: &Arc<Input>,
    compression: Option<Compression>,
    shape: Shape,
    options: Options,
    problems: &mut Problems,
) -> std::io::Result<Records> {
    let mut seen = Seen {
        records: Records::new(shape),
        reader: Reader::new(options),
        options,
        flaws: BTreeMap::new(),
        damage: None,
        strays: Strays::default(),
    };
    let again = || input.read();
    let again: Option<Again<'_>> = input.is_read_again().then_some(&again);
    // What reads the records takes gzip out by itself; zstd it does not know.
    let result = match compression {
        Some(Compression::Zstd) => {
            problems.note("`firemain run` reads gzip, not zstd: unpack it first");
            let content = inflated(input.read()?, compression, &Known::default())?;
            Content::new(content, UNTOLD, &|| (), None).read(&mut seen)
        }
        _ => Content::new(input.read()?, UNTOLD, &|| (), again).read(&mut seen),
    };
    let Seen { records, flaws, damage, strays, .. } = seen;
    if let Some(why) = damage {
        problems.add(match flaws.get(&why) {
            Some(number) => format!("{why}: from record {number} on they can't be trusted, and are not decoded"),
            None => format!("{why}: behind its last record"),
        });
    }
    problems.extend(strays.told());
    match result {
        Ok(()) => {}
        Err(error) => problems.add(format!("{error} (behind {} records)", records.records)),
    }
    if records.records > 0 && records.events == 0 && records.control == 0 && !records.rejections.is_empty() {
        problems.add("nothing of it can be decoded".to_owned());
    }
    Ok(records)
}

/// Takes the records as they are read.
struct Seen {
    records: Records,
    reader: Reader,
    options: Options,
    /// The first record with each flaw.
    flaws: BTreeMap<Arc<str>, u64>,
    /// What is wrong with the gzip.
    damage: Option<Arc<str>>,
    /// Records that were no JSON where pages are.
    strays: Strays,
}

impl Sink for Seen {
    fn take(&mut self, found: Found) -> Result<(), Failed> {
        let Self { records, reader, options, .. } = self;
        records.records += 1;
        let number = records.records;
        let is_stray = records.shape != Shape::Payloads && found.partition_key.is_none() && found.arrival == UNTOLD;
        let record = payload::record(number - 1, found);
        match &record.flaw {
            Some(flaw) if self.flaws.len() < MOST_FLAWS => {
                self.flaws.entry(Arc::clone(flaw)).or_insert(number);
            }
            None if is_stray => self.strays.add(number),
            _ => {}
        }
        let decoded = reader.decode(&record);
        let is_rejected = !decoded.rejections.is_empty();
        records.add(decoded);
        records.records_with_rejections += u64::from(is_rejected);
        records.aggregated += u64::from(is_aggregate(&record.data));
        if record.arrival != UNTOLD {
            Span::add(&mut records.arrival, record.arrival);
        }
        let first = records.first_records.len() < options.rows;
        if first || (is_rejected && records.further_rejected.len() < options.rows) {
            let shown = Shown {
                number,
                arrival: Some(record.arrival).filter(|arrival| *arrival != UNTOLD).map(Time),
                partition_key: record.partition_key.as_deref().map(|key| options.text(key)),
                payload: reader.look(&record),
            };
            if first { records.first_records.push(shown) } else { records.further_rejected.push(shown) }
        }
        Ok(())
    }

    fn damaged(&mut self, why: &str) {
        self.damage = Some(why.into());
    }
}

/// What stands between pages and is none.
#[derive(Default)]
struct Strays {
    count: u64,
    first: u64,
}

impl Strays {
    fn add(&mut self, number: u64) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
    }

    fn told(&self) -> Option<String> {
        let more = match self.count {
            0 => return None,
            1 => String::new(),
            count => format!(", and so are {} more", count - 1),
        };
        Some(format!("record {} is no record of a page but damaged JSON between them{more}", self.first))
    }
}

impl Records {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            records: 0,
            aggregated: 0,
            events: 0,
            control: 0,
            payload_bytes: 0,
            arrival: None,
            event_time: None,
            log_groups: BTreeMap::new(),
            rejections: BTreeMap::new(),
            records_with_rejections: 0,
            first_records: Vec::new(),
            further_rejected: Vec::new(),
        }
    }

    fn add(&mut self, decoded: &crate::decode::Decoded) {
        let Counts { events, control, bytes, .. } = decoded.counts;
        self.events += events;
        self.control += control;
        self.payload_bytes += bytes;
        decoded.rows.iter().for_each(|row| Span::add(&mut self.event_time, row.timestamp));
        for rejection in &decoded.rejections {
            *self.rejections.entry(rejection.code.as_str()).or_default() += 1;
        }
        for payload in &decoded.payloads {
            let name = String::from_utf8_lossy(&decoded.text[payload.log_group.clone()]);
            let events = payload.rows.len() as u64;
            if let Some(count) = self.log_groups.get_mut(name.as_ref()) {
                *count += events;
            } else if self.log_groups.len() < MOST_LOG_GROUPS {
                self.log_groups.insert(name.into_owned(), events);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::inspect::fixtures::{SHORT, envelope, gzip, zstd};

    fn of(content: &[u8], shape: Shape, compression: Option<Compression>) -> (Records, Vec<String>) {
        let mut problems = Problems::default();
        let records = inspect(&Input::memory(content.to_vec()), compression, shape, SHORT, &mut problems).unwrap();
        (records, problems.into_inner())
    }

    /// A page a line: records of so many events each, and some that are poison.
    fn pages(records: &[Vec<u8>]) -> String {
        let page = |(n, data): (usize, &Vec<u8>)| {
            let record = json!({"SequenceNumber": n.to_string(), "ApproximateArrivalTimestamp": 1_711_083_600 + n,
                "Data": STANDARD.encode(data), "PartitionKey": format!("k{n}")});
            format!("{}\n", json!({"Records": [record]}))
        };
        records.iter().enumerate().map(page).collect()
    }

    #[test]
    fn all_records_are_counted_and_rejected_ones_shown_behind_the_first() {
        let mut records = vec![gzip(&envelope(10)); 20];
        records[1] = b"poison".to_vec();
        records[15] = gzip(b"{}");
        records[19] = include_bytes!("../../tests/golden/kpl-aggregate.bin").to_vec();
        let content = pages(&records);
        for (bytes, compression) in [
            (content.clone().into_bytes(), None),
            (gzip(content.as_bytes()), Some(Compression::Gzip)),
            (zstd(content.as_bytes()), Some(Compression::Zstd)),
        ] {
            let (found, problems) = of(&bytes, Shape::Pages, compression);
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!((found.records, found.events, found.aggregated), (20, 172, 1));
            assert_eq!(found.rejections, BTreeMap::from([("Payload.Invalid", 1), ("Record.NotDecodable", 2)]));
            assert_eq!(found.log_groups, BTreeMap::from([("/g".into(), 170), ("/aws/lambda/checkout".into(), 2)]));
            let numbers = |shown: &[Shown]| shown.iter().map(|shown| shown.number).collect::<Vec<_>>();
            assert_eq!(numbers(&found.first_records), [1, 2, 3, 4, 5]);
            assert_eq!((numbers(&found.further_rejected), found.records_with_rejections), (vec![16, 20], 3));
            assert_eq!(found.first_records[1].payload.refused[0].code, "Record.NotDecodable");
            assert_eq!(found.first_records[0].partition_key.as_deref(), Some("k0"));
            assert_eq!(found.arrival.unwrap().to_string(), "2024-03-22T05:00:00.000Z to 2024-03-22T05:00:19.000Z");
        }
    }

    #[test]
    fn a_bare_payload_is_one_record_that_tells_no_arrival() {
        let (found, problems) = of(&gzip(&envelope(3)), Shape::Payloads, Some(Compression::Gzip));
        assert!(problems.is_empty() && found.arrival.is_none());
        assert_eq!((found.records, found.events, found.first_records[0].arrival), (1, 3, None));
    }

    #[test]
    fn damage_is_told_with_what_could_be_read() {
        let noise: Vec<u8> = (0..50_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let content = pages(&[gzip(&envelope(3)), noise, gzip(&envelope(4))]);
        let whole = gzip(content.as_bytes());
        let (found, problems) = of(&whole[..whole.len() / 2], Shape::Pages, Some(Compression::Gzip));
        assert_eq!(found.events, 3);
        assert!(problems[0].starts_with("gzip: truncated: from record 2 on they can't be trusted"), "{problems:?}");

        let (found, problems) = of(&content.as_bytes()[..content.len() - 30], Shape::Pages, None);
        assert_eq!((found.records, found.events), (3, 3));
        assert_eq!(problems, ["record 3 is no record of a page but damaged JSON between them"]);

        let (found, problems) = of(br#"{"messageType":"DATA_MESSAGE","logGr"#, Shape::Payloads, None);
        assert_eq!(found.records, 1);
        assert_eq!(problems, ["nothing of it can be decoded"]);
    }
}
