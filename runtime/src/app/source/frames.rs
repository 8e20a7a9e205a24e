//! The pictures of all sources, one after another.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expand::{LiveSource, Sources, VideoSource};
use super::live::{Live, LiveEvent, LiveReport, OpenLive, Reconnect};
use crate::app::interrupt::Interrupt;
use crate::app::video::pipe::{Contents, read_contents};
use crate::app::video::{self, FfmpegReader, FrameReader, Input, VideoError};
use crate::picture::{Limits, Picture};

/// How sources are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of every so many frames of a video or stream, the first one is taken.
    pub vid_stride: NonZeroUsize,
    /// How large a picture may be.
    pub limits: Limits,
    /// What is done when a stream is lost.
    pub reconnect: Reconnect,
    /// Ends the frames early.
    pub interrupt: Interrupt,
}

impl Default for Options {
    /// Every frame.
    fn default() -> Self {
        Self {
            vid_stride: NonZeroUsize::MIN,
            limits: Limits::default(),
            reconnect: Reconnect::default(),
            interrupt: Interrupt::default(),
        }
    }
}

/// A picture and where it comes from.
#[derive(Debug)]
pub struct Frame {
    /// The picture.
    pub picture: Picture,
    /// The file, device or address; `stdin` for the program's input.
    pub path: PathBuf,
    /// The number of the source among all of them, from 1 to [`Frames::sources`].
    pub source: usize,
    /// What kind of source it is.
    pub kind: FrameKind,
}

/// The kind of a source, and where in it a frame stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrameKind {
    /// An image of its own.
    Image,
    /// A frame of a video.
    Video {
        /// Frames of this video before it; with a stride, of those that are taken.
        index: u64,
        /// Frames in all, as the video says, which may be a few off; with a stride, of those that are taken.
        count: Option<u64>,
        /// Frames per second, when the video says so; with a stride, of those that are taken.
        fps: Option<f64>,
    },
    /// The newest frame of a stream or webcam.
    Live {
        /// Frames of this source before it, dropped ones among them.
        index: u64,
        /// Frames that were dropped so far because newer ones came.
        dropped: u64,
        /// Frames per second, when the source says so.
        fps: Option<f64>,
        /// How long ago the frame came.
        age: Duration,
    },
}

/// Something that is wrong with a source. The frames go on behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The source, as in [`Frame::path`].
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// It may pass, as when a stream is lost and will be connected again.
    pub passing: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.passing { "warning" } else { "error" };
        write!(f, "{severity}: {}: {}", self.path.display(), self.message)
    }
}

/// Yields the pictures of sources: images, then videos, then the newest frames of everything live.
pub struct Frames {
    images: std::vec::IntoIter<PathBuf>,
    videos: std::vec::IntoIter<VideoSource>,
    live: Vec<LiveSource>,
    sources: usize,
    /// Sources begun so far.
    begun: usize,
    video: Option<OpenVideo>,
    streams: Option<Live>,
    options: Options,
}

/// A video that is being read.
struct OpenVideo {
    path: PathBuf,
    reader: Box<dyn FrameReader>,
    index: u64,
}

impl Frames {
    /// The frames of expanded sources.
    pub fn new(sources: Sources, options: Options) -> Self {
        let count = sources.images.len() + sources.videos.len() + sources.live.len();
        Self {
            images: sources.images.into_iter(),
            videos: sources.videos.into_iter(),
            live: sources.live,
            sources: count,
            begun: 0,
            video: None,
            streams: None,
            options,
        }
    }

    /// Images, videos and streams in all.
    pub fn sources(&self) -> usize {
        self.sources
    }

    /// What became of the frames of live sources; empty when there are none.
    pub fn live_reports(&self) -> Vec<LiveReport> {
        self.streams.as_ref().map(Live::reports).unwrap_or_default()
    }

    fn next_image(&mut self) -> Option<Result<Frame, Problem>> {
        let path = self.images.next()?;
        self.begun += 1;
        Some(match Picture::open(&path, &self.options.limits) {
            Ok(picture) => Ok(Frame { picture, path, source: self.begun, kind: FrameKind::Image }),
            Err(error) => Err(problem(path, &error.into())),
        })
    }

