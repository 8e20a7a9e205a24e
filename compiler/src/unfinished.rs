//! Files that are written beside their place and renamed into it when they are whole.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Start of the names of unfinished files.
const PREFIX: &str = ".peristyle-unfinished-";

/// No file takes this long to write: one that is older was left behind by a process that was killed.
const STALE: Duration = Duration::from_secs(600);

/// A new unfinished file in a folder. Removes those that were left behind there.
///
/// # Errors
/// When the file cannot be made.
pub fn create(folder: &Path) -> io::Result<NamedTempFile> {
    remove_stale(folder);
    tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)
}

/// Writes a file, whole or not at all, for everybody who may read its folder.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = create(folder)?;
    file.write_all(contents)?;
    // Temporary files are private.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// A file that cannot be removed is in nobody's way, so failures are ignored.
fn remove_stale(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let modified = entry.metadata().ok().filter(std::fs::Metadata::is_file).and_then(|m| m.modified().ok());
        if modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > STALE) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PREFIX, STALE, create};
    use std::fs::File;
    use std::time::SystemTime;

    #[test]
    fn files_left_behind_are_removed_and_others_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let long_ago = SystemTime::now() - 2 * STALE;
        for (name, old) in [("left", true), ("in-work", false)] {
            let file = File::create(folder.path().join(format!("{PREFIX}{name}"))).expect("writable");
            if old {
                file.set_modified(long_ago).expect("the file is ours");
            }
        }
        let file = File::create(folder.path().join(".tmpOther")).expect("writable");
        file.set_modified(long_ago).expect("the file is ours");
        drop(create(folder.path()).expect("writable"));
        let mut names: Vec<_> = std::fs::read_dir(folder.path()).expect("readable").flatten().collect();
        names.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> = names.iter().map(|e| e.file_name().into_string().expect("UTF-8")).collect();
        assert_eq!(names, [format!("{PREFIX}in-work"), ".tmpOther".to_string()]);
    }
}
