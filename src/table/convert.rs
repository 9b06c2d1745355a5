//! Texts become values of a column's type, or a reason why not. Nothing becomes null by being wrong.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::format::{Fixed, Item, Parsed, StrftimeItems};
use chrono::{FixedOffset, NaiveDate, NaiveDateTime, TimeZone};

use super::cells::{Slot, Span, push_item};
use super::kind::Type;
use crate::event::Millis;
use crate::iso8601;

/// From the year 1 to the year 9999: what all readers show, and JSON writes with four digits.
const MILLIS: RangeInclusive<Millis> = -62_135_596_800_000..=253_402_300_799_999;
const DAY: Millis = 86_400_000;

/// What becomes of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    pub kind: Type,
    /// Texts that stand for no value: `-`.
    pub absent: Vec<String>,
    /// Of timestamps and dates.
    pub time: TimeFormat,
    /// Of a text without an offset.
    pub zone: FixedOffset,
    /// Between the items of a list.
    pub separator: char,
}

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
    Pattern {
        items: Vec<Item<'static>>,
        has_offset: bool,
    },
}

/// Why a text is no value of a type: half a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    IsNo(Type),
    DoesNotFit(Type),
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsNo(kind) => write!(f, "is no {kind}"),
            Self::DoesNotFit(kind) => write!(f, "does not fit {kind}"),
        }
    }
}

/// Where a text lies, so that it need not be copied.
#[derive(Clone, Copy, Debug)]
pub enum Lies {
    InMessage(Span),
    InArena(Span),
}

impl From<Lies> for Slot {
    fn from(lies: Lies) -> Self {
        match lies {
            Lies::InMessage(span) => Self::Message(span),
            Lies::InArena(span) => Self::Arena(span),
        }
    }
}

impl Conversion {
    pub fn is_absent(&self, text: &str) -> bool {
        self.absent.iter().any(|absent| absent == text)
    }

    /// The value of a text that is not absent. Items of lists go to the arena.
    pub fn text(&self, text: &str, lies: Lies, arena: &mut Vec<u8>) -> Result<Slot, BadValue> {
        match self.kind {
            Type::String => Ok(lies.into()),
            Type::Bigint => integer(text, self.kind).map(Slot::Bigint),
            Type::Int => int(integer(text, self.kind)?).map(Slot::Int),
            Type::Double => double(text).map(Slot::Double),
            Type::Boolean if text.eq_ignore_ascii_case("true") => Ok(Slot::Boolean(true)),
            Type::Boolean if text.eq_ignore_ascii_case("false") => Ok(Slot::Boolean(false)),
            Type::Timestamp => match self.millis(text) {
                Some(millis) if MILLIS.contains(&millis) => Ok(Slot::Timestamp(millis)),
                Some(_) => Err(BadValue::DoesNotFit(self.kind)),
                None => Err(BadValue::IsNo(self.kind)),
            },
            Type::Date => match self.days(text) {
                Some(days) if MILLIS.contains(&(Millis::from(days) * DAY)) => Ok(Slot::Date(days)),
                Some(_) => Err(BadValue::DoesNotFit(self.kind)),
                None => Err(BadValue::IsNo(self.kind)),
            },
            Type::Strings => Ok(items(arena, |arena| {
                // Nothing has no items, rather than one that is empty.
                let parts = text.split(self.separator).filter(|_| !text.is_empty());
                parts.for_each(|part| push_item(Some(part.as_bytes()), arena));
            })),
            Type::Boolean | Type::StringMap => Err(BadValue::IsNo(self.kind)),
        }
    }

    /// The value of a JSON number, as it is written.
    pub fn number(&self, digits: &str, lies: Lies, arena: &mut Vec<u8>) -> Result<Slot, BadValue> {
        match self.kind {
            // 1.0 and 1e3 are integers too.
            Type::Bigint | Type::Int if digits.contains(['.', 'e', 'E']) => {
                let number = double(digits)?;
                // Up to here a double tells integers apart.
                const EXACT: f64 = 9_007_199_254_740_992.0;
                match number {
                    _ if number.fract() != 0.0 => Err(BadValue::IsNo(self.kind)),
                    _ if number.abs() > EXACT => Err(BadValue::DoesNotFit(self.kind)),
                    _ if self.kind == Type::Int => int(number as i64).map(Slot::Int),
                    _ => Ok(Slot::Bigint(number as i64)),
                }
            }
            Type::Timestamp | Type::Date
                if !matches!(self.time, TimeFormat::EpochSeconds | TimeFormat::EpochMillis) =>
            {
                Err(BadValue::IsNo(self.kind))
            }
            Type::Boolean | Type::Strings | Type::StringMap => Err(BadValue::IsNo(self.kind)),
            _ => self.text(digits, lies, arena),
        }
    }

