//! A moving window over the bytes of a file: as much as one JSON value needs, and no more than a bound.

use std::cell::RefCell;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// The least that is read at once.
const STEP: usize = 1 << 20;

/// A window of more bytes waits for its turn: of those that are read at once, few files need one.
const SMALL: usize = 4 << 20;

/// Called before a window grows large, any number of times: returns when it may.
pub type Turn<'t> = &'t dyn Fn();

/// Lets one window at a time be large.
#[derive(Clone, Debug, Default)]
pub struct Large(Arc<Mutex<()>>);

impl Large {
    /// Reads with a [`Turn`], which lasts until it is done.
    pub fn in_turn<T>(&self, read: impl FnOnce(Turn<'_>) -> T) -> T {
        let held = RefCell::new(None);
        // It guards no data that a panic could have left in pieces.
        read(&|| {
            held.borrow_mut().get_or_insert_with(|| self.0.lock().unwrap_or_else(PoisonError::into_inner));
        })
    }
}

pub struct Window<'t, R> {
    input: R,
    turn: Turn<'t>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// Bytes that were consumed.
    before: u64,
}

impl<'t, R: Read> Window<'t, R> {
    pub fn new(input: R, turn: Turn<'t>) -> Self {
        Self { input, turn, buffer: Vec::new(), start: 0, end: 0, at_end: false, before: 0 }
    }

    /// What is in the window.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Nothing comes behind the window.
    pub fn is_last(&self) -> bool {
        self.at_end
    }

    /// Where the window begins, in bytes from the beginning of the input.
    pub fn offset(&self) -> u64 {
        self.before
    }

    /// Moves the window's beginning.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.before += bytes as u64;
    }

    /// Reads more into the window: at least doubles it, or reaches the end of the input. Does not wait for more than a
    /// whole line when a read ends with one: whoever writes into a pipe may pause there.
    pub fn grow(&mut self) -> std::io::Result<()> {
        let held = self.end - self.start;
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, held);
        let wanted = (2 * held).max(STEP);
        if self.buffer.len() < wanted {
            if wanted > SMALL {
                (self.turn)();
            }
            self.buffer.resize(wanted, 0);
        }
        while self.end < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => {
                    self.end += read;
                    if self.buffer[self.end - 1] == b'\n' {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The rest of the window and of the input behind it.
    pub fn rest(&mut self) -> impl Read {
        let (buffer, start, end) = (&self.buffer, &mut self.start, self.end);
        let window = Drain { buffer, start, end };
        window.chain(&mut self.input)
    }
}

struct Drain<'w> {
    buffer: &'w [u8],
    start: &'w mut usize,
    end: usize,
}

impl Read for Drain<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(self.end - *self.start);
        into[..length].copy_from_slice(&self.buffer[*self.start..*self.start + length]);
        *self.start += length;
        Ok(length)
    }
}
