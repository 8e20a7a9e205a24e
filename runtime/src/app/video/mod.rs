//! Moving pictures: reading them, frame by frame, and writing them.
//!
//! - [`open`] reads a video file: MP4 with H.264 by decoders in this program, everything else through the `ffmpeg`
//!   program.
//! - [`pipe`] reads pictures that follow one another in a byte stream.
//! - [`VideoWriter`] writes MP4 files that play however the program ends.

mod colour;
mod ffmpeg;
mod fragment;
mod mp4;
pub mod pipe;
mod rate;
mod reader;
mod sps;
mod writer;

pub use colour::{Colour, Matrix, packed_yuyv_to_rgb};
pub use ffmpeg::{FfmpegReader, Input};
pub use rate::Thinning;
pub use reader::{FrameReader, Stopper, VideoError, open};
pub use writer::VideoWriter;
