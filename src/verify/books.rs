//! What the state says was read and delivered: a commit for each step between two snapshots.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::commit::change::Move;
use crate::commit::snapshot::{PackId, PackState, RecordCounts, ShardState, Snapshot, Totals};
use crate::event::ShardId;
use crate::position::Position;

/// One step of the state that moved positions or listed a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The snapshot that made it.
    pub number: u64,
    pub moves: Vec<Move>,
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
    /// Between the two.
    pub records: RecordCounts,
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
    let difference = |what: String| Difference(format!("snapshot {number}: {what}"));
    let wrong = |what| Err(difference(what));
    if number != before.number + 1 {
        return wrong(format!("it follows {}: what lies between is missing", before.number));
    }
    let mut moves = Vec::new();
    for (id, shard) in &after.shards {
        let Some(earlier) = before.shards.get(id) else { continue };
        moves.extend(step(id, earlier, shard).map_err(difference)?);
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
    let mut records = RecordCounts::default();
    moves.iter().for_each(|step| records += step.records);
    if (records.read, records.control) != (counts.records, counts.control) {
        let RecordCounts { read, control, .. } = records;
        return wrong(format!(
            "positions went past {read} records, {control} of them control messages, and {} were decoded, {} of them \
             control messages",
            counts.records, counts.control
        ));
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

/// What a step of the state did to a shard; what is wrong with it, if anything is.
fn step(id: &ShardId, before: &ShardState, after: &ShardState) -> Result<Option<Move>, String> {
    let (from, to) = (&before.position, &after.position);
    if to < from {
        return Err(format!("{id} went back from `{from}` to `{to}`"));
    }
    let Some(records) = after.records.since(before.records) else {
        return Err(format!("the records of {id} became less"));
    };
    if from == to {
        return if records.is_none() {
            Ok(None)
        } else {
            Err(format!("{id} counts {} records and stays", records.read))
        };
    }
    if !records.balance() {
        let RecordCounts { read, delivered, rejected, control } = records;
        return Err(format!(
            "of the {read} records of {id} from `{from}` to `{to}`, {delivered} were delivered and {rejected} rejected, and \
             {control} were control messages"
        ));
    }
    Ok(Some(Move { shard: id.clone(), from: from.clone(), to: to.clone(), records }))
}

/// What was read of each shard, and in how many commits. Positions of one shard follow each other, as each snapshot was
/// checked against the one before.
pub fn ranges(commits: &[Commit]) -> Vec<Range> {
    let mut ranges = BTreeMap::<&ShardId, Range>::new();
    for Move { shard, from, to, records } in commits.iter().flat_map(|commit| &commit.moves) {
        let (none, shard_id) = (RecordCounts::default(), shard.clone());
        let first = || Range { shard: shard_id, from: from.clone(), to: to.clone(), commits: 0, records: none };
        let range = ranges.entry(shard).or_insert_with(first);
        range.to = to.clone();
        range.commits += 1;
        range.records += *records;
    }
    ranges.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::change;
    use crate::commit::change::tests::{after, group, pack, worker};
    use crate::decode::Counts;

    /// Two commits, of which the second has no pack.
    fn history() -> Vec<Snapshot> {
        let mut first = group();
        first.number = 7;
        let mut commit = change::tests::step("a", Position::TrimHorizon, after(5));
        commit.moves[0].records = RecordCounts { read: 3, delivered: 2, rejected: 1, control: 0 };
        commit.counts = Counts { records: 3, events: 9, rejections: 1, control: 0, bytes: 0 };
        commit.pack = Some(pack(&format!("{}-1", worker(1)), 1));
        let mut second = first.commit(&worker(1), &commit).unwrap();
        second.number = 8;
        let mut commit = change::tests::step("a", after(5), after(6));
        commit.moves[0].records = RecordCounts { read: 1, delivered: 0, rejected: 0, control: 1 };
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
        let records = RecordCounts { read: 4, delivered: 2, rejected: 1, control: 1 };
        let range = Range { shard: "a".into(), from: Position::TrimHorizon, to: after(6), commits: 2, records };
        assert_eq!(ranges(&commits), [range]);
    }

    #[test]
    fn what_no_commit_does_is_the_first_difference() {
        assert!(wrong(|history| drop(history.remove(1))).contains("snapshot 9: it follows 7"));
        let shard =
            |change: fn(&mut ShardState)| wrong(move |history| change(history[2].shards.get_mut(&"a".into()).unwrap()));
        assert!(shard(|shard| shard.position = after(4)).contains("went back from `after 5` to `after 4`"));
        assert!(shard(|shard| shard.position = after(5)).contains("a counts 1 records and stays"));
        assert!(
            shard(|shard| shard.records.read += 1)
                .contains("of the 2 records of a from `after 5` to `after 6`, 0 were")
        );
        assert!(shard(|shard| shard.records.delivered = 1).contains("the records of a became less"));
        // One that was read, and that the decoder never saw.
        let lost = shard(|shard| (shard.records.read, shard.records.delivered) = (5, 3));
        assert!(lost.contains("went past 2 records, 1 of them control messages, and 1 were decoded"), "{lost}");
        let stays = wrong(|history| history[2].shards = history[1].shards.clone());
        assert!(stays.contains("it counts 1 records, and moves no position"), "{stays}");
        assert!(wrong(|history| history[2].totals.events = 0).contains("a total became less"));
        assert!(wrong(|history| history[2].totals.events += 1).contains("has no pack"));
        assert!(wrong(|history| history[1].totals.objects += 1).contains("counts 3 objects, and its pack has 2"));
        assert!(wrong(|history| drop(history[2].shards.remove(&"a".into()))).contains("not at its end"));
    }
}
