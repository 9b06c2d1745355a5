//! What Firemain keeps for itself: packs, snapshots of the state, heartbeats.

use super::super::output::{BAD, Cell, Column, GOOD, table};
use super::text::{Told, fact, section};
use crate::commit::peers::Heartbeat;
use crate::commit::snapshot::{Snapshot, WorkerId};
use crate::inspect::pack::{Pack, State};
use crate::inspect::shown::{Time, bytes, count, escaped};

pub fn pack(pack: &Pack) -> Told {
    if pack.objects.is_empty() {
        return ("pack".to_owned(), Vec::new(), String::new());
    }
    let what = format!("pack: {}", count(pack.objects.len() as u64, "object"));
    let rows = pack.objects.iter().map(|object| {
        let state = match object.state {
            State::Good => Cell::painted(GOOD, "good"),
            State::Changed => Cell::painted(BAD, "changed"),
            State::CutShort => Cell::painted(BAD, "cut short"),
        };
        let rows = object.metadata.get("rows").map(|rows| escaped(rows)).unwrap_or_default();
        [state, bytes(object.bytes).into(), rows.into(), escaped(&object.key).into()]
    });
    let heads = [Column::left("checksum"), Column::right("bytes"), Column::right("rows"), Column::left("key")];
    (what, vec![fact("their bytes", bytes(pack.object_bytes))], section("Objects", &table(heads, rows)))
}

pub fn snapshot(snapshot: &Snapshot) -> Told {
    let what = format!("snapshot {} of a group's state", snapshot.number);
    let attempt = snapshot.attempt.as_ref();
    let mut facts = vec![
        fact("source", snapshot.source.clone()),
        fact(
            "written by",
            attempt.map_or_else(
                || "(it does not say)".to_owned(),
                |attempt| format!("worker {}, attempt {}", attempt.worker, attempt.seq),
            ),
        ),
    ];
    let ended = snapshot.shards.values().filter(|shard| shard.has_ended()).count() as u64;
    let owned = snapshot.shards.values().filter(|shard| shard.owner.is_some()).count() as u64;
    let all = snapshot.shards.len() as u64;
    let free = all.saturating_sub(ended).saturating_sub(owned);
    facts.push(fact("shards", format!("{all}: {owned} owned, {free} free, {ended} read to their end")));
    facts.push(fact("unpublished", count(snapshot.packs.len() as u64, "pack")));
    if snapshot.forgot > 0 {
        facts.push(fact("forgot", format!("shards that are gone, at last in snapshot {}", snapshot.forgot)));
    }
    let totals = &snapshot.totals;
    let total = |name: &'static str, number: u64| [Cell::from(name), indicatif::HumanCount(number).to_string().into()];
    let totals = [
        total("records", totals.records),
        total("events", totals.events),
        total("rejections", totals.rejections),
        total("control messages", totals.control),
        total("objects", totals.objects),
        total("bytes", totals.bytes),
        total("positions expired (each may be a loss)", totals.expired),
    ];
    let totals = table([Column::left("since the group began"), Column::right("")], totals);
    let sections = [shards(snapshot), workers(snapshot), packs(snapshot), section("Totals", &totals), tables(snapshot)];
    (what, facts, sections.concat())
}

fn shards(snapshot: &Snapshot) -> String {
    let rows = snapshot.shards.iter().map(|(id, shard)| {
        let parents: Vec<_> = shard.parents.iter().map(|parent| escaped(parent.as_str())).collect();
        let owner = shard.owner.as_ref().map_or_else(String::new, known);
        [escaped(id.as_str()), escaped(&shard.position.to_string()), owner, parents.join(", ")].map(Cell::from)
    });
    let heads = [Column::left("shard"), Column::left("position"), Column::left("owner"), Column::left("parents")];
    if snapshot.shards.is_empty() { String::new() } else { section("Shards", &table(heads, rows)) }
}

fn known(worker: &WorkerId) -> String {
    escaped(&worker.to_string())
}

fn workers(snapshot: &Snapshot) -> String {
    let rows = snapshot
        .workers
        .iter()
        .map(|(id, worker)| [known(id), Time(worker.joined).to_string(), worker.seq.to_string()].map(Cell::from));
    let heads = [Column::left("worker"), Column::left("joined"), Column::right("last attempt")];
    if snapshot.workers.is_empty() { String::new() } else { section("Workers", &table(heads, rows)) }
}

fn packs(snapshot: &Snapshot) -> String {
    let rows = snapshot.packs.iter().map(|pack| {
        let id = escaped(&pack.id.to_string());
        [id, count(pack.objects, "object"), bytes(pack.bytes), known(&pack.publisher)].map(Cell::from)
    });
    let heads =
        [Column::left("pack"), Column::right("objects"), Column::right("bytes"), Column::left("to be published by")];
    if snapshot.packs.is_empty() {
        return String::new();
    }
    section("Packs that are committed and not yet known to be published", &table(heads, rows))
}

fn tables(snapshot: &Snapshot) -> String {
    let rows = snapshot.tables.iter().map(|(name, table)| {
        let versions: Vec<_> =
            table.versions.iter().map(|(version, columns)| format!("{version} ({} columns)", columns.len())).collect();
        [escaped(name), escaped(&table.format), escaped(&versions.join(", "))].map(Cell::from)
    });
    let heads = [Column::left("table"), Column::left("format"), Column::left("schemas")];
    if snapshot.tables.is_empty() { String::new() } else { section("Tables", &table(heads, rows)) }
}

pub fn heartbeat(heartbeat: &Heartbeat) -> Told {
    let Heartbeat { worker, counter, about } = heartbeat;
    let facts = vec![
        fact("worker", worker.to_string()),
        fact("beats", counter.to_string()),
        fact("host", about.host.clone()),
        fact("pid", about.pid.to_string()),
        fact("version", about.version.clone()),
    ];
    ("heartbeat of a worker".to_owned(), facts, String::new())
}
