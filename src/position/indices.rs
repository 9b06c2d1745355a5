//! A set of records by their index.

use std::fmt;
use std::str::FromStr;

/// Indices of records, as few ranges as there can be. Text form: `0-9 15 20-30`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Indices {
    /// First and last of each, in order; no two of them touch.
    ranges: Vec<(u64, u64)>,
}

impl Indices {
    /// The first so many.
    pub fn first(count: u64) -> Self {
        Self { ranges: count.checked_sub(1).map(|last| (0, last)).into_iter().collect() }
    }

    pub fn contains(&self, index: u64) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < index);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= index)
    }

    pub fn insert(&mut self, index: u64) {
        let at = self.ranges.partition_point(|(_, last)| *last < index);
        let joins_next = self.ranges.get(at).is_some_and(|(first, _)| *first <= index.saturating_add(1));
        if self.contains(index) {
            return;
        }
        let joins_last = at > 0 && self.ranges[at - 1].1 + 1 == index;
        match (joins_last, joins_next) {
            (true, true) => {
                let (_, last) = self.ranges.remove(at);
                self.ranges[at - 1].1 = last;
            }
            (true, false) => self.ranges[at - 1].1 = index,
            (false, true) => self.ranges[at].0 = index,
            (false, false) => self.ranges.insert(at, (index, index)),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many there are, if they are the first ones and no others.
    pub fn are_first(&self) -> Option<u64> {
        match self.ranges.as_slice() {
            [] => Some(0),
            [(0, last)] => Some(last + 1),
            _ => None,
        }
    }
}

impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.ranges.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            if first == last { write!(f, "{space}{first}")? } else { write!(f, "{space}{first}-{last}")? }
        }
        Ok(())
    }
}

/// Ranges that are not in order, or touch, or are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadIndices;

impl FromStr for Indices {
    type Err = BadIndices;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut indices = Self::default();
        for range in text.split(' ') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) =
                (first.parse().map_err(|_| BadIndices)?, last.parse().map_err(|_| BadIndices)?);
            let follows =
                indices.ranges.last().is_none_or(|(_, before)| before.checked_add(1).is_some_and(|next| next < first));
            if !follows || last < first || last == u64::MAX {
                return Err(BadIndices);
            }
            indices.ranges.push((first, last));
        }
        Ok(indices)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A set by another name.
        #[test]
        fn it_holds_what_was_inserted_in_as_few_ranges_as_there_can_be(inserted in prop::collection::vec(0u64..40, 0..60)) {
            let (mut indices, mut set) = (Indices::default(), BTreeSet::new());
            for index in inserted {
                indices.insert(index);
                set.insert(index);
            }
            prop_assert!((0..42).all(|index| indices.contains(index) == set.contains(&index)));
            prop_assert_eq!(indices.count(), set.len() as u64);
            prop_assert!(indices.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{}", indices);
            let first = set.iter().enumerate().all(|(n, index)| n as u64 == *index);
            prop_assert_eq!(indices.are_first(), first.then_some(set.len() as u64));
            if !set.is_empty() {
                prop_assert_eq!(indices.to_string().parse(), Ok(indices));
            }
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "3-1", "0-3 4", "0-3 2-5", "5 1", "x", "1-", "-1", "0-3  5", "18446744073709551615"] {
            assert_eq!(text.parse::<Indices>(), Err(BadIndices), "{text:?}");
        }
        assert_eq!(Indices::first(0), Indices::default());
        assert_eq!(Indices::first(7).to_string(), "0-6");
    }
}
