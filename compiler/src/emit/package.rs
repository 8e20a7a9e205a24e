//! Emitted files in memory, and writing them.

use crate::unfinished;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A map from relative paths (with `/`) to contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    files: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Adds a file, replacing one of the same path.
    pub fn insert(&mut self, path: impl Into<String>, contents: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), contents.into());
    }

    /// Paths in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Contents of a file.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// The same files below a folder.
    #[must_use]
    pub fn prefixed(self, folder: &str) -> Package {
        Package { files: self.files.into_iter().map(|(path, c)| (format!("{folder}/{path}"), c)).collect() }
    }

    /// Writes the files that differ (to a temporary file, then renamed into place), and removes files of layers that
    /// this package no longer has. Nobody else's file is ever removed.
    ///
    /// # Errors
    /// The first failure of the file system, with the path in its message.
    pub fn write_to(&self, dir: &Path) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for (path, contents) in &self.files {
            let target = dir.join(path);
            let folder = target.parent().unwrap_or(dir).to_path_buf();
            std::fs::create_dir_all(&folder).map_err(|e| named(&folder, &e))?;
            if std::fs::read(&target).is_ok_and(|old| old == *contents) {
                folders.insert(folder);
                continue;
            }
            unfinished::write(&target, contents).map_err(|e| named(&target, &e))?;
            folders.insert(folder);
        }
        for folder in folders {
            self.remove_stale(dir, &folder)?;
        }
        Ok(())
    }

    fn remove_stale(&self, dir: &Path, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder).map_err(|e| named(folder, &e))? {
            let path = entry.map_err(|e| named(folder, &e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() || !is_layer_file(&name) {
                continue;
            }
            if !self.files.contains_key(&relative(dir, &path)) {
                std::fs::remove_file(&path).map_err(|e| named(&path, &e))?;
            }
        }
        Ok(())
    }

    /// Paths whose contents on disk differ from this package or are missing.
    pub fn stale_in(&self, dir: &Path) -> Vec<String> {
        let stale = |(path, contents): (&String, &Vec<u8>)| {
            (std::fs::read(dir.join(path)).ok().as_ref() != Some(contents)).then(|| path.clone())
        };
        self.files.iter().filter_map(stale).collect()
    }
}

/// Whether a file name is one that the emitter gives to a layer: `l017_model_6.rs`, `.S` or `.bin`.
fn is_layer_file(name: &str) -> bool {
    let bytes = name.as_bytes();
    let numbered = bytes.len() > 4 && bytes[0] == b'l' && bytes[1..4].iter().all(u8::is_ascii_digit);
    numbered && [".rs", ".S", ".bin"].iter().any(|e| name.ends_with(e))
}

fn relative(dir: &Path, path: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(dir).unwrap_or(path).to_path_buf();
    relative.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
