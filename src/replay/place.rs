//! Where the error objects of a replay are, and where they go when they are done.

use object_store::path::Path;

use crate::config::{Config, Destination};
use crate::source::errors::{Folders, REPLAYED};

/// A folder of error objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the store is opened at.
    pub store: Destination,
    /// Below it.
    pub folders: Folders,
}

impl Place {
    /// Of our own error prefix, `replayed/` is beside it, below the destination; of any other folder, beside that.
    ///
    /// # Errors
    /// Why nothing can be replayed from there.
    pub fn new(from: &Destination, config: &Config) -> Result<Self, String> {
        let (lake, errors) = (&config.destination, Path::from(config.errors.prefix.as_str()));
        let (top, folder) = match from {
            Destination::Memory => return Err("nothing is in a memory that begins with this run".to_owned()),
            Destination::S3 { bucket, prefix } => (Some(bucket), Path::from(prefix.as_str())),
            Destination::File { folder } => (None, Path::from(folder.to_string_lossy().as_ref())),
        };
        if root(lake, top).is_some_and(|root| root != folder && root.prefix_matches(&folder)) {
            return Err(format!(
                "the lake {lake} lies in it, with its tables and its state: name the error prefix, {lake}/{errors}/, or a folder \
                 that the lake is not in"
            ));
        }
        if let Some(below) = below(lake, top, &folder) {
            refuse_replayed(&below)?;
            if below.prefix_matches(&errors) {
                return Ok(Self { store: lake.clone(), folders: Folders { errors: below, strip: errors } });
            }
            if errors.prefix_matches(&below) {
                return Err(format!("it has tables and state too: name the error prefix, {lake}/{errors}/"));
            }
        }
        refuse_replayed(&folder)?;
        let parts: Vec<_> = folder.parts().collect();
        let Some((last, parents)) = parts.split_last() else {
            return Ok(Self { store: from.clone(), folders: Folders::default() });
        };
        let parent = Path::from_iter(parents.iter().cloned());
        let store = match top {
            Some(bucket) => Destination::S3 { bucket: bucket.clone(), prefix: parent.to_string() },
            None => Destination::File { folder: format!("/{parent}").into() },
        };
        Ok(Self { store, folders: Folders { errors: Path::from_iter([last.clone()]), strip: Path::default() } })
    }
}

fn refuse_replayed(folder: &Path) -> Result<(), String> {
    if folder.parts().any(|part| part.as_ref() == REPLAYED) {
        return Err(format!(
            "what lies in a folder {REPLAYED}/ was delivered already: move it elsewhere to deliver it once more"
        ));
    }
    Ok(())
}

/// Where the lake is in a bucket, or on the disk where none is given; `None` if it is not there.
fn root(lake: &Destination, bucket: Option<&String>) -> Option<Path> {
    match (lake, bucket) {
        (Destination::S3 { bucket: lake, prefix }, Some(bucket)) if lake == bucket => Some(Path::from(prefix.as_str())),
        (Destination::File { folder }, None) => Some(Path::from(folder.to_string_lossy().as_ref())),
        _ => None,
    }
}

/// Where a folder is below the lake; `None` if it is not.
fn below(lake: &Destination, bucket: Option<&String>, folder: &Path) -> Option<Path> {
    folder.prefix_match(&root(lake, bucket)?).map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Needs, layers::Layer, values};

    fn place(lake: &str, from: &str) -> Result<Place, String> {
        let file = format!("destination = \"{lake}\"\n");
        let loaded = config::load_for(Needs::NoSource, Layer::new(), [], Some(("c", &file))).unwrap();
        Place::new(&values::destination(from).unwrap(), &loaded.config)
    }

    fn told(place: &Place, key: &str) -> (String, String, String) {
        let replayed = place.folders.replayed(&Path::from(key));
        (place.store.to_string(), place.folders.errors.to_string(), replayed.to_string())
    }

    fn three(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.to_owned(), b.to_owned(), c.to_owned())
    }

    #[test]
    fn the_error_prefix_moves_to_a_folder_beside_it_whichever_part_of_it_is_named() {
        for (lake, from) in
            [("s3://lake/logs", "s3://lake/logs/errors/"), ("file:///var/lake", "file:///var/lake/errors")]
        {
            let place = place(lake, from).unwrap();
            let key = "errors/error=Event.Invalid/dt=2024-03-22/hour=05/w-1-0.json.gz";
            assert_eq!(told(&place, key), three(lake, "errors", &key.replace("errors/", "replayed/")));
        }
        let place = place("s3://lake/logs", "s3://lake/logs/errors/error=Event.Invalid").unwrap();
        assert_eq!(
            told(&place, "errors/error=Event.Invalid/x"),
            three("s3://lake/logs", "errors/error=Event.Invalid", "replayed/error=Event.Invalid/x")
        );
    }

    #[test]
    fn other_folders_move_to_a_folder_beside_them() {
        let place = |from| place("s3://lake/logs", from).unwrap();
        assert_eq!(
            told(&place("s3://firehose-bucket/a/processing-failed/"), "processing-failed/2024/x"),
            three("s3://firehose-bucket/a", "processing-failed", "replayed/processing-failed/2024/x")
        );
        assert_eq!(
            told(&place("s3://firehose-bucket"), "2024/x"),
            three("s3://firehose-bucket", "", "replayed/2024/x")
        );
        assert_eq!(
            told(&place("s3://lake/firehose"), "firehose/x"),
            three("s3://lake", "firehose", "replayed/firehose/x")
        );
    }

    /// What is done would move out of the lake, and the whole lake would be taken for error objects.
    #[test]
    fn a_folder_that_the_lake_is_in_is_refused() {
        for (lake, above) in [
            ("s3://lake/logs", "s3://lake"),
            ("s3://lake/a/logs", "s3://lake/"),
            ("s3://lake/a/logs", "s3://lake/a/"),
            ("file:///var/lib/lake", "file:///var/lib"),
        ] {
            let why = place(lake, above).unwrap_err();
            assert!(why.contains("lies in it") && why.contains(&format!("{lake}/errors/")), "{above}: {why}");
        }
        for beside in ["s3://other", "s3://lake/lo", "s3://lake/logs2", "s3://lake/a"] {
            assert!(place("s3://lake/logs", beside).is_ok(), "{beside}");
        }
        assert!(place("s3://lake", "s3://lake").unwrap_err().contains("s3://lake/errors/"));
    }

    #[test]
    fn the_whole_lake_and_what_was_replayed_are_refused() {
        let refused = |from| place("s3://lake/logs", from).unwrap_err();
        assert!(refused("s3://lake/logs").contains("name the error prefix, s3://lake/logs/errors/"));
        assert!(refused("s3://lake/logs/replayed/error=X").contains("delivered already"));
        assert!(refused("memory:///").contains("memory"));
        let lake = "s3://lake/replayed";
        assert!(place(lake, "s3://lake/replayed/errors").is_ok(), "a lake may be called so");
        assert!(place(lake, "s3://lake/replayed/replayed/x").is_err());
    }
}
