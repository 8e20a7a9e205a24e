//! What a folder was written from, so that the same is not done twice.

use crate::unfinished;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Name of the file, and its first line.
const FILE: &str = "stamp";
const VERSION: &str = "peristyle stamp 1";

/// The last compilation into a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Stands for everything that the files depend on.
    pub key: String,
    /// Files beside the model that hold data of it.
    pub external: Vec<PathBuf>,
    /// The library of assembled kernels, when there are any.
    pub library: Option<String>,
    /// Size and time of every file that was written, relative to the folder.
    files: Vec<(u64, u128, String)>,
}

impl Stamp {
    /// The stamp of files that are whole.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn new(
        key: String,
        external: Vec<PathBuf>,
        library: Option<String>,
        dir: &Path,
        files: Vec<String>,
    ) -> io::Result<Stamp> {
        let look = |file: String| state(&dir.join(&file)).map(|(size, time)| (size, time, file));
        Ok(Stamp { key, external, library, files: files.into_iter().map(look).collect::<Result<_, _>>()? })
    }

    /// The stamp in a folder, when there is one.
    pub fn read(dir: &Path) -> Option<Stamp> {
        let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
        let mut lines = text.lines();
        (lines.next()? == VERSION).then_some(())?;
        let mut stamp = Stamp { key: String::new(), external: Vec::new(), library: None, files: Vec::new() };
        for line in lines {
            let (what, rest) = line.split_once(' ')?;
            match what {
                "key" => stamp.key = rest.to_string(),
                "external" => stamp.external.push(PathBuf::from(rest)),
                "library" => stamp.library = Some(rest.to_string()),
                "file" => {
                    let (size, rest) = rest.split_once(' ')?;
                    let (time, path) = rest.split_once(' ')?;
                    stamp.files.push((size.parse().ok()?, time.parse().ok()?, path.to_string()));
                }
                _ => return None,
            }
        }
        Some(stamp)
    }

    /// Whether all files are as they were written.
    pub fn is_intact(&self, dir: &Path) -> bool {
        !self.key.is_empty()
            && self.files.iter().all(|(size, time, file)| state(&dir.join(file)).is_ok_and(|now| now == (*size, *time)))
    }

    /// Writes the stamp, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = format!("{VERSION}\nkey {}\n", self.key);
        for path in &self.external {
            // A name that is no text, or more than a line, never matches: then nothing is skipped.
            text += &format!("external {}\n", path.display());
        }
        if let Some(library) = &self.library {
            text += &format!("library {library}\n");
        }
        for (size, time, path) in &self.files {
            text += &format!("file {size} {time} {path}\n");
        }
        unfinished::write(&dir.join(FILE), text.as_bytes())
    }
}

/// Size and time of a file.
fn state(path: &Path) -> io::Result<(u64, u128)> {
    let metadata = std::fs::metadata(path)?;
    let time = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    Ok((metadata.len(), time))
}
