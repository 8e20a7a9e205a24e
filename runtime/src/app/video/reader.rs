//! What every kind of video has in common.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use super::ffmpeg::{FfmpegReader, Input};
use super::mp4::{Mp4Reader, Opened};
use crate::app::source::{Limits, Picture, PictureError};

/// Frames in the order in which they are shown.
pub trait FrameReader: Send {
    /// The next frame; `None` after the last.
    ///
    /// # Errors
    /// [`VideoError`]; nothing more can be read then.
    fn read(&mut self) -> Result<Option<Picture>, VideoError>;

    /// Passes over a frame; false after the last.
    ///
    /// # Errors
    /// As [`FrameReader::read`].
    fn skip(&mut self) -> Result<bool, VideoError> {
        Ok(self.read()?.is_some())
    }

    /// Frames per second, when the video says so.
    fn fps(&self) -> Option<f64> {
        None
    }

    /// Frames in all, when the video says so. It may be off by a few.
    fn frames(&self) -> Option<u64> {
        None
    }

    /// Ends a blocked [`FrameReader::read`] from another thread, where that is possible.
    fn stopper(&self) -> Option<Stopper> {
        None
    }
}

/// Ends the program that frames come from.
#[derive(Clone, Debug)]
pub struct Stopper(pub(super) Arc<Mutex<Child>>);

impl Stopper {
    /// Ends the program; its reader then sees the end of its frames.
    pub fn stop(&self) {
        // A program that has ended already cannot be ended again.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }
}

/// A video that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame cannot be decoded or is too large.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// What this program cannot read alone, and no `ffmpeg` to help.
    #[error("{what} needs the `ffmpeg` program, which is not on PATH: install it (`apt-get install ffmpeg`)")]
    NoFfmpeg {
        /// What it is needed for.
        what: String,
    },
    /// `ffmpeg` failed, in its own words.
    #[error("ffmpeg: {0}")]
    Ffmpeg(String),
    /// The bytes make no sense.
    #[error("{0}")]
    Damaged(String),
    /// A frame is not as large as those before it.
    #[error("a frame of {width}x{height} pixels in a video of {expected_width}x{expected_height}")]
    SizeChanged {
        /// Pixels per row.
        width: usize,
        /// Rows.
        height: usize,
        /// Pixels per row of the video.
        expected_width: usize,
        /// Rows of the video.
        expected_height: usize,
    },
}

/// Opens a video file.
///
/// MP4 files with progressive 8-bit 4:2:0 H.264 are decoded in this program; when they turn out to use a feature that
/// its decoder does not know, and for all other files, `ffmpeg` decodes. Rotation is applied either way.
///
/// # Errors
/// [`VideoError`]; the message does not name the file.
pub fn open(path: &Path, limits: &Limits) -> Result<Box<dyn FrameReader>, VideoError> {
    // So that a missing file is not said in the words of another program.
    std::fs::File::open(path)?;
    match Mp4Reader::open(path, limits) {
        Ok(Opened::Reader(reader)) => Ok(Box::new(WithFallback::new(reader, path, limits))),
        Ok(Opened::Other(what)) => with_ffmpeg(path, limits, what),
        // Nobody can read what is not there.
        Err(error @ (VideoError::Io(_) | VideoError::Picture(_))) => Err(error),
        Err(error) => {
            let damaged = error.to_string();
            with_ffmpeg(path, limits, damaged.clone()).map_err(|other| match other {
                VideoError::NoFfmpeg { .. } => VideoError::Damaged(damaged),
                other => other,
            })
        }
    }
}

fn with_ffmpeg(path: &Path, limits: &Limits, what: String) -> Result<Box<dyn FrameReader>, VideoError> {
    let reader = FfmpegReader::open(&Input::File(path.to_owned()), limits).map_err(|error| match error {
        VideoError::NoFfmpeg { .. } => VideoError::NoFfmpeg { what },
        other => other,
    })?;
    Ok(Box::new(reader))
}

/// Goes on with `ffmpeg` where the decoder in this program cannot.
struct WithFallback {
    reader: Box<dyn FrameReader>,
    path: PathBuf,
    limits: Limits,
    /// Frames read or passed over so far.
    done: u64,
    fell_back: bool,
}

impl WithFallback {
    fn new(reader: Box<Mp4Reader>, path: &Path, limits: &Limits) -> Self {
        Self { reader, path: path.to_owned(), limits: *limits, done: 0, fell_back: false }
    }

    fn attempt<T>(
        &mut self,
        mut next: impl FnMut(&mut dyn FrameReader) -> Result<T, VideoError>,
    ) -> Result<T, VideoError> {
        let error = match next(self.reader.as_mut()) {
            Ok(value) => {
                self.done += 1;
                return Ok(value);
            }
            Err(error) => error,
        };
        let undecodable = matches!(error, VideoError::Damaged(_));
        if self.fell_back || !undecodable {
            return Err(error);
        }
        self.fell_back = true;
        match FfmpegReader::open(&Input::File(self.path.clone()), &self.limits) {
            Ok(reader) => self.reader = Box::new(reader),
            Err(VideoError::NoFfmpeg { .. }) => return Err(error),
            Err(other) => return Err(other),
        }
        for _ in 0..self.done {
            if !self.reader.skip()? {
                break;
            }
        }
        self.attempt(next)
    }
}

impl FrameReader for WithFallback {
    fn read(&mut self) -> Result<Option<Picture>, VideoError> {
        self.attempt(|reader| reader.read())
    }

    fn skip(&mut self) -> Result<bool, VideoError> {
        self.attempt(|reader| reader.skip())
    }

    fn fps(&self) -> Option<f64> {
        self.reader.fps()
    }

    fn frames(&self) -> Option<u64> {
        self.reader.frames()
    }
}
