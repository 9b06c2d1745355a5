//! Times as ISO 8601 and RFC 3339 write them.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone};

use crate::event::Millis;

/// A date and a time with a `T` or a space between them; the seconds with or without a fraction, of which what is smaller
/// than a millisecond is cut off; with an offset, whose colon and minutes may be missing, or `Z`, or without: then it is of
/// `zone`.
pub fn millis(text: &str, zone: FixedOffset) -> Option<Millis> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let (with_offset, without) = match text.as_bytes().get(10)? {
        b'T' => ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f"),
        b' ' => ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f"),
        _ => return None,
    };
    match DateTime::parse_from_str(text, with_offset) {
        Ok(time) => Some(time.timestamp_millis()),
        Err(_) => {
            let there = NaiveDateTime::parse_from_str(text, without).ok()?;
            Some(zone.from_local_datetime(&there).single()?.timestamp_millis())
        }
    }
}
