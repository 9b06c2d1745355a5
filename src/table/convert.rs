//! Texts become values of a column's type, or a reason why not. Nothing becomes null by being wrong.

mod decimal;
mod time;

use std::fmt;

use chrono::FixedOffset;

use self::decimal::Decimal;
pub use self::time::{TimeFormat, zone};
use super::cells::{Slot, Span, push_item};
use super::kind::Type;

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
            Type::Timestamp => self.time.millis(text, self.zone).map(Slot::Timestamp),
            Type::Date => self.time.days(text, self.zone).map(Slot::Date),
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
            Type::Bigint | Type::Int => {
                let whole = Decimal::parse(digits).ok_or(BadValue::IsNo(self.kind))?.whole(0);
                let number = match whole.number {
                    _ if !whole.is_exact => return Err(BadValue::IsNo(self.kind)),
                    Some(number) => number,
                    None => return Err(BadValue::DoesNotFit(self.kind)),
                };
                if self.kind == Type::Int { int(number).map(Slot::Int) } else { Ok(Slot::Bigint(number)) }
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

#[cfg(test)]
mod tests;
