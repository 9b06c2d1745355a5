//! The values that were taken out of a message, packed behind it: one cell for each extracted column, in their order.
//!
//! A cell is a byte that says what it is, and its value in little endian. Texts that stand in the message as they are, as
//! most do, are told by their place in it; others are in the cell. Nobody but this process reads this.

use crate::event::Millis;

/// A value while the others of its row are taken out. Places are in the message, or in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Slot {
    #[default]
    Null,
    /// A part of the message.
    Message(Span),
    /// A text of the arena.
    Arena(Span),
    Bigint(i64),
    Int(i32),
    Double(f64),
    Boolean(bool),
    Timestamp(Millis),
    /// Days since 1970.
    Date(i32),
    /// Items that [`push_item`] put into the arena; of a map keys and values by turns.
    Items(Span),
}

/// A part of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub at: u32,
    pub len: u32,
}

/// A value as it is read again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    /// A part of the message.
    Message(Span),
    /// A text in the cell, which begins at this offset of the cells.
    Own(Span),
    Bigint(i64),
    Int(i32),
    Double(f64),
    Boolean(bool),
    Timestamp(Millis),
    Date(i32),
    Items(Items<'a>),
}

const NULL: u8 = 0;
const MESSAGE: u8 = 1;
const OWN: u8 = 2;
const BIGINT: u8 = 3;
const INT: u8 = 4;
const DOUBLE: u8 = 5;
const FALSE: u8 = 6;
const TRUE: u8 = 7;
const TIMESTAMP: u8 = 8;
const DATE: u8 = 9;
const ITEMS: u8 = 10;

/// The length of an item that is null.
const NO_ITEM: u32 = u32::MAX;

/// Appends one cell.
pub fn write(slot: Slot, arena: &[u8], cells: &mut Vec<u8>) {
    let mut put = |tag: u8, value: &[u8]| {
        cells.push(tag);
        cells.extend_from_slice(value);
    };
    match slot {
        Slot::Null => put(NULL, &[]),
        Slot::Message(Span { at, len }) => {
            put(MESSAGE, &at.to_le_bytes());
            cells.extend_from_slice(&len.to_le_bytes());
        }
        Slot::Arena(span) => {
            put(OWN, &span.len.to_le_bytes());
            cells.extend_from_slice(span.of(arena));
        }
        Slot::Bigint(number) => put(BIGINT, &number.to_le_bytes()),
        Slot::Int(number) => put(INT, &number.to_le_bytes()),
        Slot::Double(number) => put(DOUBLE, &number.to_le_bytes()),
        Slot::Boolean(value) => put(if value { TRUE } else { FALSE }, &[]),
        Slot::Timestamp(millis) => put(TIMESTAMP, &millis.to_le_bytes()),
        Slot::Date(days) => put(DATE, &days.to_le_bytes()),
        Slot::Items(span) => {
            put(ITEMS, &span.len.to_le_bytes());
            cells.extend_from_slice(span.of(arena));
        }
    }
}

/// Appends an item of a list or a map to the arena.
pub fn push_item(item: Option<&[u8]>, arena: &mut Vec<u8>) {
    let len = item.map_or(NO_ITEM, |item| u32::try_from(item.len()).expect("a message has less than 4 GiB"));
    arena.extend_from_slice(&len.to_le_bytes());
    arena.extend_from_slice(item.unwrap_or_default());
}

impl Span {
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.at as usize..][..self.len as usize]
    }
}

/// Reads the cells of a row one by one.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Cells<'a> {
    /// `bytes` begin with the row's first cell, and may go on behind its last.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, at: 0 }
    }

    /// The next cell; there must be one.
    pub fn read(&mut self) -> Cell<'a> {
        let [tag] = self.take();
        match tag {
            NULL => Cell::Null,
            MESSAGE => Cell::Message(Span { at: self.number(), len: self.number() }),
            OWN => Cell::Own(self.own()),
            BIGINT => Cell::Bigint(i64::from_le_bytes(self.take())),
            INT => Cell::Int(i32::from_le_bytes(self.take())),
            DOUBLE => Cell::Double(f64::from_le_bytes(self.take())),
            FALSE => Cell::Boolean(false),
            TRUE => Cell::Boolean(true),
            TIMESTAMP => Cell::Timestamp(Millis::from_le_bytes(self.take())),
            DATE => Cell::Date(i32::from_le_bytes(self.take())),
            ITEMS => Cell::Items(Items(self.own().of(self.all))),
            tag => unreachable!("cells are written here, and none is a {tag}"),
        }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = &self.all[self.at..][..N];
        self.at += N;
        bytes.try_into().expect("it has this length")
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn own(&mut self) -> Span {
        let len = self.number();
        let at = u32::try_from(self.at).expect("a segment has less than 4 GiB");
        self.at += len as usize;
        Span { at, len }
    }
}