    /// A time, cut off at the millisecond.
    fn millis(&self, text: &str) -> Option<Millis> {
        let at_zone = |time: NaiveDateTime| Some(self.zone.from_local_datetime(&time).single()?.timestamp_millis());
        match &self.time {
            TimeFormat::Iso8601 => iso8601::millis(text, self.zone),
            TimeFormat::EpochSeconds => epoch(text, 3),
            TimeFormat::EpochMillis => epoch(text, 0),
            TimeFormat::Pattern { items, has_offset: true } => {
                Some(parsed(text, items)?.to_datetime().ok()?.timestamp_millis())
            }
            TimeFormat::Pattern { items, has_offset: false } => {
                at_zone(parsed(text, items)?.to_naive_datetime_with_offset(0).ok()?)
            }
        }
    }

    fn days(&self, text: &str) -> Option<i32> {
        let date = match &self.time {
            TimeFormat::Iso8601 => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?,
            TimeFormat::EpochSeconds => return self.day_of(epoch(text, 3)?),
            TimeFormat::EpochMillis => return self.day_of(epoch(text, 0)?),
            TimeFormat::Pattern { items, .. } => parsed(text, items)?.to_naive_date().ok()?,
        };
        Some(date.to_epoch_days())
    }

    /// The day of a time in its zone.
    fn day_of(&self, millis: Millis) -> Option<i32> {
        let there = millis.checked_add(Millis::from(self.zone.local_minus_utc()) * 1000)?;
        i32::try_from(there.div_euclid(DAY)).ok()
    }
}

fn parsed(text: &str, items: &[Item<'static>]) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
    Some(parsed)
}

/// Puts what `push` pushes into the arena, and says where it is.
pub fn items(arena: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) -> Slot {
    let at = arena.len();
    push(arena);
    let narrow = |at: usize| u32::try_from(at).expect("a row has less than 4 GiB");
    Slot::Items(Span { at: narrow(at), len: narrow(arena.len() - at) })
}

/// `kind` is for the error.
fn integer(text: &str, kind: Type) -> Result<i64, BadValue> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadValue::IsNo(kind));
    }
    text.parse().map_err(|_| BadValue::DoesNotFit(kind))
}

fn int(number: i64) -> Result<i32, BadValue> {
    i32::try_from(number).map_err(|_| BadValue::DoesNotFit(Type::Int))
}

fn double(text: &str) -> Result<f64, BadValue> {
    // Rust reads `inf` and `nan` too.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match text.parse::<f64>() {
        Ok(number) if is_number && number.is_finite() => Ok(number),
        Ok(_) if is_number => Err(BadValue::DoesNotFit(Type::Double)),
        _ => Err(BadValue::IsNo(Type::Double)),
    }
}

/// A decimal number, times ten to the power of `shift`, without what is left behind the point then.
fn epoch(text: &str, shift: usize) -> Option<Millis> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || (fraction.is_empty() && text.contains('.')) {
        return None;
    }
    let whole = integer(whole, Type::Bigint).ok()?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(shift);
    let fraction = digits.fold(0, |number, digit| number * 10 + Millis::from(digit - b'0'));
    let scaled = whole.checked_mul(10i64.pow(u32::try_from(shift).ok()?))?;
    if text.starts_with('-') { scaled.checked_sub(fraction) } else { scaled.checked_add(fraction) }
}

impl TimeFormat {
    /// By its text in a schema file.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "iso8601" => Ok(Self::Iso8601),
            "epoch_seconds" => Ok(Self::EpochSeconds),
            "epoch_millis" => Ok(Self::EpochMillis),
            pattern if pattern.contains('%') => {
                let items = StrftimeItems::new(pattern).parse_to_owned();
                let items = items.map_err(|_| format!("{pattern:?} has a part that strftime does not know"))?;
                let is_offset = |item: &Item| {
                    matches!(
                        item,
                        Item::Fixed(
                            Fixed::TimezoneOffset
                                | Fixed::TimezoneOffsetColon
                                | Fixed::TimezoneOffsetColonZ
                                | Fixed::TimezoneOffsetZ
                                | Fixed::RFC2822
                                | Fixed::RFC3339
                        )
                    )
                };
                // `%#z` is an item that can't be named.
                let has_offset = items.iter().any(is_offset) || pattern.contains("%#z");
                Ok(Self::Pattern { items, has_offset })
            }
            other => Err(format!(
                "{other:?} is no format of times: give iso8601, epoch_seconds, epoch_millis, or a pattern of strftime \
                 such as \"%d/%b/%Y:%H:%M:%S %z\""
            )),
        }
    }
}

