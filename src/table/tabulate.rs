//! The stage between decoding and buffering: secrets are masked, each payload gets its table, and values are taken out of
//! its messages.
//!
//! Invariant: every row that comes in goes out, to one table, or in a rejection. Pure, and for a thread of its own.

use std::ops::Range;
use std::sync::Arc;

use super::cells::RowCells;
use super::extract::{self, Mismatch};
use super::tables::{Routed, Tables};
use crate::decode::{Decoded, Payload, Rejecter};
use crate::event::RejectionCode;
use crate::mask::{self, Masking};

/// Decoded records whose payloads have tables.
#[derive(Debug, Default)]
pub struct Tabulated {
    pub decoded: Decoded,
    /// The table of each payload: an index of [`Tables`].
    pub tables: Vec<usize>,
    /// Of the rows of tables that take values out of messages.
    pub cells: RowCells,
}

/// Of one table, the first.
impl From<Decoded> for Tabulated {
    fn from(decoded: Decoded) -> Self {
        let tables = vec![0; decoded.payloads.len()];
        Self { decoded, tables, cells: RowCells::default() }
    }
}

impl Tabulated {
    /// Empties it for further records.
    pub fn clear(&mut self) {
        let Self { decoded, tables, cells } = self;
        decoded.clear();
        tables.clear();
        cells.clear();
    }
}

/// Gives rows to tables. Shared by all threads, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Tabulator {
    pub tables: Arc<Tables>,
    pub masking: Option<Masking>,
}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    extract: extract::Scratch,
    mask: mask::Scratch,
    masked: Vec<u8>,
    payloads: Vec<Payload>,
    /// Of the payload at hand: its rows that do not match.
    mismatches: Vec<usize>,
}

/// Rows of memory that is kept for further payloads.
const KEPT: usize = 64 << 10;

impl Tabulator {
    /// The general table alone, and nothing is masked.
    pub fn log_events() -> Arc<Self> {
        Arc::new(Self { tables: Tables::log_events(), masking: None })
    }

    pub fn run(&self, scratch: &mut Scratch, out: &mut Tabulated) {
        out.tables.clear();
        out.cells.clear();
        if let Some(masking) = &self.masking {
            self.mask_all(masking, scratch, &mut out.decoded);
        }
        std::mem::swap(&mut scratch.payloads, &mut out.decoded.payloads);
        for payload in std::mem::take(&mut scratch.payloads) {
            self.place(scratch, payload, out);
        }
    }

    /// Masks messages, and the payloads of rejections.
    fn mask_all(&self, masking: &Masking, scratch: &mut Scratch, decoded: &mut Decoded) {
        let Scratch { mask, masked, .. } = scratch;
        for row in &mut decoded.rows {
            let (id, message) = (row.at..row.at + row.id_len as usize, row.message());
            masked.clear();
            if masking.text(mask, &decoded.text[message], masked) {
                row.at = decoded.text.len();
                row.message_len =
                    u32::try_from(masked.len()).expect("a mask is short, and a record has less than 4 GiB");
                decoded.text.extend_from_within(id);
                decoded.text.extend_from_slice(masked);
            }
        }
        for rejection in &mut decoded.rejections {
            masking.rejection(mask, rejection);
        }
    }

    /// Gives a payload's rows to its table, and those that do not match to where they belong.
    fn place(&self, scratch: &mut Scratch, payload: Payload, out: &mut Tabulated) {
        let log_group = std::str::from_utf8(&out.decoded.text[payload.log_group.clone()]);
        let routed = self.tables.route(log_group.expect("decoded text is UTF-8"));
        self.extract(scratch, &payload, &routed, out);
        let mismatches = &mut scratch.mismatches;
        if mismatches.is_empty() {
            out.tables.push(routed.table);
            out.decoded.payloads.push(payload);
            return;
        }
        // What lies between the rows that do not match; and these, if they are rows of another table.
        let mut push = |rows: Range<usize>, table: Option<usize>| {
            if let Some(table) = table.filter(|_| !rows.is_empty()) {
                out.tables.push(table);
                out.decoded.payloads.push(Payload { rows, ..payload.clone() });
            }
        };
        let mut from = payload.rows.start;
        for rows in mismatches.chunk_by(|row, next| row + 1 == *next) {
            let (start, end) = (rows[0], rows[0] + rows.len());
            push(from..start, Some(routed.table));
            push(start..end, routed.other);
            from = end;
        }
        push(from..payload.rows.end, Some(routed.table));
        mismatches.clear();
        mismatches.shrink_to(KEPT);
    }