/// The items of a list or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let (item, rest) = match u32::from_le_bytes(*len) {
            NO_ITEM => (None, rest),
            len => {
                let (item, rest) = rest.split_at(len as usize);
                (Some(item), rest)
            }
        };
        self.0 = rest;
        Some(item)
    }
}

/// The cells of many rows, of which some have none.
#[derive(Debug, Default)]
pub struct RowCells {
    bytes: Vec<u8>,
    /// Of each row, where its cells begin and end. Empty as long as no row has any.
    rows: Vec<(usize, usize)>,
}

/// Bytes of memory that are kept for further rows.
const KEPT: usize = 8 << 20;

impl RowCells {
    /// Where the cells of a row are to be written, of so many rows.
    pub fn row(&mut self, at: usize, rows: usize) -> &mut Vec<u8> {
        self.rows.resize(rows, (0, 0));
        self.rows[at].0 = self.bytes.len();
        &mut self.bytes
    }

    /// The row's cells are written.
    pub fn end_row(&mut self, at: usize) {
        self.rows[at].1 = self.bytes.len();
    }

    /// The cells of a row; empty for one that has none.
    pub fn of(&self, at: usize) -> &[u8] {
        self.rows.get(at).map_or(&[], |(start, end)| &self.bytes[*start..*end])
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.rows.clear();
        self.rows.shrink_to(KEPT / size_of::<(usize, usize)>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_as_they_were_written() {
        let mut arena = b"some text".to_vec();
        let start = arena.len();
        for item in [Some(&b"a"[..]), None, Some(b""), Some(b"bcd")] {
            push_item(item, &mut arena);
        }
        let items = Span { at: start as u32, len: (arena.len() - start) as u32 };
        let slots = [
            Slot::Null,
            Slot::Message(Span { at: 7, len: 900 }),
            Slot::Arena(Span { at: 5, len: 4 }),
            Slot::Bigint(i64::MIN),
            Slot::Int(-1),
            Slot::Double(-0.5),
            Slot::Boolean(true),
            Slot::Boolean(false),
            Slot::Timestamp(1_711_083_600_123),
            Slot::Date(-1),
            Slot::Items(items),
            Slot::Arena(Span::default()),
        ];
        let mut bytes = Vec::new();
        for slot in slots {
            write(slot, &arena, &mut bytes);
        }
        bytes.extend_from_slice(b"what comes behind");
        let mut cells = Cells::new(&bytes);
        assert_eq!(cells.read(), Cell::Null);
        assert_eq!(cells.read(), Cell::Message(Span { at: 7, len: 900 }));
        let Cell::Own(span) = cells.read() else { panic!("a text") };
        assert_eq!(span.of(&bytes), b"text");
        assert_eq!((cells.read(), cells.read()), (Cell::Bigint(i64::MIN), Cell::Int(-1)));
        assert_eq!((cells.read(), cells.read()), (Cell::Double(-0.5), Cell::Boolean(true)));
        assert_eq!((cells.read(), cells.read()), (Cell::Boolean(false), Cell::Timestamp(1_711_083_600_123)));
        assert_eq!(cells.read(), Cell::Date(-1));
        let Cell::Items(items) = cells.read() else { panic!("items") };
        assert_eq!(items.collect::<Vec<_>>(), [Some(&b"a"[..]), None, Some(b""), Some(b"bcd")]);
        let Cell::Own(empty) = cells.read() else { panic!("a text") };
        assert_eq!(empty.len, 0);
    }
}
