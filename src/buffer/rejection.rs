//! A rejection as one line of JSON, in the shape that users of Firehose know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Place;
use crate::event::{Millis, Rejection};

/// In the order of its fields; times are milliseconds since 1970.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    attempts_made: u32,
    arrival_timestamp: Millis,
    error_code: &'static str,
    error_message: &'a str,
    attempt_ending_timestamp: Millis,
    raw_data: String,
    sequence_number: &'a str,
    partition_key: Option<&'a str>,
    shard_id: &'a str,
    stream_name: Option<&'a str>,
}

/// Puts the line of an attempt that ended at `now` into `line`, without an end of line.
pub(super) fn render(rejection: &Rejection, place: &Place, now: Millis, line: &mut Vec<u8>) {
    line.clear();
    let earlier = rejection.earlier.as_deref();
    let fields = Line {
        attempts_made: earlier.map_or(0, |earlier| earlier.attempts).saturating_add(1),
        arrival_timestamp: rejection.arrival,
        error_code: rejection.code.as_str(),
        error_message: &rejection.message,
        attempt_ending_timestamp: now,
        raw_data: STANDARD.encode(&rejection.payload),
        sequence_number: rejection.sequence.as_str(),
        partition_key: rejection.partition_key.as_deref(),
        shard_id: earlier.and_then(|earlier| earlier.shard.as_deref()).unwrap_or(place.shard.as_str()),
        stream_name: earlier.and_then(|earlier| earlier.stream.as_deref()).or(place.stream.as_deref()),
    };
    serde_json::to_writer(line, &fields).expect("strings and numbers are JSON, and a vector takes them");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::event::{Earlier, RejectionCode};

    #[test]
    fn a_line_has_the_fields_of_the_contract_in_order() {
        let mut rejection = Rejection {
            code: RejectionCode::NotDecodable,
            message: "neither \"gzip\"\nnor JSON".to_owned(),
            payload: vec![0, 255, b'a'].into(),
            sequence: "49571".parse().unwrap(),
            partition_key: Some("key".into()),
            arrival: 1_700_000_000_123,
            earlier: None,
        };
        let mut place = Place { shard: "shardId-0".into(), stream: Some("app-logs".into()) };
        let mut line = b"old".to_vec();
        render(&rejection, &place, 1_700_000_000_999, &mut line);
        assert_eq!(
            std::str::from_utf8(&line).unwrap(),
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":1700000000123,"errorCode":"Record.NotDecodable","#,
                r#""errorMessage":"neither \"gzip\"\nnor JSON","attemptEndingTimestamp":1700000000999,"#,
                r#""rawData":"AP9h","sequenceNumber":"49571","partitionKey":"key","shardId":"shardId-0","#,
                r#""streamName":"app-logs"}"#
            )
        );
        rejection.partition_key = None;
        place.stream = None;
        render(&rejection, &place, 0, &mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with(r#""partitionKey":null,"shardId":"shardId-0","streamName":null}"#), "{line}");
    }

    #[test]
    fn what_is_rejected_again_says_where_it_came_from_first_and_how_often_it_was_tried() {
        let earlier = Earlier { index: 7, attempts: 3, shard: Some("shardId-9".into()), stream: Some("app".into()) };
        let rejection = Rejection {
            code: RejectionCode::NotDecodable,
            message: String::new(),
            payload: Bytes::new(),
            sequence: "49571".parse().unwrap(),
            partition_key: None,
            arrival: 1,
            earlier: Some(Arc::new(earlier)),
        };
        let (place, mut line) = (Place { shard: "s3://lake/errors/x".into(), stream: None }, Vec::new());
        render(&rejection, &place, 2, &mut line);
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (&line["attemptsMade"], &line["shardId"], &line["streamName"]),
            (&4.into(), &"shardId-9".into(), &"app".into())
        );
    }
}
