//! Puts the objects of a committed pack at their final keys.
//!
//! The bytes are fixed by the pack, so that doing it again, by anyone, changes nothing. Never called before the commit
//! is known to have happened.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::group::{Group, GroupError};
use super::pack::PackedObject;

/// Puts under way at once: enough for 5,000 objects within a second or two at S3's latency, few enough for its limit of
/// 3,500 puts a second and prefix. Bytes under way are bounded by the storage.
const CONCURRENCY: usize = 256;

/// Puts every object; the memory of each is given back as soon as it is acknowledged.
pub async fn publish(group: &Group, objects: Vec<PackedObject>) -> Result<(), GroupError> {
    let puts = objects.into_iter().map(|object| async {
        // A worker that slept must not put back what a user or a lifecycle rule deleted meanwhile.
        group.still_member().await?;
        let PackedObject { key, description, body, lease } = object;
        let key = Path::parse(&key).expect("keys are made of escaped values, without empty segments");
        group.storage().deliver(&key, body.into_iter().collect(), &description).await?;
        drop(lease);
        Ok(())
    });
    futures::stream::iter(puts).buffer_unordered(CONCURRENCY).try_collect().await
}
