//! Records that cannot be delivered, of every kind.

use super::gzip;
use crate::event::Millis;

pub struct Poison {
    pub data: Vec<u8>,
    /// Good events in it all the same.
    pub events: u64,
    pub json_bytes: usize,
}

/// The health check that CloudWatch Logs sends now and then.
pub fn control_message(now: Millis) -> Vec<u8> {
    format!(
        r#"{{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{{"id":"","timestamp":{now},"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}}]}}"#
    )
    .into_bytes()
}

/// The `n`-th poison record; kinds take turns.
pub fn make(n: u64, id: &str, now: Millis) -> Poison {
    let event = format!(r#"{{"id":"{id}","timestamp":{now},"message":"poisoned {n}"}}"#);
    let envelope = |events: &str| {
        format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/poisoned/app","logStream":"s","subscriptionFilters":["firemain"],"logEvents":[{events}]}}"#
        )
    };
    let good = envelope(&event);
    let whole = |data: Vec<u8>| Poison { data, events: 0, json_bytes: 0 };
    let json = |json: String| Poison { data: gzip(json.as_bytes()), events: 0, json_bytes: json.len() };
    match n % 8 {
        0 => whole(format!("plain text, no payload: {n}").into_bytes()),
        1 => {
            let mut cut = gzip(good.as_bytes());
            cut.truncate(cut.len() / 2);
            whole(cut)
        }
        2 => {
            let mut changed = gzip(good.as_bytes());
            let checksum = changed.len() - 8;
            changed[checksum] ^= 1;
            whole(changed)
        }
        3 => json(good.replacen(r#""messageType":"DATA_MESSAGE","#, "", 1)),
        4 => json(good.replacen(r#""logGroup":"/poisoned/app","#, "", 1)),
        5 => {
            let late = event.replacen(&now.to_string(), "10413792000000", 2);
            let mixed = envelope(&format!("{event},{}", late.replacen(id, &format!("{id}9"), 1)));
            Poison { events: 1, ..json(mixed) }
        }
        6 => {
            let other = format!(r#"{{"id":"{id}9","timestamp":{now},"message":{{"not":"text"}}}}"#);
            Poison { events: 1, ..json(envelope(&format!("{event},{other}"))) }
        }
        // Inflates to more than any limit that is set for it: 96 MiB.
        _ => whole(gzip(&vec![b' '; 96 << 20])),
    }
}
