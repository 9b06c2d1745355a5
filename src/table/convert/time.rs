//! Texts become times and days.

use std::fmt::Write;
use std::ops::RangeInclusive;

use chrono::format::{Fixed, Item, Numeric, Parsed, StrftimeItems};
use chrono::{DateTime, FixedOffset, NaiveDate, TimeZone, Timelike};

use super::super::kind::Type;
use super::BadValue;
use super::decimal::Decimal;
use crate::event::Millis;
use crate::iso8601;

/// From the year 1 to the year 9999: what all readers show, and JSON writes with four digits.
pub const MILLIS: RangeInclusive<Millis> = -62_135_596_800_000..=253_402_300_799_999;
const DAY: Millis = 86_400_000;

/// How a time is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// As in ISO 8601 and RFC 3339: date and time with a `T` or a space between, the seconds with or without a fraction,
    /// with an offset or `Z` or without; of a date, `2024-03-22`.
    #[default]
    Iso8601,
    /// Seconds since 1970, with or without a fraction.
    EpochSeconds,
    EpochMillis,
    /// As chrono's `strftime`: <https://docs.rs/chrono/latest/chrono/format/strftime/index.html>
    Pattern(Vec<Item<'static>>),
}

impl TimeFormat {
    /// By its text in a schema file, of a column of this type. What could never be read is refused.
    pub fn parse(text: &str, kind: Type) -> Result<Self, String> {
        match text {
            "iso8601" => Ok(Self::Iso8601),
            "epoch_seconds" => Ok(Self::EpochSeconds),
            "epoch_millis" => Ok(Self::EpochMillis),
            pattern if pattern.contains('%') => {
                let items = StrftimeItems::new(pattern).parse_to_owned();
                let items = items.map_err(|_| format!("{pattern:?} has a part that strftime does not know"))?;
                if let Some(why) = items.iter().find_map(misread) {
                    return Err(format!("{pattern:?} has {why}"));
                }
                let format = Self::Pattern(items.iter().flat_map(to_read).collect());
                format.check(pattern, &items.into_iter().map(to_write).collect::<Vec<_>>(), kind)?;
                Ok(format)
            }
            other => Err(format!(
                "{other:?} is no format of times: give iso8601, epoch_seconds, epoch_millis, or a pattern of strftime \
                 such as \"%d/%b/%Y:%H:%M:%S %z\""
            )),
        }
    }

    /// A time, cut off at the millisecond. `zone` is that of a text without an offset.
    pub fn millis(&self, text: &str, zone: FixedOffset) -> Result<Millis, BadValue> {
        let millis = match self {
            Self::Iso8601 => iso8601::millis(text, zone),
            Self::EpochSeconds => epoch(text, 3),
            Self::EpochMillis => epoch(text, 0),
            Self::Pattern(items) => {
                parsed(text, items).and_then(|parsed| time(&parsed, zone)).map(|time| time.timestamp_millis())
            }
        };
        match millis {
            Some(millis) if MILLIS.contains(&millis) => Ok(millis),
            Some(_) => Err(BadValue::DoesNotFit(Type::Timestamp)),
            None => Err(BadValue::IsNo(Type::Timestamp)),
        }
    }

    /// A date, in days since 1970; of a time that has no date of its own, the day in `zone`.
    pub fn days(&self, text: &str, zone: FixedOffset) -> Result<i32, BadValue> {
        let there = |millis: Millis| millis.saturating_add(Millis::from(zone.local_minus_utc()) * 1000).div_euclid(DAY);
        let date = |date: NaiveDate| Millis::from(date.to_epoch_days());
        let days = match self {
            Self::Iso8601 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(date),
            Self::EpochSeconds => epoch(text, 3).map(there),
            Self::EpochMillis => epoch(text, 0).map(there),
            Self::Pattern(items) => parsed(text, items).and_then(|parsed| match parsed.timestamp() {
                Some(_) => time(&parsed, zone).map(|time| there(time.timestamp_millis())),
                None => parsed.to_naive_date().ok().map(date),
            }),
        };
        let days = days.ok_or(BadValue::IsNo(Type::Date))?;
        let is_shown = MILLIS.contains(&days.saturating_mul(DAY));
        i32::try_from(days).ok().filter(|_| is_shown).ok_or(BadValue::DoesNotFit(Type::Date))
    }

