//! Copies of videos and streams.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::app::failure::Failure;
use crate::app::source::{FrameKind, Picture};
use crate::app::video::{Thinning, VideoWriter};

/// Frames per second of a source that does not say how many it has.
const USUAL_FPS: f64 = 30.0;

/// A video while it is written.
struct Copy {
    path: PathBuf,
    writer: VideoWriter,
    size: [usize; 2],
    thinning: Option<Thinning>,
    begun: Instant,
}

/// Videos that are being written, by source.
#[derive(Default)]
pub struct Videos {
    open: HashMap<PathBuf, Copy>,
    target_fps: Option<f64>,
}

impl Videos {
    /// Copies of at most this many frames per second, evenly chosen; of all frames when `None`.
    pub fn new(target_fps: Option<f64>) -> Self {
        Self { open: HashMap::new(), target_fps }
    }

    /// Writes a frame of a video or stream; `name` gives the path of a copy that is begun. A frame of a stream is shown
    /// when it came. A video that changes its size goes on in another file.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming a file that cannot be written.
    pub fn save(
        &mut self,
        source: &Path,
        kind: FrameKind,
        picture: &Picture,
        name: impl FnOnce() -> PathBuf,
    ) -> Result<(), Failure> {
        let (fps, index, live) = match kind {
            FrameKind::Video { fps, index, .. } => {
                // Videos come one after another.
                let others: Vec<PathBuf> = self.open.keys().filter(|other| *other != source).cloned().collect();
                others.iter().try_for_each(|other| self.finish_one(other))?;
                (fps, index, false)
            }
            FrameKind::Live { fps, index, .. } => (fps, index, true),
            FrameKind::Image => (None, 0, false),
        };
        let size = [picture.width(), picture.height()];
        if self.open.get(source).is_some_and(|copy| copy.size != size) {
            self.finish_one(source)?;
        }
        if !self.open.contains_key(source) {
            let fps = fps.unwrap_or(USUAL_FPS);
            let target = self.target_fps.filter(|_| !live);
            let thinning = target.and_then(|target| Thinning::new(fps, target));
            let fps = if thinning.is_some() { target.unwrap_or(fps) } else { fps };
            let path = name();
            let writer = VideoWriter::create(&path, size[0], size[1], fps)
                .map_err(|error| Failure::new(format_args!("cannot write {}: {error}", path.display())))?;
            self.open.insert(source.to_owned(), Copy { path, writer, size, thinning, begun: Instant::now() });
        }
        let copy = self.open.get_mut(source).expect("it was inserted above");
        if copy.thinning.is_some_and(|thinning| !thinning.keeps(index)) {
            return Ok(());
        }
        let pushed = match live {
            true => copy.writer.push_at(picture.pixels(), copy.begun.elapsed()),
            false => copy.writer.push(picture.pixels()),
        };
        pushed.map_err(|error| Failure::new(format_args!("cannot write {}: {error}", copy.path.display())))
    }

    /// Writes what is left of all videos.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming a file that cannot be written.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let sources: Vec<PathBuf> = self.open.keys().cloned().collect();
        sources.iter().try_for_each(|source| self.finish_one(source))
    }

    fn finish_one(&mut self, source: &Path) -> Result<(), Failure> {
        let Some(Copy { path, writer, .. }) = self.open.remove(source) else { return Ok(()) };
        writer.finish().map_err(|error| Failure::new(format_args!("cannot save {}: {error}", path.display())))
    }
}
