//! Names of the files of a run.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Gives every picture of a run a name of its own, and never that of a source.
#[derive(Debug)]
pub(super) struct Names {
    directory: PathBuf,
    sources: HashSet<PathBuf>,
    stems: HashSet<OsString>,
}

/// What the files of a picture are called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Without an extension.
    pub stem: OsString,
    /// Path of the copy.
    pub copy: PathBuf,
}

impl Names {
    /// Names in `directory`, which exists.
    pub(super) fn new(directory: &Path, sources: &[PathBuf]) -> Self {
        Self {
            directory: directory.to_owned(),
            sources: sources.iter().filter_map(|source| std::fs::canonicalize(source).ok()).collect(),
            stems: HashSet::new(),
        }
    }

    /// The name of `source` with `extension`, then `name-2`, `name-3`, ... until it is free.
    pub(super) fn claim(&mut self, source: &Path, extension: &OsStr) -> Named {
        // The last part of an address may be empty.
        let stem = source.file_stem().unwrap_or("stream".as_ref());
        let numbered = (2u64..).map(|number| {
            let mut stem = stem.to_owned();
            stem.push(format!("-{number}"));
            stem
        });
        let free = std::iter::once(stem.to_owned()).chain(numbered).find_map(|stem| {
            let mut name = stem.clone();
            name.push(".");
            name.push(extension);
            let copy = self.directory.join(name);
            // An existing link may lead to a source.
            let real = std::fs::canonicalize(&copy).unwrap_or_else(|_| copy.clone());
            (!self.sources.contains(&real) && self.stems.insert(stem.clone())).then_some(Named { stem, copy })
        });
        free.expect("numbers never end")
    }
}
