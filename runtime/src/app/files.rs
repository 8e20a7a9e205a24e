//! Writing files so that no reader ever sees half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::tensor_io::write_atomically;

/// Writes `bytes` to `path`; the file appears whole or not at all.
///
/// # Errors
/// [`Failure::Failed`] naming the path.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomically(path, bytes).map_err(|error| cannot_write(path, &error))
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

/// A file that is written bit by bit beside its place and takes it when it is [finished](Self::finish).
///
/// Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Unfinished {
    file: Option<BufWriter<File>>,
    /// Where the file is until then.
    beside: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// Starts the file that will be `path`.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming the path.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", std::process::id()));
        let beside = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside);
        let file = file.map_err(|error| cannot_write(path, &error))?;
        Ok(Self { file: Some(BufWriter::new(file)), beside, path: path.to_owned() })
    }

    /// Appends to the file.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming the path.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.file.as_mut().expect("the file is open until it is finished");
        file.write_all(bytes).map_err(|error| cannot_write(&self.path, &error))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming the path.
    pub fn finish(mut self) -> Result<(), Failure> {
        let file = self.file.take().expect("the file is open until it is finished");
        let written = file.into_inner().map_err(io::IntoInnerError::into_error).map(drop);
        let placed = written.and_then(|()| fs::rename(&self.beside, &self.path));
        placed.map_err(|error| cannot_write(&self.path, &error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Without its buffer, which would be written to a file that goes away.
        if let Some(file) = self.file.take() {
            let _ = file.into_parts();
        }
        // After `finish` there is no such file.
        let _ = fs::remove_file(&self.beside);
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("cannot write {}: {error}", path.display()))
}
