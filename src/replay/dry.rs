//! What a replay would do: reads and decodes everything, and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::position;
use crate::commit::snapshot::Snapshot;
use crate::decode;
use crate::event::ShardId;
use crate::position::Position;
use crate::service::{Base, RunError, fatal};
use crate::source::errors::{ErrorSource, Tally};
use crate::source::{Batch, Source};
use crate::table::tabulate::{self, Tabulated};

/// By code what would come of it, and how many events would be rows. `show` is polled meanwhile.
pub async fn run(
    base: &Base,
    source: &Arc<ErrorSource>,
    state: &Snapshot,
    show: impl Future<Output = ()>,
) -> Result<(BTreeMap<String, Tally>, u64), RunError> {
    let reading = async {
        for shard in source.objects().keys() {
            let from = position(state, shard).unwrap_or(Position::TrimHorizon);
            if from != Position::End {
                read(base, source, shard, &from).await?;
            }
        }
        Ok::<_, RunError>(())
    };
    tokio::select! {
        done = reading => done?,
        () = show => unreachable!("it is shown until the work is done"),
    }
    let ended = |shard: &ShardId| position(state, shard) == Some(Position::End);
    let codes = source.outcomes().tally(|shard| (!ended(shard)).then_some(Position::End));
    Ok((codes, base.telemetry.metrics().events.get()))
}

async fn read(base: &Base, source: &Arc<ErrorSource>, shard: &ShardId, from: &Position) -> Result<(), RunError> {
    let mut reader = source.open(shard, from).await.map_err(fatal)?;
    loop {
        let batch = reader.next().await.map_err(fatal)?;
        let (at_tip, base, source, shard) = (batch.at_tip, base.clone(), Arc::clone(source), shard.clone());
        let decoding = tokio::task::spawn_blocking(move || decode(&base, &source, &shard, &batch));
        decoding.await.expect("decoding does not panic, whatever the bytes");
        if at_tip {
            return Ok(());
        }
    }
}

fn decode(base: &Base, source: &ErrorSource, shard: &ShardId, batch: &Batch) {
    let (mut scratch, mut out) = ((decode::Scratch::new(), tabulate::Scratch::default()), Tabulated::default());
    let mut records = batch.records.as_slice();
    while !records.is_empty() {
        let done = base.decoder.decode(&mut scratch.0, records, true, &mut out.decoded);
        base.tabulator.run(&mut scratch.1, &mut out);
        records = &records[done..];
        base.telemetry.metrics().events.add(out.decoded.counts.events);
        for earlier in out.decoded.rejections.iter().filter_map(|rejection| rejection.earlier.as_ref()) {
            source.rejected_again(shard, earlier.index);
        }
        out.clear();
    }
}
