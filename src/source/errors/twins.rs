//! Objects that were replayed, and are there again: a publisher that slept puts what it was about to put whenever it wakes.
//!
//! An object that has moved is forgotten by the state, and would be delivered once more. What is left of it is its twin: the
//! object of the same name below [`super::REPLAYED`].

use std::collections::BTreeMap;

use object_store::ObjectMeta;
use object_store::path::Path;
use tracing::warn;

use super::Folders;
use crate::commit::storage::Storage;
use crate::event::ShardId;
use crate::retry::GaveUp;

/// Bytes that are compared at once.
const FETCH: u64 = 2 << 20;

/// Objects that have twins.
#[derive(Debug, Default)]
pub struct Twins {
    /// The same bytes: they were delivered.
    pub done: Vec<Path>,
    /// Others, or nobody knows: why they are left where they are.
    pub odd: BTreeMap<ShardId, String>,
}

/// Takes those that have twins out of objects that were listed before. `impatient`: for gets.
pub async fn take(
    storage: &Storage,
    impatient: &Storage,
    folders: &Folders,
    objects: &mut BTreeMap<ShardId, ObjectMeta>,
) -> Result<Twins, GaveUp> {
    let names: BTreeMap<Path, ShardId> =
        objects.iter().map(|(id, object)| (folders.replayed(&object.location), id.clone())).collect();
    let mut twins = Twins::default();
    if names.is_empty() {
        return Ok(twins);
    }
    let is_twin = |object: &ObjectMeta| names.contains_key(&object.location);
    for twin in storage.list_only(&folders.replayed(&folders.errors), None, is_twin).await? {
        let Some((id, object)) = names.get(&twin.location).and_then(|id| objects.remove_entry(id)) else { continue };
        match same(impatient, &object, &twin).await {
            Ok(Some(true)) => twins.done.push(object.location),
            Ok(Some(false)) => {
                let why =
                    format!("{} was replayed before, and has other bytes: move one of them elsewhere", twin.location);
                twins.odd.insert(id, why);
            }
            Ok(None) => warn!("{id} was moved meanwhile, or written again: it is left to the next replay"),
            Err(error) => drop(twins.odd.insert(id, format!("it can't be compared with {}: {error}", twin.location))),
        }
    }
    Ok(twins)
}

/// Whether two objects have the same bytes; `None` if one is not there any more, or was written again.
async fn same(storage: &Storage, one: &ObjectMeta, other: &ObjectMeta) -> Result<Option<bool>, GaveUp> {
    if one.size != other.size {
        return Ok(Some(false));
    }
    for from in (0..one.size).step_by(FETCH as usize) {
        let range = from..one.size.min(from + FETCH);
        let fetched = (storage.get_range(one, range.clone()).await?, storage.get_range(other, range).await?);
        let (Some(one), Some(other)) = fetched else { return Ok(None) };
        if one != other {
            return Ok(Some(false));
        }
    }
    Ok(Some(true))
}
