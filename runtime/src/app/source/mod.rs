//! Where pictures come from: files, folders, patterns, lists, pipes, videos, streams, webcams.
//!
//! [`Sources::expand`] turns what a user names into files and streams. [`Frames`] then yields their pictures one after
//! another: images first, then what comes through pipes, then every frame of the videos, and last, until the user ends
//! it, the newest frames of everything live.
//!
//! ```text
//! let sources = Sources::expand(&args.source);
//! let mut frames = Frames::new(sources, Options::default());
//! for frame in frames.by_ref() {
//!     match frame {
//!         Ok(frame) => { /* frame.picture, frame.path, frame.kind */ }
//!         Err(problem) => complain(problem),      // the next call goes on behind it
//!     }
//! }
//! frames.live_reports();                          // frames seen and dropped, one line per stream
//! ```
//!
//! [`VideoWriter`](super::video::VideoWriter) saves what was drawn on frames.

mod expand;
mod frames;
mod glob;
mod live;
#[cfg(target_os = "linux")]
pub mod webcam;

pub use crate::picture::{Limits, Picture, PictureError};
pub use expand::{LiveSource, Sources, VideoSource};
pub use frames::{Frame, FrameKind, Frames, Options, Problem};
pub use glob::expand_glob;
pub use live::{Live, LiveEvent, LiveReport, OpenLive, Reconnect};
