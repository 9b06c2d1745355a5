//! What the state says was read and delivered: a commit for each step between two snapshots.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::commit::snapshot::{PackId, PackState, Snapshot, Totals};
use crate::event::ShardId;
use crate::position::Position;

/// One step of the state that moved positions or listed a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The snapshot that made it.
    pub number: u64,
    pub moves: Vec<(ShardId, Position, Position)>,
    pub pack: Option<PackState>,
    pub counts: Books,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    pub records: u64,
    pub events: u64,
    pub rejections: u64,
    pub control: u64,
    pub objects: u64,
}

/// From where to where a shard was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    pub shard: ShardId,
    pub from: Position,
    pub to: Position,
    pub commits: u64,
}

/// The first thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Difference(pub String);

impl Books {
    fn of(totals: &Totals) -> Self {
        let Totals { records, events, rejections, control, objects, .. } = *totals;
        Self { records, events, rejections, control, objects }
    }

    /// What came since; `None` if anything became less.
    fn since(self, before: Self) -> Option<Self> {
        Some(Self {
            records: self.records.checked_sub(before.records)?,
            events: self.events.checked_sub(before.events)?,
            rejections: self.rejections.checked_sub(before.rejections)?,
            control: self.control.checked_sub(before.control)?,
            objects: self.objects.checked_sub(before.objects)?,
        })
    }
}

impl std::ops::AddAssign for Books {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.events += more.events;
        self.rejections += more.rejections;
        self.control += more.control;
        self.objects += more.objects;
    }
}

/// The commits between snapshots, which are in their order; each is checked against the one before.
pub fn commits(snapshots: &[Snapshot]) -> Result<Vec<Commit>, Difference> {
    let mut commits = Vec::new();
    for pair in snapshots.windows(2) {
        commits.extend(commit(&pair[0], &pair[1])?);
    }
    Ok(commits)
}

fn commit(before: &Snapshot, after: &Snapshot) -> Result<Option<Commit>, Difference> {
    let number = after.number;
    let wrong = |what: String| Err(Difference(format!("snapshot {number}: {what}")));
    if number != before.number + 1 {
        return wrong(format!("it follows {}: what lies between is missing", before.number));
    }
    let mut moves = Vec::new();
    for (id, shard) in &after.shards {
        let Some(from) = before.shards.get(id).map(|shard| &shard.position) else { continue };
        if shard.position < *from {
            return wrong(format!("{id} went back from `{from}` to `{}`", shard.position));
        }
        if shard.position != *from {
            moves.push((id.clone(), from.clone(), shard.position.clone()));
        }
    }
    let lost = before.shards.iter().find(|(id, shard)| !after.shards.contains_key(*id) && !shard.has_ended());
    if let Some((id, shard)) = lost.filter(|_| after.totals.expired == before.totals.expired) {
        return wrong(format!(
            "{id} left the state at `{}`, not at its end, and is not counted as expired",
            shard.position
        ));
    }
    let known: BTreeSet<&PackId> = before.packs.iter().map(|pack| &pack.id).collect();
    let mut new = after.packs.iter().filter(|pack| !known.contains(&pack.id));
    let pack = new.next().cloned();
    if let Some(second) = new.next() {
        return wrong(format!("pack {} is the second new one: a commit has one", second.id));
    }
    let Some(counts) = Books::of(&after.totals).since(Books::of(&before.totals)) else {
        return wrong("a total became less".to_owned());
    };
    if moves.is_empty() && counts != Books::default() {
        return wrong(format!("it counts {} records, and moves no position", counts.records));
    }
    let objects = pack.as_ref().map_or(0, |pack| pack.objects);
    if counts.objects != objects {
        return wrong(format!("it counts {} objects, and its pack has {objects}", counts.objects));
    }
    if pack.is_none() && counts.events + counts.rejections > 0 {
        return wrong(format!(
            "it counts {} events and {} rejections, and has no pack",
            counts.events, counts.rejections
        ));
    }
    Ok((!moves.is_empty()).then_some(Commit { number, moves, pack, counts }))
}

/// What was read of each shard, and in how many commits. Positions of one shard follow each other, as each snapshot was
/// checked against the one before.
pub fn ranges(commits: &[Commit]) -> Vec<Range> {
    let mut ranges = BTreeMap::<&ShardId, Range>::new();
    for (shard, from, to) in commits.iter().flat_map(|commit| &commit.moves) {
        let first = || Range { shard: shard.clone(), from: from.clone(), to: to.clone(), commits: 0 };
        let range = ranges.entry(shard).or_insert_with(first);
        range.to = to.clone();
        range.commits += 1;
    }
    ranges.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::change::tests::{after, group, pack, step, worker};
    use crate::decode::Counts;

    /// Two commits, of which the second has no pack.
    fn history() -> Vec<Snapshot> {
        let mut first = group();
        first.number = 7;
        let mut commit = step("a", Position::TrimHorizon, after(5));
        commit.counts = Counts { records: 3, events: 9, rejections: 1, control: 0, bytes: 0 };
        commit.pack = Some(pack(&format!("{}-1", worker(1)), 1));
        let mut second = first.commit(&worker(1), &commit).unwrap();
        second.number = 8;
        let mut commit = step("a", after(5), after(6));
        commit.counts = Counts { records: 1, events: 0, rejections: 0, control: 1, bytes: 0 };
        let mut third = second.commit(&worker(1), &commit).unwrap();
        third.number = 9;
        vec![first, second, third]
    }

    fn wrong(change: impl FnOnce(&mut Vec<Snapshot>)) -> String {
        let mut history = history();
        change(&mut history);
        commits(&history).unwrap_err().to_string()
    }

    #[test]
    fn a_step_between_snapshots_is_a_commit_of_ranges_and_counts() {
        let commits = commits(&history()).unwrap();
        let counts = Books { records: 3, events: 9, rejections: 1, control: 0, objects: 2 };
        assert_eq!((commits.len(), commits[0].counts, commits[1].pack.clone()), (2, counts, None));
        let range = Range { shard: "a".into(), from: Position::TrimHorizon, to: after(6), commits: 2 };
        assert_eq!(ranges(&commits), [range]);
    }

    #[test]
    fn what_no_commit_does_is_the_first_difference() {
        assert!(wrong(|history| drop(history.remove(1))).contains("snapshot 9: it follows 7"));
        let at = |position: Position| {
            move |history: &mut Vec<Snapshot>| history[2].shards.get_mut(&"a".into()).unwrap().position = position
        };
        assert!(wrong(at(after(4))).contains("went back from `after 5` to `after 4`"));
        assert!(wrong(at(after(5))).contains("moves no position"));
        assert!(wrong(|history| history[2].totals.events = 0).contains("a total became less"));
        assert!(wrong(|history| history[2].totals.events += 1).contains("has no pack"));
        assert!(wrong(|history| history[1].totals.objects += 1).contains("counts 3 objects, and its pack has 2"));
        assert!(wrong(|history| drop(history[2].shards.remove(&"a".into()))).contains("not at its end"));
    }
}
