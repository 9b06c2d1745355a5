//! Which files a path or a glob means. Nothing that it means is left out in silence.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use glob::{Pattern, PatternError};

/// A path for which there are no records. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path} can't be read: {error}; correct that, or leave it out of `source.file.paths`")]
    File { path: String, error: std::io::Error },
    #[error("{0}: no such file, and no file matches it: check `source.file.paths`")]
    NoMatch(String),
    #[error("{0} is a folder: name the files in it, such as {0}/*")]
    Folder(String),
    #[error("{0} is no regular file: pipe what is in it into standard input, `-`")]
    NotRegular(String),
    #[error("{0:?} is matched, but its name is not UTF-8: rename it, or name the others")]
    NotText(PathBuf),
    #[error("{0}: {1}")]
    Pattern(String, PatternError),
}

impl OpenError {
    pub(super) fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), error }
    }
}

/// The files that a path means: itself if it is there, else what it matches as a glob.
pub fn matching(path: &str) -> Result<Vec<PathBuf>, OpenError> {
    let absolute = std::path::absolute(path).map_err(|error| OpenError::file(Path::new(path), error))?;
    match fs::metadata(&absolute) {
        Ok(about) if about.is_file() => return Ok(vec![absolute]),
        Ok(about) if about.is_dir() => return Err(OpenError::Folder(path.trim_end_matches('/').to_owned())),
        Ok(_) => return Err(OpenError::NotRegular(path.to_owned())),
        Err(error) if is_absence(&error) => {}
        Err(error) => return Err(OpenError::file(&absolute, error)),
    }
    Pattern::new(path).map_err(|error| OpenError::Pattern(path.to_owned(), error))?;
    let (mut top, mut steps) = (PathBuf::new(), Vec::new());
    for component in absolute.components() {
        match component.as_os_str().to_str() {
            Some(name) if matches!(component, Component::Normal(_)) => steps.push(name),
            _ => top.push(component),
        }
    }
    let mut found = Vec::new();
    expand(&top, &steps, &mut found)?;
    if found.is_empty() { Err(OpenError::NoMatch(path.to_owned())) } else { Ok(found) }
}

/// Adds the files that the steps lead to from here.
fn expand(here: &Path, steps: &[&str], found: &mut Vec<PathBuf>) -> Result<(), OpenError> {
    let Some((step, behind)) = steps.split_first() else {
        let about = fs::metadata(here).map_err(|error| OpenError::file(here, error))?;
        if about.is_file() {
            found.push(here.to_owned());
        }
        return Ok(());
    };
    if *step == "**" {
        if !behind.is_empty() {
            expand(here, behind, found)?;
        }
        return entries(here, &Pattern::new("*").expect("it is one"), |entry| match entry.symlink_metadata() {
            Ok(about) if about.is_dir() => expand(&entry, steps, found),
            Ok(_) if behind.is_empty() => expand(&entry, behind, found),
            Ok(_) => Ok(()),
            Err(error) => Err(OpenError::file(&entry, error)),
        });
    }
    if !step.contains(['*', '?', '[']) {
        let next = here.join(step);
        return match fs::symlink_metadata(&next) {
            Ok(_) => expand(&next, behind, found),
            Err(error) if is_absence(&error) => Ok(()),
            Err(error) => Err(OpenError::file(&next, error)),
        };
    }
    let pattern = Pattern::new(step).map_err(|error| OpenError::Pattern((*step).to_owned(), error))?;
    entries(here, &pattern, |entry| expand(&entry, behind, found))
}

/// What is in a folder and matches; nothing if it is none.
fn entries(
    folder: &Path,
    pattern: &Pattern,
    mut each: impl FnMut(PathBuf) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if is_absence(&error) => return Ok(()),
        Err(error) => return Err(OpenError::file(folder, error)),
    };
    for entry in listed {
        let entry = entry.map_err(|error| OpenError::file(folder, error))?;
        let name = entry.file_name();
        if !pattern.matches(&name.to_string_lossy()) {
            continue;
        }
        if name.to_str().is_none() {
            return Err(OpenError::NotText(entry.path()));
        }
        each(entry.path())?;
    }
    Ok(())
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// `a/1.json a/2.txt b/c/1.json b/[x].json`
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (folder, file) in [("a", "1.json"), ("a", "2.txt"), ("b/c", "1.json"), ("b", "[x].json")] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join(file), "x").unwrap();
        }
        root
    }

    fn found(root: &Path, path: &str) -> Result<Vec<String>, OpenError> {
        let mut found: Vec<_> = matching(&root.join(path).display().to_string())?
            .into_iter()
            .map(|file| file.strip_prefix(root).unwrap().display().to_string())
            .collect();
        found.sort();
        Ok(found)
    }

    #[test]
    fn globs_mean_what_they_mean_in_a_shell() {
        let tree = tree();
        let cases: [(&str, &[&str]); 9] = [
            ("a/1.json", &["a/1.json"]),
            ("a/*", &["a/1.json", "a/2.txt"]),
            ("*/*.json", &["a/1.json", "b/[x].json"]),
            ("*/c/?.json", &["b/c/1.json"]),
            ("**/*.json", &["a/1.json", "b/[x].json", "b/c/1.json"]),
            ("b/**", &["b/[x].json", "b/c/1.json"]),
            ("b/[x].json", &["b/[x].json"]),
            ("*/[[]x].json", &["b/[x].json"]),
            ("a/[!1]*", &["a/2.txt"]),
        ];
        for (path, files) in cases {
            assert_eq!(found(tree.path(), path).unwrap(), files, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_left_out() {
        let tree = tree();
        let said = |path: &str| found(tree.path(), path).unwrap_err().to_string();
        assert!(said("a").contains("is a folder"));
        assert!(said("a/*.gz").contains("no file matches"));
        assert!(said("no/such").contains("no file matches"));
        assert!(said("a/[").contains("attern"));
        assert!(matching("/dev/null").unwrap_err().to_string().contains("no regular file"));
        symlink("nowhere", tree.path().join("a/3.json")).unwrap();
        assert!(said("a/*.json").contains("3.json can't be read"));
        assert_eq!(found(tree.path(), "a/*.txt").unwrap(), ["a/2.txt"]);
        fs::write(tree.path().join("b").join(OsStr::from_bytes(b"\xff.json")), "x").unwrap();
        assert!(said("b/*").contains("is not UTF-8"));
    }
}