/// `+02:00`, `-0330`, `Z` or `UTC`.
pub fn zone(text: &str) -> Option<FixedOffset> {
    let utc = FixedOffset::east_opt(0);
    if matches!(text, "Z" | "UTC") { utc } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversion(kind: Type, format: &str, offset: &str) -> Conversion {
        Conversion {
            kind,
            absent: vec!["-".to_owned()],
            time: TimeFormat::parse(format).unwrap(),
            zone: zone(offset).unwrap(),
            separator: ',',
        }
    }

    fn value(kind: Type, text: &str) -> Result<Slot, BadValue> {
        conversion(kind, "iso8601", "UTC").text(text, Lies::InMessage(Span { at: 1, len: 2 }), &mut Vec::new())
    }

    #[test]
    fn numbers_have_to_be_numbers_and_to_fit() {
        let (is_no, does_not_fit) = (BadValue::IsNo, BadValue::DoesNotFit);
        assert_eq!(value(Type::Bigint, "9223372036854775807"), Ok(Slot::Bigint(i64::MAX)));
        assert_eq!(value(Type::Bigint, "-9223372036854775808"), Ok(Slot::Bigint(i64::MIN)));
        assert_eq!(value(Type::Bigint, "9223372036854775808"), Err(does_not_fit(Type::Bigint)));
        assert_eq!(value(Type::Bigint, "+007"), Ok(Slot::Bigint(7)));
        for text in ["", "-", "1.0", "1e3", "0x10", " 1", "1_000", "١"] {
            assert_eq!(value(Type::Bigint, text), Err(is_no(Type::Bigint)), "{text:?}");
        }
        assert_eq!(value(Type::Int, "2147483647"), Ok(Slot::Int(i32::MAX)));
        assert_eq!(value(Type::Int, "2147483648"), Err(does_not_fit(Type::Int)));
        assert_eq!(value(Type::Double, "-1.5e-3"), Ok(Slot::Double(-0.0015)));
        assert_eq!(value(Type::Double, "1e999"), Err(does_not_fit(Type::Double)));
        for text in ["", "inf", "-Infinity", "NaN", "1,5", "0x1p3"] {
            assert_eq!(value(Type::Double, text), Err(is_no(Type::Double)), "{text:?}");
        }
        assert_eq!(value(Type::Boolean, "TRUE"), Ok(Slot::Boolean(true)));
        assert_eq!(value(Type::Boolean, "1"), Err(is_no(Type::Boolean)));
        assert_eq!(value(Type::StringMap, "a=b"), Err(is_no(Type::StringMap)));
    }

    #[test]
    fn numbers_of_json_may_be_integers_in_disguise() {
        let number = |kind, digits| {
            conversion(kind, "iso8601", "UTC").number(digits, Lies::InMessage(Span::default()), &mut Vec::new())
        };
        assert_eq!(number(Type::Bigint, "1e3"), Ok(Slot::Bigint(1000)));
        assert_eq!(number(Type::Int, "-7.0"), Ok(Slot::Int(-7)));
        assert_eq!(number(Type::Int, "1e10"), Err(BadValue::DoesNotFit(Type::Int)));
        assert_eq!(number(Type::Bigint, "1.5"), Err(BadValue::IsNo(Type::Bigint)));
        assert_eq!(number(Type::Bigint, "1e300"), Err(BadValue::DoesNotFit(Type::Bigint)));
        assert_eq!(number(Type::Bigint, "1e999"), Err(BadValue::DoesNotFit(Type::Double)));
        assert_eq!(number(Type::Timestamp, "1711083600"), Err(BadValue::IsNo(Type::Timestamp)));
        assert_eq!(number(Type::Boolean, "1"), Err(BadValue::IsNo(Type::Boolean)));
    }

    #[test]
    fn times_come_in_many_forms_and_zones() {
        let time = |format: &str, zone: &str, text: &str| {
            let conversion = conversion(Type::Timestamp, format, zone);
            match conversion.text(text, Lies::InMessage(Span::default()), &mut Vec::new()) {
                Ok(Slot::Timestamp(millis)) => Some(millis),
                Ok(other) => panic!("{other:?}"),
                Err(_) => None,
            }
        };
        let five = 1_711_083_600_000;
        let cases = [
            ("iso8601", "UTC", "2024-03-22T05:00:00Z", five),
            ("iso8601", "UTC", "2024-03-22T06:00:00+01:00", five),
            ("iso8601", "UTC", "2024-03-22 05:00:00.1239", five + 123),
            ("iso8601", "+02:00", "2024-03-22T07:00:00", five),
            ("iso8601", "+02:00", "2024-03-22T05:00:00Z", five),
            ("iso8601", "-03:30", "2024-03-22 01:30:00", five),
            ("iso8601", "UTC", "1969-12-31T23:59:59.999Z", -1),
            ("epoch_seconds", "UTC", "1711083600", five),
            ("epoch_seconds", "UTC", "1711083600.1239", five + 123),
            ("epoch_seconds", "UTC", "-0.5", -500),
            ("epoch_millis", "UTC", "1711083600123", five + 123),
            ("epoch_millis", "UTC", "1711083600123.9", five + 123),
            ("%d/%b/%Y:%H:%M:%S %z", "UTC", "22/Mar/2024:05:00:00 +0000", five),
            ("%d/%b/%Y:%H:%M:%S %z", "UTC", "22/Mar/2024:00:00:00 -0500", five),
            ("%Y%m%d %H%M%S", "+01:00", "20240322 060000", five),
        ];
        for (format, zone, text, expected) in cases {
            assert_eq!(time(format, zone, text), Some(expected), "{format} {zone} {text}");
        }
        let bad = [
            ("iso8601", "2024-03-22"),
            ("iso8601", "2024-02-30T00:00:00Z"),
            ("iso8601", "22/Mar/2024:05:00:00 +0000"),
            ("iso8601", ""),
            ("epoch_seconds", "now"),
            ("epoch_seconds", "1."),
            ("epoch_seconds", "99999999999999999999"),
            ("epoch_seconds", "9223372036854775807"),
            ("%d/%b/%Y:%H:%M:%S %z", "22/Mar/2024:05:00:00"),
        ];
        for (format, text) in bad {
            assert_eq!(time(format, "UTC", text), None, "{format} {text}");
        }
        let date = |format, text| {
            conversion(Type::Date, format, "+02:00").text(text, Lies::InMessage(Span::default()), &mut Vec::new())
        };
        assert_eq!(date("iso8601", "1970-01-02"), Ok(Slot::Date(1)));
        assert_eq!(date("%d.%m.%Y", "31.12.1969"), Ok(Slot::Date(-1)));
        assert_eq!(date("epoch_seconds", "82800"), Ok(Slot::Date(1)), "the day of its zone");
        assert_eq!(date("iso8601", "1970-02-30"), Err(BadValue::IsNo(Type::Date)));
        for (kind, format, text) in [
            (Type::Timestamp, "epoch_millis", "9007199254740991"),
            (Type::Timestamp, "epoch_millis", "-62135596800001"),
            (Type::Date, "epoch_seconds", "253402300800"),
            (Type::Date, "epoch_millis", "8210266876799999"),
            (Type::Date, "iso8601", "0000-12-31"),
        ] {
            let value = conversion(kind, format, "UTC").text(text, Lies::InMessage(Span::default()), &mut Vec::new());
            assert_eq!(value, Err(BadValue::DoesNotFit(kind)), "{text}");
        }
        assert_eq!(time("iso8601", "UTC", "9999-12-31T23:59:59.999"), Some(*MILLIS.end()));
        assert_eq!(time("iso8601", "UTC", "0001-01-01T00:00:00"), Some(*MILLIS.start()));
        assert!(TimeFormat::parse("%Q").is_err() && TimeFormat::parse("rfc").is_err());
        assert!(zone("+25:00").is_none() && zone("Europe/Berlin").is_none());
    }

    #[test]
    fn lists_are_split() {
        let mut arena = b"before".to_vec();
        let list = conversion(Type::Strings, "iso8601", "UTC");
        let Ok(Slot::Items(span)) = list.text("a,,b", Lies::InMessage(Span::default()), &mut arena) else { panic!() };
        assert_eq!((span.at, span.len), (6, 4 + 1 + 4 + 4 + 1));
        let Ok(Slot::Items(span)) = list.text("", Lies::InMessage(Span::default()), &mut arena) else { panic!() };
        assert_eq!(span.len, 0);
        assert!(list.is_absent("-") && !list.is_absent(""));
    }
}
