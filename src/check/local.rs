//! Files and folders of this machine.

use std::path::{Path, PathBuf};

use super::{Finding, Topic, counted};
use crate::config::Destination;
use crate::source::file::FileSource;
use crate::source::{ReadAhead, Source};
use crate::store;

/// Whether each path of the source has files, and they can be opened.
pub(super) async fn files(paths: &[String], topic: Topic) {
    for path in paths {
        let finding = match path.as_str() {
            "-" => Finding::not_checked("standard input, which is read once only, by the run"),
            _ => opened(path.clone()).await,
        };
        topic.tell("files", finding);
    }
}

async fn opened(path: String) -> Finding {
    let of_path = path.clone();
    let found = tokio::task::spawn_blocking(move || FileSource::new(&[of_path], ReadAhead::new(1))).await;
    match found.expect("opening files does not panic") {
        Ok(source) => {
            let files = source.shards().await.map_or(0, |files| files.len());
            let size = source.progress().total().map(|bytes| format!(", {} together", bytesize::ByteSize::b(bytes)));
            Finding::ok(format!("{path}: {} can be read{}", counted(files as u64, "file"), size.unwrap_or_default()))
        }
        Err(error) => Finding::failed(error.to_string()),
    }
}

/// Whether there is a folder for the lake, and room for what is flushed at once. That it can be written, and has hard
/// links, shows by its objects.
pub(super) fn folder(folder: &Path, buffer_bytes: usize, topic: &Topic) {
    topic.tell("folder", standing(folder));
    topic.tell("disk space", room(folder, free(folder), buffer_bytes as u64));
}

pub(super) fn memory() -> Finding {
    Finding::warning("memory:/// is for tries: what is delivered is gone when the process ends")
}

/// Makes the folder where there is none, and removes it again.
fn standing(folder: &Path) -> Finding {
    let (shown, made) = (folder.display(), Made::of([folder.to_owned()]));
    let opened = store::open(&Destination::File { folder: folder.to_owned() }, None);
    let is_new = !made.0.is_empty();
    made.remove();
    match opened {
        Ok(_) if is_new => Finding::ok(format!("{shown} is not there yet, and can be made")),
        Ok(_) => Finding::ok(format!("{shown} is there")),
        Err(error) => Finding::failed(error.to_string()),
    }
}

/// Bytes that this user may still write where a folder is, or will be.
fn free(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let about = rustix::fs::statvfs(there).ok()?;
    Some(about.f_bavail.saturating_mul(about.f_frsize))
}

fn room(folder: &Path, free: Option<u64>, buffer_bytes: u64) -> Finding {
    let shown = folder.display();
    let Some(free) = free else {
        return Finding::not_checked(format!("how much is free where {shown} is can't be told"));
    };
    let (room, wanted) = (bytesize::ByteSize::b(free), bytesize::ByteSize::b(buffer_bytes));
    if free < buffer_bytes {
        return Finding::warning(format!(
            "{room} are free where {shown} is, and one flush may take up to {wanted} (`flush.buffer_bytes`): make room; a full \
             disk stops delivery until there is some"
        ));
    }
    Finding::ok(format!("{room} are free, and one flush takes {wanted} at most"))
}

/// Folders that the probes make, to be removed again: those that were not there before.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// Of these folders and those above them.
    pub fn of(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut missing = Vec::new();
        for folder in folders {
            missing.extend(folder.ancestors().filter(|folder| !folder.exists()).map(Path::to_owned));
        }
        missing.sort();
        missing.dedup();
        Self(missing)
    }

    /// Removes those that are empty; others have come to be used meanwhile.
    pub fn remove(self) {
        for folder in self.0.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn the_room_on_a_disk_is_held_against_a_flush() {
        let folder = Path::new("/lake");
        assert_eq!(room(folder, Some(1 << 30), 1 << 28).state, State::Ok);
        assert_eq!(room(folder, Some(1 << 28), 1 << 28).state, State::Ok);
        let scarce = room(folder, Some((1 << 28) - 1), 1 << 28);
        assert_eq!(scarce.state, State::Warning);
        assert!(scarce.text.contains("where /lake is") && scarce.text.contains("256.0 MiB"), "{}", scarce.text);
        assert_eq!(room(folder, None, 1).state, State::NotChecked);
        let nowhere = tempfile::tempdir().unwrap();
        let free = free(&nowhere.path().join("not/there/yet"));
        assert!(free.is_some_and(|free| free > 0), "of the disk that it will be on");
    }

    #[test]
    fn a_folder_is_there_or_can_be_made_and_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(standing(folder.path()).text.ends_with(" is there"));
        let later = standing(&folder.path().join("later/lake"));
        assert!(later.state == State::Ok && later.text.ends_with("not there yet, and can be made"), "{}", later.text);
        assert!(folder.path().exists() && !folder.path().join("later").exists());
        std::fs::write(folder.path().join("file"), "").unwrap();
        let stands = standing(&folder.path().join("file/lake"));
        assert!(stands.state == State::Failed && stands.text.contains("the folder can't be made"), "{}", stands.text);
    }

    #[test]
    fn folders_that_were_made_are_removed_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let (folder, there) = (root.path().join("a/lake"), root.path().join("a"));
        std::fs::create_dir(&there).unwrap();
        let made = Made::of([folder.join("_firemain/g/state"), folder.join("t")]);
        std::fs::create_dir_all(folder.join("_firemain/g/state")).unwrap();
        std::fs::create_dir_all(folder.join("t")).unwrap();
        std::fs::write(folder.join("t/kept"), "").unwrap();
        made.remove();
        assert!(folder.join("t/kept").exists() && !folder.join("_firemain").exists() && there.exists());
    }

    #[tokio::test]
    async fn paths_match_files_that_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.json"), "12345").unwrap();
        std::fs::write(folder.path().join("2.json"), "").unwrap();
        let found = opened(folder.path().join("*.json").display().to_string()).await;
        assert!(found.text.ends_with("*.json: 2 files can be read, 5 B together"), "{}", found.text);
        let none = opened(folder.path().join("*.gz").display().to_string()).await;
        assert!(none.state == State::Failed && none.text.contains("check `source.file.paths`"), "{}", none.text);
    }
}
