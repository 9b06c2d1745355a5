//! What a column holds.

use std::fmt;

/// The text forms are Athena's names of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `string`: valid UTF-8.
    String,
    /// `bigint`: 64 bits, signed.
    Bigint,
    /// `int`: 32 bits, signed.
    Int,
    /// `double`: 64 bits; never infinite, nor not a number.
    Double,
    Boolean,
    /// `timestamp(3)`: milliseconds since 1970, UTC.
    Timestamp,
    /// `date`: days since 1970.
    Date,
    /// `array<string>`: any of them may be null.
    Strings,
    /// `map<string,string>`: any value may be null.
    StringMap,
}

impl Type {
    pub const ALL: [Self; 9] = [
        Self::String,
        Self::Bigint,
        Self::Int,
        Self::Double,
        Self::Boolean,
        Self::Timestamp,
        Self::Date,
        Self::Strings,
        Self::StringMap,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bigint => "bigint",
            Self::Int => "int",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp(3)",
            Self::Date => "date",
            Self::Strings => "array<string>",
            Self::StringMap => "map<string,string>",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// All of them, for a message.
    pub fn known() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
