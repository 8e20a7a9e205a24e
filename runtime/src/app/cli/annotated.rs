//! Where annotated copies are saved.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::app::draw::{self, Canvas};
use crate::app::failure::Failure;
use crate::app::files;
use crate::app::source::{Frame, FrameKind, Picture};
use crate::app::video::VideoWriter;
use crate::detect::{Detections, Pipeline};

const JPEG_QUALITY: u8 = 90;

/// A video while it is written.
struct VideoCopy {
    path: PathBuf,
    writer: VideoWriter,
    size: [usize; 2],
    begun: Instant,
}

/// A directory of annotated copies, one `<name>.jpg` per picture and one `<name>.mp4` per video or stream.
pub(super) struct AnnotatedDir {
    directory: PathBuf,
    /// Copies of videos that are not finished, by source.
    videos: HashMap<PathBuf, VideoCopy>,
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
        Ok(Self { directory, videos: HashMap::new(), taken })
    }

    /// Draws on a frame and saves it: as a picture, or as a frame of a video.
    pub(super) fn save(&mut self, frame: Frame, found: &Detections, pipeline: &Pipeline) -> Result<(), Failure> {
        let Frame { mut picture, path, kind, .. } = frame;
        let (width, height) = (picture.width(), picture.height());
        draw::annotate(&mut Canvas::new(picture.pixels_mut(), width, height), found, |id| pipeline.label(id));
        match kind {
            FrameKind::Image => {
                let path = self.free_path(&path, "jpg");
                let failed = |error| Failure::new(format_args!("cannot save {}: {error}", path.display()));
                files::replace(&path, &picture.to_jpeg(JPEG_QUALITY).map_err(failed)?)
            }
            FrameKind::Video { fps, .. } => {
                // Videos come one after another.
                let others: Vec<PathBuf> = self.videos.keys().filter(|source| **source != path).cloned().collect();
                others.iter().try_for_each(|source| self.finish_video(source))?;
                self.save_video_frame(&path, &picture, fps, false)
            }
            FrameKind::Live { fps, .. } => self.save_video_frame(&path, &picture, fps, true),
        }
    }

    /// Writes what is left of videos.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let sources: Vec<PathBuf> = self.videos.keys().cloned().collect();
        sources.iter().try_for_each(|source| self.finish_video(source))
    }

    fn finish_video(&mut self, source: &Path) -> Result<(), Failure> {
        let Some(VideoCopy { path, writer, .. }) = self.videos.remove(source) else { return Ok(()) };
        writer.finish().map_err(|error| Failure::new(format_args!("cannot save {}: {error}", path.display())))
    }

    /// A frame of a stream is shown when it came. A video that changes its size goes on in another file.
    fn save_video_frame(
        &mut self,
        source: &Path,
        picture: &Picture,
        fps: Option<f64>,
        is_live: bool,
    ) -> Result<(), Failure> {
        const USUAL_FPS: f64 = 30.0;
        let size = [picture.width(), picture.height()];
        if self.videos.get(source).is_some_and(|copy| copy.size != size) {
            self.finish_video(source)?;
        }
        if !self.videos.contains_key(source) {
            let path = self.free_path(source, "mp4");
            let writer = VideoWriter::create(&path, size[0], size[1], fps.unwrap_or(USUAL_FPS))
                .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", path.display())))?;
            self.videos.insert(source.to_owned(), VideoCopy { path, writer, size, begun: Instant::now() });
        }
        let copy = self.videos.get_mut(source).expect("it was inserted above");
        let pushed = match is_live {
            true => copy.writer.push_at(picture.pixels(), copy.begun.elapsed()),
            false => copy.writer.push(picture.pixels()),
        };
        pushed.map_err(|error| Failure::new(format_args!("cannot write {}: {error}", copy.path.display())))
    }

    /// `<name>.jpg`, then `<name>-2.jpg`, `<name>-3.jpg`, ... until it is neither a source nor a copy of this run.
    fn free_path(&mut self, source: &Path, extension: &str) -> PathBuf {
        // The last part of an address may be empty.
        let stem = source.file_stem().unwrap_or("stream".as_ref());
        let mut number = 1;
        loop {
            let mut name = OsString::from(stem);
            if number > 1 {
                name.push(format!("-{number}"));
            }
            name.push(".");
            name.push(extension);
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