    /// Whether it reads what it writes: of a pattern that lacks a part, or whose parts run into each other, no message would
    /// ever be a row, or a time would be another.
    fn check(&self, pattern: &str, to_write: &[Item<'static>], kind: Type) -> Result<(), String> {
        let zone = FixedOffset::east_opt(5 * 3600).expect("five hours are in range");
        let times = [(2024, 1, 2, 3, 4, 5), (2023, 11, 22, 17, 45, 58), (2000, 2, 29, 12, 30, 0)];
        for (year, month, day, hour, minute, second) in times {
            let at = zone.with_ymd_and_hms(year, month, day, hour, minute, second).single();
            let at = at.expect("there is such a time");
            let mut text = String::new();
            let is_written = write!(text, "{}", at.format_with_items(to_write.iter())).is_ok();
            let comes_back = match kind {
                Type::Date => self.days(&text, zone) == Ok(at.date_naive().to_epoch_days()),
                _ => {
                    let millis = self.millis(&text, zone);
                    // A pattern may do without seconds.
                    [Some(at), at.with_second(0)].into_iter().flatten().any(|at| millis == Ok(at.timestamp_millis()))
                }
            };
            if !is_written || !comes_back {
                return Err(self.why_not(pattern, &text, at, kind));
            }
        }
        Ok(())
    }

    /// Why a time that it wrote is not read.
    fn why_not(&self, pattern: &str, text: &str, at: DateTime<FixedOffset>, kind: Type) -> String {
        let parsed = match self {
            Self::Pattern(items) => parsed(text, items),
            _ => None,
        };
        match parsed {
            Some(parsed) if parsed.timestamp().is_none() && parsed.to_naive_date().is_err() => {
                format!("{pattern:?} has no whole date, and a {kind} needs one: such as %Y-%m-%d")
            }
            Some(parsed)
                if kind == Type::Timestamp && parsed.timestamp().is_none() && parsed.to_naive_time().is_err() =>
            {
                format!("{pattern:?} has no whole time of day, and a {kind} needs one: such as %H:%M, or %I:%M %p")
            }
            _ => format!(
                "{pattern:?} does not read what it writes: of {} that is {text:?}; put something between its parts",
                at.naive_local()
            ),
        }
    }
}

/// Half a sentence about an item that would be read as something else than it stands for.
fn misread(item: &Item<'_>) -> Option<&'static str> {
    match item {
        Item::Fixed(Fixed::TimezoneName) => Some(
            "%Z, but the name of a zone can't be read: put there what stands in the messages, such as UTC, and give the \
             column a \"zone\"",
        ),
        Item::Numeric(Numeric::Nanosecond, _) => {
            Some("%f, which takes 123 for nanoseconds: write %.f for .123, or %3f, %6f or %9f for so many digits")
        }
        _ => None,
    }
}

/// What reads what an item writes.
fn to_read(item: &Item<'static>) -> Vec<Item<'static>> {
    match item {
        // Seconds of an offset are not read, and none has had any for a century.
        Item::Fixed(Fixed::TimezoneOffsetDoubleColon) => {
            vec![Item::Fixed(Fixed::TimezoneOffsetColon), Item::Literal(":00")]
        }
        // It writes no minutes.
        Item::Fixed(Fixed::TimezoneOffsetTripleColon) => vec![permissive_offset()],
        item => vec![item.clone()],
    }
}

/// What writes what an item reads.
fn to_write(item: Item<'static>) -> Item<'static> {
    if item == permissive_offset() { Item::Fixed(Fixed::TimezoneOffsetColon) } else { item }
}

/// `%#z`, which has no name.
fn permissive_offset() -> Item<'static> {
    StrftimeItems::new("%#z").next().expect("it is an item")
}

fn parsed(text: &str, items: &[Item<'static>]) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
    Some(parsed)
}

/// The time, which is in `zone` unless there is an offset, or seconds since 1970, which are the same everywhere.
fn time(parsed: &Parsed, zone: FixedOffset) -> Option<DateTime<FixedOffset>> {
    if parsed.offset().is_some() || parsed.timestamp().is_some() {
        return parsed.to_datetime().ok();
    }
    zone.from_local_datetime(&parsed.to_naive_datetime_with_offset(0).ok()?).single()
}

/// A decimal number, times ten to the power of `shift`, without what is left behind the point then.
fn epoch(text: &str, shift: u8) -> Option<Millis> {
    // What does not fit is out of range as well.
    Some(Decimal::parse(text)?.whole(shift).number.unwrap_or(Millis::MAX))
}

/// `+02:00`, `-0330`, `Z` or `UTC`.
pub fn zone(text: &str) -> Option<FixedOffset> {
    let utc = FixedOffset::east_opt(0);
    if matches!(text, "Z" | "UTC") { utc } else { text.parse().ok() }
}
