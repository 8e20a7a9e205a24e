//! Writing files so that no reader ever sees half of one.

use std::path::Path;

use super::failure::Failure;
use crate::tensor_io::write_atomically;

/// Writes `bytes` to `path`; the file appears whole or not at all.
///
/// # Errors
/// [`Failure::Failed`] naming the path.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes)
        .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", path.display())))
}

/// Creates a directory and those above it where they are missing.
///
/// # Errors
/// [`Failure::Failed`] naming the path.
pub fn create_directory(path: &Path) -> Result<(), Failure> {
    if path.exists() && !path.is_dir() {
        return Err(Failure::new(format_args!(
            "cannot write into {}: it is a file, expected a folder",
            path.display()
        )));
    }
    std::fs::create_dir_all(path)
        .map_err(|error| Failure::new(format_args!("cannot create {}: {error}", path.display())))
}
