//! What one record may still take of memory, over all the user records that it may hold.
//!
//! Invariant: what a record inflates to is, in sum, at most `limits.inflated_record_bytes`, and at most [`LARGE`] bytes
//! where many records are decoded at once. The rows of payloads that are no envelopes take at most twice as much: of
//! those a row can take fifty times the bytes of its event. (An event in an envelope has more bytes than its row.)

use super::inflate::LARGE;

/// How much of a record's limit is left.
#[derive(Debug)]
pub(super) struct Room {
    /// `limits.inflated_record_bytes`
    limit: usize,
    inflated: usize,
    /// Bytes of rows.
    rows: usize,
    /// Whether a record past [`LARGE`] bytes may be decoded now.
    large: bool,
}

/// Past the limit, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooLarge {
    #[error("inflates past {0} bytes (limits.inflated_record_bytes)")]
    Record(usize),
    #[error(
        "inflates past the {left} bytes that the user records before it left of {limit} (limits.inflated_record_bytes)"
    )]
    UserRecord { left: usize, limit: usize },
    #[error(
        "its events take more than {0} bytes as rows (twice limits.inflated_record_bytes, or 16 MiB if that is more)"
    )]
    Rows(usize),
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Until a large record may be decoded.
    ForNow,
    ForGood(TooLarge),
}

impl Room {
    pub(super) fn new(limit: usize, large: bool) -> Self {
        Self { limit, inflated: 0, rows: 0, large }
    }

    /// Bytes that the record may still inflate to.
    pub(super) fn left(&self) -> usize {
        self.limit - self.inflated
    }

    /// The same for now: what needs more waits for its turn.
    pub(super) fn left_now(&self) -> usize {
        if self.large { self.left() } else { self.left().min(LARGE.saturating_sub(self.inflated)) }
    }

    /// Whether so many further bytes are within the limit.
    pub(super) fn check(&self, bytes: usize) -> Result<(), TooLarge> {
        if bytes <= self.left() { Ok(()) } else { Err(self.too_large()) }
    }

    pub(super) fn too_large(&self) -> TooLarge {
        match self.inflated {
            0 => TooLarge::Record(self.limit),
            _ => TooLarge::UserRecord { left: self.left(), limit: self.limit },
        }
    }

    /// Takes bytes that are within the limit.
    pub(super) fn take(&mut self, bytes: usize) {
        self.inflated = self.limit.min(self.inflated + bytes);
    }

    /// Bytes that rows may still take now.
    pub(super) fn rows_left_now(&self) -> usize {
        let most = if self.large { self.most_rows() } else { 2 * LARGE };
        most.saturating_sub(self.rows)
    }

    /// Whether further rows may take so many bytes.
    pub(super) fn fits(&self, row_bytes: usize) -> Result<(), Full> {
        if row_bytes <= self.rows_left_now() {
            Ok(())
        } else if row_bytes <= self.most_rows().saturating_sub(self.rows) {
            Err(Full::ForNow)
        } else {
            Err(Full::ForGood(TooLarge::Rows(self.most_rows())))
        }
    }

    pub(super) fn take_rows(&mut self, bytes: usize) {
        self.rows += bytes;
    }

    fn most_rows(&self) -> usize {
        self.limit.max(LARGE).saturating_mul(2)
    }
}
