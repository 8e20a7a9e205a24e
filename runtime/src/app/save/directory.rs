//! Directories of runs that leave those of earlier runs alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::app::failure::Failure;
use crate::app::files;

/// YOLOv5's `project/name`, then `project/name2`, `project/name3`, ...: the first that is not there yet.
///
/// # Errors
/// [`Failure::Failed`] naming the directory that cannot be made.
pub fn next_run(project: &Path, name: &str) -> Result<PathBuf, Failure> {
    first_new((1u32..).map(|run| if run == 1 { project.join(name) } else { project.join(format!("{name}{run}")) }))
}

/// DeepSparse's `save_dir/name`, or `name-001`, `name-002`, ... inside it when it holds something.
///
/// # Errors
/// [`Failure::Failed`] naming the directory that cannot be made.
pub fn next_annotations(save_dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    let directory = save_dir.join(name);
    files::create_directory(&directory)?;
    let empty = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_none());
    if empty {
        return Ok(directory);
    }
    let last = Path::new(name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    first_new((1u32..).map(|run| directory.join(format!("{last}-{run:03}"))))
}

/// Makes the first directory that does not exist. Programs that run side by side get one each.
fn first_new(candidates: impl Iterator<Item = PathBuf>) -> Result<PathBuf, Failure> {
    for path in candidates {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            files::create_directory(parent)?;
        }
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Failure::new(format_args!("cannot create {}: {error}", path.display()))),
        }
    }
    unreachable!("numbers never end")
}