    fn next_video_frame(&mut self) -> Option<Result<Frame, Problem>> {
        loop {
            if let Some(open) = &mut self.video {
                match open.read(self.options.vid_stride) {
                    Ok(Some((picture, kind))) => {
                        return Some(Ok(Frame { picture, path: open.path.clone(), source: self.begun, kind }));
                    }
                    Ok(None) => self.video = None,
                    Err(error) => {
                        let problem = problem(open.path.clone(), &error);
                        // A damaged picture among others does not end them.
                        if !matches!(error, VideoError::Picture(_)) {
                            self.video = None;
                        }
                        return Some(Err(problem));
                    }
                }
                continue;
            }
            let source = self.videos.next()?;
            self.begun += 1;
            let path = source.name();
            match open_video(&source, &self.options.limits) {
                Ok(Contents::Frames(reader)) => self.video = Some(OpenVideo { path, reader, index: 0 }),
                Ok(Contents::Picture(picture)) => {
                    return Some(Ok(Frame { picture, path, source: self.begun, kind: FrameKind::Image }));
                }
                Err(error) => return Some(Err(problem(path, &error))),
            }
        }
    }

    fn next_live_frame(&mut self) -> Option<Result<Frame, Problem>> {
        if self.streams.is_none() {
            if self.live.is_empty() {
                return None;
            }
            let limits = self.options.limits;
            let opens =
                std::mem::take(&mut self.live).into_iter().map(|source| (source.name(), opener(source, limits)));
            let Options { vid_stride, reconnect, interrupt, .. } = &self.options;
            match Live::start(opens.collect(), *vid_stride, *reconnect, interrupt.clone()) {
                Ok(streams) => self.streams = Some(streams),
                Err(error) => return Some(Err(problem("live sources".into(), &error.into()))),
            }
        }
        let streams = self.streams.as_mut()?;
        let event = streams.wait()?;
        let path = |source: usize| streams.names()[source].clone();
        Some(match event {
            LiveEvent::Frame { source, picture, index, dropped, fps, age } => Ok(Frame {
                picture,
                path: path(source),
                source: self.begun + source + 1,
                kind: FrameKind::Live { index, dropped, fps, age },
            }),
            LiveEvent::Warning { source, message } => Err(Problem { path: path(source), message, passing: true }),
            LiveEvent::Failed { source, message } => Err(Problem { path: path(source), message, passing: false }),
        })
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.options.interrupt.is_set() {
            return None;
        }
        let image = self.next_image();
        let video = image.or_else(|| self.next_video_frame());
        video.or_else(|| self.next_live_frame())
    }
}

impl OpenVideo {
    /// The next frame that is taken.
    fn read(&mut self, stride: NonZeroUsize) -> Result<Option<(Picture, FrameKind)>, VideoError> {
        if self.index > 0 {
            for _ in 1..stride.get() {
                if !self.reader.skip()? {
                    return Ok(None);
                }
            }
        }
        let Some(picture) = self.reader.read()? else { return Ok(None) };
        let kind = FrameKind::Video {
            index: self.index,
            count: self.reader.frames().map(|count| count.div_ceil(stride.get() as u64)),
            fps: self.reader.fps().map(|fps| fps / stride.get() as f64),
        };
        self.index += 1;
        Ok(Some((picture, kind)))
    }
}

fn open_video(source: &VideoSource, limits: &Limits) -> Result<Contents, VideoError> {
    match source {
        VideoSource::File(path) => Ok(Contents::Frames(video::open(path, limits)?)),
        VideoSource::Pipe(path) => read_contents(Box::new(File::open(path)?) as Box<dyn Read + Send>, limits),
        VideoSource::Stdin => read_contents(Box::new(std::io::stdin()), limits),
        VideoSource::Address(address) => {
            Ok(Contents::Frames(Box::new(FfmpegReader::open(&Input::Address(address.clone()), limits)?)))
        }
    }
}

fn opener(source: LiveSource, limits: Limits) -> OpenLive {
    match source {
        LiveSource::Webcam(path) => Box::new(move || open_webcam(&path, &limits)),
        LiveSource::Address(address) => {
            let input = Input::Live(address);
            Box::new(move || Ok(Box::new(FfmpegReader::open(&input, &limits)?)))
        }
    }
}

#[cfg(target_os = "linux")]
fn open_webcam(path: &Path, limits: &Limits) -> Result<Box<dyn FrameReader>, VideoError> {
    Ok(Box::new(super::webcam::Webcam::open(path, limits)?))
}

#[cfg(not(target_os = "linux"))]
fn open_webcam(_: &Path, _: &Limits) -> Result<Box<dyn FrameReader>, VideoError> {
    Err(VideoError::Damaged("webcams are read on Linux only".into()))
}

fn problem(path: PathBuf, error: &VideoError) -> Problem {
    Problem { path, message: error.to_string(), passing: false }
}
