//! How a gzip is known, and what can be wrong with one. Messages hold nothing of the input.

use std::io::{self, ErrorKind};

#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("gzip: truncated")]
    Truncated,
    #[error("gzip: bytes after the last member")]
    Trailing,
    /// Bad header, data, checksum or length.
    #[error("gzip: {0}")]
    Corrupt(io::Error),
}

impl Damage {
    /// What an error of `flate2` says of the gzip; an error of its input is handed back.
    pub fn of(error: io::Error) -> Result<Self, io::Error> {
        match error.kind() {
            ErrorKind::UnexpectedEof => Ok(Self::Truncated),
            ErrorKind::InvalidData | ErrorKind::InvalidInput => Ok(Self::Corrupt(error)),
            _ => Err(error),
        }
    }
}

/// Whether this starts as a gzip does.
pub fn is_gzip(data: &[u8]) -> bool {
    data.starts_with(&[0x1f, 0x8b])
}
