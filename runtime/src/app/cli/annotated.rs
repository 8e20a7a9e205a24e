//! Where annotated copies are saved.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::app::draw::{self, Canvas};
use crate::app::failure::Failure;
use crate::app::files;
use crate::app::source::Picture;
use crate::detect::{Detections, Pipeline};

const JPEG_QUALITY: u8 = 90;

/// A directory of annotated copies, one `<name>.jpg` per picture.
pub(super) struct AnnotatedDir {
    directory: PathBuf,
    /// Files that must not be overwritten: the sources, and the copies of this run.
    taken: HashSet<PathBuf>,
}

impl AnnotatedDir {
    /// Creates the directory when it is missing.
    pub(super) fn create(directory: &Path, sources: &[PathBuf]) -> Result<Self, Failure> {
        files::create_directory(directory)?;
        let directory = std::fs::canonicalize(directory)
            .map_err(|error| Failure::new(format_args!("cannot open {}: {error}", directory.display())))?;
        let taken = sources.iter().filter_map(|source| std::fs::canonicalize(source).ok()).collect();
        Ok(Self { directory, taken })
    }

    /// Draws on `picture` and saves it.
    pub(super) fn save(
        &mut self,
        source: &Path,
        mut picture: Picture,
        found: &Detections,
        pipeline: &Pipeline,
    ) -> Result<(), Failure> {
        let (width, height) = (picture.width(), picture.height());
        draw::annotate(&mut Canvas::new(picture.pixels_mut(), width, height), found, |id| pipeline.label(id));
        let path = self.free_path(source);
        let failed = |error| Failure::new(format_args!("cannot save {}: {error}", path.display()));
        files::replace(&path, &picture.to_jpeg(JPEG_QUALITY).map_err(failed)?)
    }

    /// `<name>.jpg`, then `<name>-2.jpg`, `<name>-3.jpg`, ... until it is neither a source nor a copy of this run.
    fn free_path(&mut self, source: &Path) -> PathBuf {
        let stem = source.file_stem().unwrap_or_default();
        let mut number = 1;
        loop {
            let mut name = OsString::from(stem);
            if number > 1 {
                name.push(format!("-{number}"));
            }
            name.push(".jpg");
            let path = self.directory.join(name);
            // An existing link may lead to a source.
            let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if !self.taken.contains(&real) && self.taken.insert(path.clone()) {
                return path;
            }
            number += 1;
        }
    }
}
