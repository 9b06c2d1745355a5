//! Which rejections are wanted.

use chrono::{DateTime, NaiveDate, Utc};

use super::line::Line;
use crate::event::{Millis, RejectionCode};
use crate::partition::unescaped;

/// What is delivered again: everything, unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Codes; none means all.
    pub codes: Vec<String>,
    /// Arrival: from this on.
    pub since: Option<Millis>,
    /// Before this.
    pub until: Option<Millis>,
}

impl Selection {
    /// Whether a rejection is wanted; `modified` is its arrival where it does not say so.
    pub fn takes(&self, line: &Line, modified: Millis) -> bool {
        let arrival = line.arrival.unwrap_or(modified);
        self.takes_code(&line.code) && self.overlaps(arrival, arrival)
    }

    /// Whether an object may have rejections that are wanted, going by its key: ours says the code and the hour of arrival.
    pub fn may_take(&self, key: &str) -> bool {
        let value = |name: &str| key.split('/').find_map(|folder| folder.strip_prefix(name)?.strip_prefix('='));
        // Firehose's folders may have such names too, and say other things by them.
        let is_ours = |code: &String| RejectionCode::ALL.iter().any(|known| known.as_str() == code);
        let Some(code) = value("error").map(unescaped).filter(is_ours) else { return true };
        if !self.takes_code(&code) {
            return false;
        }
        let Some(start) = value("dt").zip(value("hour")).and_then(|(date, hour)| hour_of(date, hour)) else {
            return true;
        };
        self.overlaps(start, start + 3_600_000 - 1)
    }

    fn takes_code(&self, code: &str) -> bool {
        self.codes.is_empty() || self.codes.iter().any(|wanted| wanted == code)
    }

    /// Whether any time from `first` to `last` is wanted.
    fn overlaps(&self, first: Millis, last: Millis) -> bool {
        self.since.is_none_or(|since| last >= since) && self.until.is_none_or(|until| first < until)
    }
}

fn hour_of(date: &str, hour: &str) -> Option<Millis> {
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let time: DateTime<Utc> = date.and_hms_opt(hour.parse().ok()?, 0, 0)?.and_utc();
    Some(time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Millis = 1_711_083_600_000;

    fn line(code: &str, arrival: Millis) -> Line {
        Line::parse(&format!(r#"{{"rawData":"YQ==","errorCode":"{code}","arrivalTimestamp":{arrival}}}"#)).unwrap()
    }

    #[test]
    fn rejections_are_taken_by_code_and_by_arrival() {
        let selection = Selection { codes: vec!["A".into(), "B".into()], since: Some(FIVE), until: Some(FIVE + 10) };
        let takes = |code, arrival| selection.takes(&line(code, arrival), 0);
        assert!(takes("A", FIVE) && takes("B", FIVE + 9));
        assert!(!takes("C", FIVE) && !takes("A", FIVE - 1) && !takes("A", FIVE + 10), "until is not included");
        assert!(Selection::default().takes(&line("C", 0), 0));
        let silent = Line::parse(r#"{"rawData":"YQ==","errorCode":"A"}"#).unwrap();
        assert!(selection.takes(&silent, FIVE) && !selection.takes(&silent, 0));
    }

    /// No object that has something wanted is passed over.
    #[test]
    fn our_own_objects_are_told_by_their_keys() {
        let of = |since, until| Selection { codes: vec!["Event.Invalid".into()], since, until };
        let key = "error=Event.Invalid/dt=2024-03-22/hour=05/w-1-0.json.gz";
        assert!(of(None, None).may_take(key) && !of(None, None).may_take(&key.replace("Event", "Payload")));
        assert!(of(Some(FIVE + 3_599_999), None).may_take(key) && !of(Some(FIVE + 3_600_000), None).may_take(key));
        assert!(of(None, Some(FIVE + 1)).may_take(key) && !of(None, Some(FIVE)).may_take(key));
        assert!(of(None, Some(0)).may_take("processing-failed/2024/03/22/05/x-1"), "its key does not tell");
        assert!(of(None, Some(0)).may_take("error=Event.Invalid/x"));
        assert!(of(None, None).may_take("error=processing-failed/dt=2024-03-22/hour=05/app-1-x"), "it is Firehose's");
    }
}
