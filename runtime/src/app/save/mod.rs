//! What a run leaves on disk, in the layout of YOLOv5.
//!
//! Every file appears whole: pictures, crops and labels when their picture is done, tables at the end of the run.

mod crops;
mod directory;
mod encode;
mod labels;
mod names;
mod percent_g;
mod results;
mod table;
mod videos;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use directory::{next_annotations, next_run};
pub use encode::encode;
pub use labels::{LabelFormat, label_lines};
pub use percent_g::percent_g;
pub use videos::Videos;

use super::draw::{self, Canvas, Style};
use super::failure::Failure;
use super::files;
use super::source::{FrameKind, Picture};
use crate::detect::{Detections, Pipeline};
use crops::Crops;
use names::Names;
use results::Results;
use table::Table;

/// Extension of the copies of videos.
const VIDEO_EXTENSION: &str = "mp4";

/// What to save.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Copies of the pictures with the objects drawn in.
    pub copies: Option<Style>,
    /// `labels/<name>.txt` for every picture with objects.
    pub labels: Option<LabelFormat>,
    /// `crops/<class>/<name>.jpg`.
    pub crops: bool,
    /// `predictions.csv`.
    pub table: bool,
    /// `predictions.json`.
    pub results: bool,
}

impl Wanted {
    /// Whether nothing is to be saved.
    pub fn nothing(&self) -> bool {
        self.copies.is_none() && self.labels.is_none() && !self.crops && !self.table && !self.results
    }
}

/// Why something about a picture is not saved.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    /// The picture does not fit into a file of its format; others may.
    #[error("cannot save a copy: {0}")]
    Unfit(#[from] image::ImageError),
    /// Files cannot be written.
    #[error("{0:?}")]
    Failed(Failure),
}

impl From<Failure> for NotSaved {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A directory with what a run leaves.
pub struct RunDir {
    directory: PathBuf,
    names: Names,
    copies: Option<Style>,
    videos: Videos,
    /// Stems of the names of videos and streams.
    moving: HashMap<PathBuf, OsString>,
    labels: Option<LabelFormat>,
    labelled: usize,
    crops: Option<Crops>,
    table: Option<Table>,
    results: Option<Results>,
}

impl RunDir {
    /// Saves into `directory`, which is created when it is missing; never over one of `sources`.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming what cannot be made.
    pub fn open(directory: &Path, wanted: &Wanted, sources: &[PathBuf], pipeline: &Pipeline) -> Result<Self, Failure> {
        files::create_directory(directory)?;
        if wanted.labels.is_some() {
            files::create_directory(&directory.join("labels"))?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            names: Names::new(directory, sources),
            copies: wanted.copies,
            videos: Videos::default(),
            moving: HashMap::new(),
            labels: wanted.labels,
            labelled: 0,
            crops: wanted.crops.then(|| Crops::new(directory)),
            table: wanted.table.then(|| Table::create(directory)).transpose()?,
            results: wanted.results.then(|| Results::create(directory, pipeline)).transpose()?,
        })
    }

    /// Saves what is wanted of a picture or frame; `source` is the path it comes from.
    ///
    /// # Errors
    /// [`NotSaved`].
    pub fn save(
        &mut self,
        source: &Path,
        kind: FrameKind,
        mut picture: Picture,
        found: &Detections,
        pipeline: &Pipeline,
    ) -> Result<(), NotSaved> {
        let extension = encode::copy_extension(source);
        let (stem, copy, frame) = match kind {
            FrameKind::Image => {
                let named = self.names.claim(source, &extension);
                (named.stem, named.copy, None)
            }
            FrameKind::Video { index, .. } | FrameKind::Live { index, .. } => {
                let names = &mut self.names;
                let stem = self
                    .moving
                    .entry(source.to_owned())
                    .or_insert_with(|| names.claim(source, VIDEO_EXTENSION.as_ref()).stem);
                (stem.clone(), self.directory.join(stem).with_added_extension(VIDEO_EXTENSION), Some(index + 1))
            }
        };
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        if let Some(table) = &mut self.table {
            table.add(&name, found, |id| pipeline.label(id).into_owned())?;
        }
        if let Some(results) = &mut self.results {
            results.add(source, frame, found)?;
        }
        if let Some(format) = self.labels {
            let mut name = stem.clone();
            if let Some(frame) = frame {
                name.push(format!("_{frame}"));
            }
            name.push(".txt");
            let path = self.directory.join("labels").join(name);
            self.labelled += usize::from(replace_labels(&path, &picture, found, format)?);
        }
        if let Some(crops) = &mut self.crops {
            for (xyxy, _, class_id) in worst_first(found) {
                crops.save(&pipeline.label(class_id), &stem, picture.as_ref(), xyxy)?;
            }
        }
        if let Some(style) = &self.copies {
            draw_on(&mut picture, found, style, pipeline);
            match kind {
                FrameKind::Image => files::replace(&copy, &encode(picture.as_ref(), &extension)?)?,
                _ => self.videos.save(source, kind, &picture, || copy)?,
            }
        }
        Ok(())
    }

    /// Where the run is saved.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Puts the files of the whole run in their places; returns how many pictures have a label file, when those were
    /// wanted.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming a file that cannot be written.
    pub fn finish(mut self) -> Result<Option<usize>, Failure> {
        self.videos.finish()?;
        self.table.map_or(Ok(()), Table::finish)?;
        self.results.map_or(Ok(()), Results::finish)?;
        Ok(self.labels.map(|_| self.labelled))
    }
}

/// Writes the label file of a picture with objects, and removes one of an earlier run when there are none. Returns
/// whether there is a file.
fn replace_labels(path: &Path, picture: &Picture, found: &Detections, format: LabelFormat) -> Result<bool, Failure> {
    if found.is_empty() {
        // There is none as a rule.
        let _ = std::fs::remove_file(path);
        return Ok(false);
    }
    let lines = label_lines(found, [picture.width(), picture.height()], format);
    files::replace(path, lines.as_bytes()).map(|()| true)
}

/// The objects in the order of YOLOv5's files.
fn worst_first(found: &Detections) -> impl Iterator<Item = ([f32; 4], f32, usize)> {
    found.iter().collect::<Vec<_>>().into_iter().rev()
}

/// Draws the objects on their picture.
pub fn draw_on(picture: &mut Picture, found: &Detections, style: &Style, pipeline: &Pipeline) {
    let (width, height) = (picture.width(), picture.height());
    draw::annotate(&mut Canvas::new(picture.pixels_mut(), width, height), found, style, |id| pipeline.label(id));
}