    /// Takes values out of a payload's messages; what does not match is told, and rejected where no other table takes it.
    fn extract(&self, scratch: &mut Scratch, payload: &Payload, routed: &Routed<'_>, out: &mut Tabulated) {
        let Some(extractor) = routed.rows else { return };
        let Tabulated { decoded, cells, .. } = out;
        let mut rejecter = None;
        for at in payload.rows.clone() {
            let message = std::str::from_utf8(&decoded.text[decoded.rows[at].message()]);
            let message = message.expect("decoded and masked text is UTF-8");
            let extracted = extractor.extract(&mut scratch.extract, message, cells.row(at, decoded.rows.len()));
            cells.end_row(at);
            let Err(mismatch) = extracted else { continue };
            scratch.mismatches.push(at);
            if routed.other.is_none() {
                self.reject(&mut rejecter, payload, routed.table, at, &mismatch, decoded);
            }
        }
        if let Some(mut rejecter) = rejecter {
            rejecter.finish(decoded);
        }
    }

    fn reject<'p>(
        &self,
        rejecter: &mut Option<Rejecter<'p>>,
        payload: &'p Payload,
        table: usize,
        at: usize,
        mismatch: &Mismatch,
        decoded: &mut Decoded,
    ) {
        let rejecter =
            rejecter.get_or_insert_with(|| Rejecter::of_payload(RejectionCode::TableMismatch, payload, decoded));
        let event = rejecter.event(&decoded.rows[at], decoded);
        rejecter.reject(&event, format!("table {}: {mismatch}", self.tables.get(table).name), decoded);
        decoded.counts.events -= 1;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::cells::{Cell, Cells};
    use super::super::library::Library;
    use super::super::tables::{OnMismatch, Rule};
    use super::*;
    use crate::decode::{self, DecodeConfig, Decoder, Payloads, Plain};
    use crate::event::Record;
    use crate::mask::{MaskConfig, Masker, Replacement, Unreadable};
    use crate::partition::KeyLimits;

    fn tables(on_mismatch: OnMismatch) -> Arc<Tables> {
        let schema = Arc::clone(Library::open(None).unwrap().get("app_json").unwrap());
        let rule = Rule { name: "apps".to_owned(), schema, log_groups: vec!["/app/*".to_owned()], on_mismatch };
        Arc::new(Tables::new(vec![rule]).unwrap())
    }

    fn envelope(log_group: &str, messages: &[&str]) -> Bytes {
        let events = messages.iter().enumerate().map(|(n, message)| {
            serde_json::json!({ "id": format!("id{n}"), "timestamp": 1_711_083_600_000u64 + n as u64, "message": message })
        });
        let events: Vec<_> = events.collect();
        let envelope = serde_json::json!({
            "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": log_group, "logStream": "s", "logEvents": events
        });
        envelope.to_string().into()
    }

    fn run(tabulator: &Tabulator, payloads: Payloads, data: Bytes) -> Tabulated {
        let keys = KeyLimits { key: 1024, segment: 1024, before: 0 };
        let decoder =
            Decoder::new(DecodeConfig { inflated_record_bytes: 1 << 20, longest_table: "apps".into(), keys, payloads });
        let sequence = "7".parse().unwrap();
        let record = Record { data, sequence, partition_key: Some("k".into()), arrival: 5, flaw: None, earlier: None };
        let mut out = Tabulated::default();
        let mut scratch = decode::Scratch::new();
        assert_eq!(decoder.decode(&mut scratch, &[record], true, &mut out.decoded), 1);
        tabulator.run(&mut Scratch::default(), &mut out);
        out
    }

    /// The rows, each with its table, its message and its first cell.
    fn rows(tabulator: &Tabulator, out: &Tabulated) -> Vec<(String, String, Option<String>)> {
        let mut rows = Vec::new();
        for (payload, table) in out.decoded.payloads.iter().zip(&out.tables) {
            for at in payload.rows.clone() {
                let message = String::from_utf8(out.decoded.text[out.decoded.rows[at].message()].to_vec()).unwrap();
                let cells = out.cells.of(at);
                let first = (!cells.is_empty()).then(|| match Cells::new(cells).read() {
                    Cell::Message(span) => String::from_utf8(span.of(message.as_bytes()).to_vec()).unwrap(),
                    other => format!("{other:?}"),
                });
                rows.push((tabulator.tables.get(*table).name.to_string(), message, first));
            }
        }
        rows
    }

    fn row(table: &str, message: &str, first: Option<&str>) -> (String, String, Option<String>) {
        (table.to_owned(), message.to_owned(), first.map(str::to_owned))
    }

    const INFO: &str = r#"{"level":"info"}"#;

    #[test]
    fn rows_go_to_the_table_of_their_log_group() {
        let tabulator = Tabulator { tables: tables(OnMismatch::Error), masking: None };
        let out = run(&tabulator, Payloads::Envelopes, envelope("/app/a", &[INFO, "{}"]));
        assert_eq!(rows(&tabulator, &out), [row("apps", INFO, Some("info")), row("apps", "{}", Some("Null"))]);
        let out = run(&tabulator, Payloads::Envelopes, envelope("/other", &[INFO]));
        assert_eq!(rows(&tabulator, &out), [row("log_events", INFO, None)]);
    }

    #[test]
    fn what_does_not_match_is_rejected_in_an_envelope_of_its_own_with_the_reason() {
        let tabulator = Tabulator { tables: tables(OnMismatch::Error), masking: None };
        let out = run(&tabulator, Payloads::Envelopes, envelope("/app/a", &["no", INFO, "\"quoted\"", INFO]));
        assert_eq!(rows(&tabulator, &out), [row("apps", INFO, Some("info")), row("apps", INFO, Some("info"))]);
        let counts = out.decoded.counts;
        assert_eq!((counts.records, counts.events, counts.rejections), (1, 2, 2));
        let rejection = &out.decoded.rejections[1];
        assert_eq!(rejection.code, RejectionCode::TableMismatch);
        assert_eq!(rejection.message, "table apps: the message is not a JSON object");
        assert_eq!(
            (rejection.sequence.as_str(), rejection.partition_key.as_deref(), rejection.arrival),
            ("7", Some("k"), 5)
        );
        // It can be delivered again, and then is the same event.
        let general = Tabulator { tables: Tables::log_events(), masking: None };
        let again = run(&general, Payloads::Envelopes, rejection.payload.clone());
        assert_eq!(rows(&general, &again), [row("log_events", "\"quoted\"", None)]);
        let event = &again.decoded.rows[0];
        assert_eq!((&again.decoded.text[event.id()], event.timestamp), (&b"id2"[..], 1_711_083_600_002));
        let payload = &again.decoded.payloads[0];
        assert_eq!(&again.decoded.text[payload.owner.clone().unwrap()], b"123456789012");
    }

    #[test]
    fn or_it_is_a_row_of_the_general_table() {
        let tabulator = Tabulator { tables: tables(OnMismatch::LogEvents), masking: None };
        let out = run(&tabulator, Payloads::Envelopes, envelope("/app/a", &[INFO, "no", "no 2", INFO, "no 3"]));
        let expected = [
            row("apps", INFO, Some("info")),
            row("log_events", "no", None),
            row("log_events", "no 2", None),
            row("apps", INFO, Some("info")),
            row("log_events", "no 3", None),
        ];
        assert_eq!(rows(&tabulator, &out), expected);
        assert_eq!((out.decoded.counts.events, out.decoded.rejections.len()), (5, 0));
        assert_eq!(out.decoded.payloads.len(), 4, "neighbours stay together");
    }

    #[test]
    fn lines_that_do_not_match_are_rejected_as_they_are() {
        let tabulator = Tabulator { tables: tables(OnMismatch::Error), masking: None };
        let plain = Plain { log_group: "/app/x".into(), log_stream: None, time_field: None };
        let out = run(&tabulator, Payloads::Lines(plain), Bytes::from_static(b"{\"level\":\"a\"}\nno\n"));
        assert_eq!(rows(&tabulator, &out), [row("apps", r#"{"level":"a"}"#, Some("a"))]);
        assert_eq!(*out.decoded.rejections[0].payload, *b"no");
    }

    #[test]
    fn a_record_of_many_mismatches_does_not_swell() {
        let tabulator = Tabulator { tables: tables(OnMismatch::Error), masking: None };
        let plain = Plain { log_group: "/app/x".into(), log_stream: None, time_field: None };
        let lines = "x\n".repeat(200_000);
        let out = run(&tabulator, Payloads::Lines(plain), Bytes::from(lines));
        let payloads: usize = out.decoded.rejections.iter().map(|rejection| rejection.payload.len()).sum();
        assert!(out.decoded.rejections.len() < 100_000 && payloads < 1 << 20, "{}", out.decoded.rejections.len());
        let lines =
            out.decoded.rejections.iter().map(|rejection| rejection.payload.split(|byte| *byte == b'\n').count());
        assert_eq!((lines.sum::<usize>(), out.decoded.counts.events), (200_000, 0), "none is lost");
    }

    #[test]
    fn secrets_are_masked_before_values_are_taken_out_and_in_rejections() {
        let mask = MaskConfig {
            fields: vec!["level".into(), "pw".into()],
            replacement: Replacement::default(),
            ..MaskConfig::default()
        };
        let masking = Masking {
            masker: Masker::new(&mask).unwrap(),
            unreadable: Unreadable::Withhold,
            inflated_record_bytes: 1 << 20,
        };
        let tabulator = Tabulator { tables: tables(OnMismatch::Error), masking: Some(masking) };
        let out = run(&tabulator, Payloads::Envelopes, envelope("/app/a", &[INFO, r#"{"logger":"x"}"#, "pw=secret"]));
        let expected =
            [row("apps", r#"{"level":"****"}"#, Some("****")), row("apps", r#"{"logger":"x"}"#, Some("Null"))];
        assert_eq!(rows(&tabulator, &out), expected);
        let payload = String::from_utf8(out.decoded.rejections[0].payload.to_vec()).unwrap();
        assert!(payload.contains("pw=****") && !payload.contains("secret"), "{payload}");
        let bad = run(&tabulator, Payloads::Envelopes, Bytes::from_static(br#"{"messageType":"pw=secret"}"#));
        let rejection = &bad.decoded.rejections[0];
        assert!(!rejection.message.contains("secret") && !rejection.payload.ends_with(b"secret\"}"), "{rejection:?}");
    }
}
