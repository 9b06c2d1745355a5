//! A pack: its index, and whether each body is what was staged. Bodies are read as a stream.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use serde::Serialize;

use super::Problems;
use super::input::Input;
use crate::commit::pack::{self, Entry};

/// Of a longer index no more is believed: a hundred thousand objects have one.
const LONGEST_INDEX: usize = 64 << 20;
const BUFFER: usize = 1 << 20;

/// What a pack holds.
#[derive(Debug, Default, Serialize)]
pub struct Pack {
    /// Bytes of all bodies, as the index has them.
    pub object_bytes: u64,
    pub objects: Vec<Object>,
}

/// An object of a pack.
#[derive(Debug, Serialize)]
pub struct Object {
    /// Below the destination.
    pub key: String,
    pub bytes: u64,
    pub state: State,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
}

/// What the checksum says of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Good,
    /// Its bytes are not those that were staged.
    Changed,
    /// The pack ends before it does.
    CutShort,
}

/// Reads all of it.
pub fn inspect(input: &Arc<Input>, problems: &mut Problems) -> io::Result<Pack> {
    let head = input.range(0, pack::HEAD)?;
    let index = match pack::bodies_at(&head) {
        Ok(end) if end > LONGEST_INDEX => Err(format!("its index is said to have {} bytes, which none has", end)),
        Ok(end) => pack::entries(&input.range(0, end)?).map(|entries| (entries, end)).map_err(|bad| bad.to_string()),
        Err(bad) => Err(bad.to_string()),
    };
    let (entries, bodies) = match index {
        Ok(index) => index,
        Err(why) => {
            problems.add(format!("{why}: without its index nothing of a pack can be read"));
            return Ok(Pack::default());
        }
    };
    let mut pack = Pack::default();
    for entry in entries {
        let state = check(input, bodies, &entry)?;
        let Entry { key, length, content_type, metadata, .. } = entry;
        pack.object_bytes = pack.object_bytes.saturating_add(length as u64);
        let metadata = metadata.into_iter().collect();
        pack.objects.push(Object { key, bytes: length as u64, state, content_type, metadata });
    }
    let bad = |wanted| pack.objects.iter().filter(|object| object.state == wanted).count();
    for (count, what) in [(bad(State::Changed), "changed since it was staged"), (bad(State::CutShort), "cut short")] {
        if count > 0 {
            problems.add(format!("of its {} objects, {count} {what}", pack.objects.len()));
        }
    }
    Ok(pack)
}

fn check(input: &Arc<Input>, bodies: usize, entry: &Entry) -> io::Result<State> {
    let at = (bodies as u64).saturating_add(entry.offset as u64);
    let mut body = input.from(at).take(entry.length as u64);
    let (mut crc, mut read, mut buffer) = (0, 0, vec![0; BUFFER.min(entry.length.max(1))]);
    loop {
        match body.read(&mut buffer)? {
            0 => break,
            length => {
                crc = crc32c::crc32c_append(crc, &buffer[..length]);
                read += length;
            }
        }
    }
    Ok(if read < entry.length {
        State::CutShort
    } else if crc == entry.crc32c {
        State::Good
    } else {
        State::Changed
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/pack-v1.bin");

    fn of(bytes: &[u8]) -> (Pack, Vec<String>) {
        let mut problems = Problems::default();
        let pack = inspect(&Input::memory(bytes.to_vec()), &mut problems).unwrap();
        (pack, problems.into_inner())
    }

    #[test]
    fn every_object_is_listed_with_the_state_of_its_bytes() {
        let states = |pack: &Pack| pack.objects.iter().map(|object| object.state).collect::<Vec<_>>();
        let (whole, problems) = of(GOLDEN);
        assert!(problems.is_empty());
        assert_eq!((states(&whole), whole.object_bytes), (vec![State::Good, State::Good], 10));
        assert_eq!(whole.objects[0].key, "log_events/log_group=%2Fa/dt=2024-03-22/hour=05/w-1-0.parquet");
        assert_eq!(whole.objects[0].metadata["rows"], "2");

        let mut changed = GOLDEN.to_vec();
        let first = changed.len() - 10;
        changed[first] ^= 1;
        let (pack, problems) = of(&changed);
        assert_eq!(states(&pack), [State::Changed, State::Good]);
        assert_eq!(problems, ["of its 2 objects, 1 changed since it was staged"]);

        let (pack, problems) = of(&GOLDEN[..GOLDEN.len() - 1]);
        assert_eq!(states(&pack), [State::Good, State::CutShort]);
        assert_eq!(problems, ["of its 2 objects, 1 cut short"]);
    }

    #[test]
    fn a_pack_of_a_later_version_is_told() {
        let mut later = GOLDEN.to_vec();
        later[7] = b'2';
        assert!(of(&later).1[0].starts_with("not a pack, or of a version that this firemain does not know"));
        let mut long = GOLDEN.to_vec();
        long[11] = 0xff;
        assert!(of(&long).1[0].starts_with("its index is said to have"));
    }

    proptest! {
        /// As delivery refuses it.
        #[test]
        fn any_damage_is_a_problem(at in 0usize..10_000, flip in 1u8..=255, cut: bool) {
            let mut bytes = GOLDEN.to_vec();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            prop_assert!(!of(&bytes).1.is_empty());
        }
    }
}
