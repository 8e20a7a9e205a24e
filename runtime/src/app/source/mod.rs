//! Where pictures come from.

mod glob;
mod picture;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

pub use glob::expand_glob;
pub use picture::{Limits, Picture, PictureError};

/// Extensions of the files that are taken from directories and patterns.
const IMAGE_EXTENSIONS: &[&str] = &["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"];

/// The pictures that sources stand for.
#[derive(Debug, Default)]
pub struct Sources {
    /// Image files, in the order of the sources; those of a directory or pattern sorted.
    pub images: Vec<PathBuf>,
    /// Files in directories, patterns and lists that are not images.
    pub skipped: Vec<PathBuf>,
    /// Sources that stand for nothing, and why.
    pub problems: Vec<String>,
}

impl Sources {
    /// Expands files, directories (not those inside them), patterns with `*`, and `.txt` lists with a path per line.
    pub fn expand<'a>(sources: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut expanded = Self::default();
        for source in sources {
            if source.is_dir() {
                expanded.add_directory(source);
            } else if !source.exists() && source.to_string_lossy().contains('*') {
                expanded.add_glob(source);
            } else if extension(source) == "txt" && source.is_file() {
                expanded.add_list(source);
            } else {
                // A file that cannot be read is reported when it is its turn.
                expanded.images.push(source.to_owned());
            }
        }
        expanded
    }

    fn add_directory(&mut self, directory: &Path) {
        let entries = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
        match entries {
            Ok(paths) => self.add_files(paths, directory),
            Err(error) => self.problems.push(format!("{}: {error}", directory.display())),
        }
    }

    fn add_glob(&mut self, pattern: &Path) {
        match pattern.to_str() {
            Some(text) => self.add_files(expand_glob(text), pattern),
            None => self.problems.push(format!("{}: a pattern must be UTF-8", pattern.display())),
        }
    }

    fn add_files(&mut self, mut paths: Vec<PathBuf>, source: &Path) {
        paths.sort();
        let before = self.images.len();
        for path in paths.into_iter().filter(|path| !path.is_dir()) {
            if IMAGE_EXTENSIONS.contains(&extension(&path).as_str()) {
                self.images.push(path);
            } else {
                self.skipped.push(path);
            }
        }
        if self.images.len() == before {
            self.problems.push(format!("{}: no images there", source.display()));
        }
    }

    /// A path that does not exist as it is written is looked for beside the list.
    fn add_list(&mut self, list: &Path) {
        match fs::read_to_string(list) {
            Ok(text) => {
                let beside = list.parent().unwrap_or(Path::new(""));
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                self.images.extend(lines.map(|line| {
                    let path = Path::new(line);
                    if path.exists() { path.to_owned() } else { beside.join(path) }
                }));
            }
            Err(error) => self.problems.push(format!("{}: {error}", list.display())),
        }
    }

    /// One line about the files that are not images; `None` when there are none.
    pub fn skipped_line(&self) -> Option<String> {
        const NAMED: usize = 5;
        let names: Vec<_> = self.skipped.iter().take(NAMED).map(|path| path.display().to_string()).collect();
        let more = if self.skipped.len() > NAMED { ", ..." } else { "" };
        let (count, plural) = (self.skipped.len(), if self.skipped.len() == 1 { "" } else { "s" });
        (count > 0).then(|| format!("skipped {count} file{plural} that are not images: {}{more}", names.join(", ")))
    }
}

/// Extension in lower case; empty when there is none.
fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}
