//! How far a shard has been committed.

mod indices;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::indices::Indices;
use crate::event::Millis;

/// The place of a record in its shard: decimal digits without leading zeros, up to 128 of them and so wider than
/// `u128`. Ordered by length, then by digits.
///
/// Format: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html> (`0|([1-9]\d{0,128})`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no sequence number: up to 129 decimal digits without leading zeros")]
pub struct BadSequenceNumber(String);

impl SequenceNumber {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number itself where it fits: for files, whose sequence numbers are indices.
    pub fn index(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl FromStr for SequenceNumber {
    type Err = BadSequenceNumber;

    fn from_str(digits: &str) -> Result<Self, Self::Err> {
        let plain = !digits.is_empty() && digits.len() <= 129 && digits.bytes().all(|b| b.is_ascii_digit());
        if plain && (digits == "0" || !digits.starts_with('0')) {
            Ok(Self(digits.into()))
        } else {
            Err(BadSequenceNumber(digits.to_owned()))
        }
    }
}

impl From<u64> for SequenceNumber {
    fn from(index: u64) -> Self {
        Self(index.to_string().into())
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a shard has been committed. It only ever moves forward.
///
/// Text form, as in snapshots: `trim_horizon`, `at 2024-03-22T05:00:00.000Z`, `after 4957…`, `set 0-3 7`, `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the oldest record that the stream still holds.
    TrimHorizon,
    /// Before the first record that arrived at this time or later.
    At(Millis),
    /// After this record.
    After(SequenceNumber),
    /// These records, by their index, and no others: of files of which some records were left out. Never the first ones
    /// alone, which are [`Position::After`].
    Set(Indices),
    /// The shard is closed and everything in it is committed.
    End,
}

impl Position {
    /// Where a file stands of which these records are done.
    pub fn of(done: Indices) -> Self {
        match done.are_first() {
            Some(0) => Self::TrimHorizon,
            Some(count) => Self::After((count - 1).into()),
            None => Self::Set(done),
        }
    }

    /// The records of a file that are done; `None` at its end, where all are.
    pub fn done(&self) -> Option<Indices> {
        match self {
            Self::TrimHorizon | Self::At(_) => Some(Indices::default()),
            Self::After(sequence) => Some(Indices::first(sequence.index().map_or(0, |index| index + 1))),
            Self::Set(done) => Some(done.clone()),
            Self::End => None,
        }
    }

    /// What comes first in the order of positions.
    fn stage(&self) -> u8 {
        match self {
            Self::TrimHorizon => 0,
            Self::At(_) => 1,
            Self::After(_) | Self::Set(_) => 2,
            Self::End => 3,
        }
    }

    /// How many records of a file are done.
    fn count(&self) -> u64 {
        match self {
            Self::After(sequence) => sequence.index().map_or(u64::MAX, |index| index.saturating_add(1)),
            Self::Set(done) => done.count(),
            Self::TrimHorizon | Self::At(_) | Self::End => 0,
        }
    }
}

/// By how much is done.
impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        self.stage().cmp(&other.stage()).then_with(|| match (self, other) {
            (Self::At(a), Self::At(b)) => a.cmp(b),
            (Self::After(a), Self::After(b)) => a.cmp(b),
            (Self::Set(a), Self::Set(b)) => a.count().cmp(&b.count()).then_with(|| a.cmp(b)),
            (Self::Set(_), Self::After(_)) => self.count().cmp(&other.count()).then(Ordering::Less),
            (Self::After(_), Self::Set(_)) => self.count().cmp(&other.count()).then(Ordering::Greater),
            _ => Ordering::Equal,
        })
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no position: `trim_horizon`, `at <RFC 3339 time>`, `after <sequence number>`, `set <ranges>` or `end`"
)]
pub struct BadPosition(String);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("trim_horizon"),
            Self::At(millis) => match DateTime::<Utc>::from_timestamp_millis(*millis) {
                Some(time) => write!(f, "at {}", time.to_rfc3339_opts(SecondsFormat::Millis, true)),
                None => Err(fmt::Error),
            },
            Self::After(sequence) => write!(f, "after {sequence}"),
            Self::Set(done) => write!(f, "set {done}"),
            Self::End => f.write_str("end"),
        }
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadPosition(text.to_owned());
        match text {
            "trim_horizon" => Ok(Self::TrimHorizon),
            "end" => Ok(Self::End),
            _ => match text.split_once(' ') {
                Some(("at", time)) => {
                    let time = DateTime::parse_from_rfc3339(time).map_err(|_| bad())?;
                    Ok(Self::At(time.timestamp_millis()))
                }
                Some(("after", digits)) => Ok(Self::After(digits.parse().map_err(|_| bad())?)),
                Some(("set", done)) => {
                    let done: Indices = done.parse().map_err(|_| bad())?;
                    if done.are_first().is_some() { Err(bad()) } else { Ok(Self::Set(done)) }
                }
                _ => Err(bad()),
            },
        }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Sequence numbers order as the integers that they stand for.
        #[test]
        fn sequence_numbers_order_like_numbers(a: u128, b: u128) {
            let (x, y): (SequenceNumber, SequenceNumber) =
                (a.to_string().parse().unwrap(), b.to_string().parse().unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn positions_round_trip(position in any_position()) {
            prop_assert_eq!(position.to_string().parse::<Position>(), Ok(position));
        }
    }

    fn any_position() -> impl Strategy<Value = Position> {
        prop_oneof![
            Just(Position::TrimHorizon),
            (0i64..7_258_118_400_000).prop_map(Position::At),
            "0|[1-9][0-9]{0,128}".prop_map(|digits| Position::After(digits.parse().unwrap())),
            prop::collection::vec(0u64..99, 1..9).prop_map(|indices| {
                let mut done = Indices::default();
                indices.into_iter().for_each(|index| done.insert(index));
                Position::of(done)
            }),
            Just(Position::End),
        ]
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "01", "-1", "1a", " 1", "1 "] {
            assert!(text.parse::<SequenceNumber>().is_err(), "{text:?}");
        }
        for text in ["", "latest", "after", "after x", "at noon", "END", "set", "set ", "set 0-5", "set 7-3"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn positions_move_forward_in_the_order_of_their_kinds() {
        let order = [
            Position::TrimHorizon,
            Position::At(1),
            Position::At(2),
            Position::After(9.into()),
            "set 0-5 7-12".parse().unwrap(),
            "set 0-5 7-13".parse().unwrap(),
            "set 0-1 3-15".parse().unwrap(),
            Position::After(14.into()),
            Position::After(15.into()),
            Position::End,
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
    }
}
