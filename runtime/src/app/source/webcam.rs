//! Webcams, through the Video4Linux2 interface of the kernel.

use std::io;
use std::path::{Path, PathBuf};

use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, CapabilityFlags, Device, Fract};

use crate::app::video::{Colour, FrameReader, VideoError, packed_yuyv_to_rgb};
use crate::picture::{Limits, Picture};

/// The size that is asked for; a camera gives the nearest that it has.
const WANTED: (u32, u32) = (1280, 720);

/// The frames per second that are asked for.
const WANTED_FPS: u32 = 30;

/// Frames of a camera.
pub struct Webcam {
    stream: ReadStream,
    encoding: Encoding,
    fps: Option<f64>,
    limits: Limits,
}

/// How a camera encodes a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A JPEG file.
    Jpeg,
    /// Packed 4:2:2.
    Yuyv {
        /// Bytes from one row to the next.
        stride: usize,
        /// Pixels per row.
        width: usize,
        /// Rows.
        height: usize,
    },
}

impl Webcam {
    /// The device file of the camera with a number.
    pub fn path(number: u32) -> PathBuf {
        PathBuf::from(format!("/dev/video{number}"))
    }

    /// Starts a camera.
    ///
    /// # Errors
    /// [`VideoError::Damaged`] that says why there is no picture from it.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, VideoError> {
        if !path.exists() {
            return Err(VideoError::Damaged(no_camera(&cameras())));
        }
        let explained = |error: io::Error| VideoError::Damaged(explain(&error));
        let device = Device::open(path).map_err(explained)?;
        let capabilities = device.capabilities().map_err(explained)?.device_capabilities();
        if !capabilities.contains(CapabilityFlags::VIDEO_CAPTURE) {
            return Err(VideoError::Damaged("this device takes no pictures; pass another number".into()));
        }
        let offered = device.formats(BufType::VIDEO_CAPTURE).map(|format| format.map(|f| f.pixel_format()));
        let offered = offered.collect::<io::Result<Vec<_>>>().map_err(explained)?;
        // JPEG first: at the wanted size few connections carry 30 raw frames a second.
        let format =
            [PixelFormat::MJPG, PixelFormat::JPEG, PixelFormat::YUYV].into_iter().find(|f| offered.contains(f));
        let Some(format) = format else {
            return Err(VideoError::Damaged(format!("the camera offers {offered:?}; MJPEG and YUYV are read")));
        };
        let capture = device.video_capture(PixFormat::new(WANTED.0, WANTED.1, format)).map_err(explained)?;
        let interval = capture.set_frame_interval(Fract::new(1, WANTED_FPS)).ok();
        let fps = interval.map(|interval| f64::from(interval.denominator()) / f64::from(interval.numerator()));
        let chosen = capture.format();
        let (width, height) = (chosen.width() as usize, chosen.height() as usize);
        let encoding = match chosen.pixel_format() {
            PixelFormat::YUYV => Encoding::Yuyv { stride: chosen.bytes_per_line() as usize, width, height },
            _ => Encoding::Jpeg,
        };
        let stream = capture.into_stream().map_err(explained)?;
        Ok(Self { stream, encoding, fps: fps.filter(|fps| fps.is_finite() && *fps > 0.0), limits: *limits })
    }
}

impl FrameReader for Webcam {
    fn read(&mut self) -> Result<Option<Picture>, VideoError> {
        loop {
            let (encoding, limits) = (self.encoding, self.limits);
            let frame = self.stream.dequeue(|buffer| {
                // Cameras mark frames that were damaged on the way.
                Ok(if buffer.is_error() { None } else { decode(&buffer, encoding, &limits) })
            });
            match frame {
                Ok(Some(picture)) => return Ok(Some(picture)),
                Ok(None) => {}
                Err(error) => return Err(VideoError::Damaged(explain(&error))),
            }
        }
    }

    fn fps(&self) -> Option<f64> {
        self.fps
    }
}

/// The picture of a frame; `None` when it is damaged.
pub fn decode(bytes: &[u8], encoding: Encoding, limits: &Limits) -> Option<Picture> {
    match encoding {
        Encoding::Jpeg => Picture::decode(bytes, limits).ok(),
        Encoding::Yuyv { stride, width, height } => {
            let rgb = packed_yuyv_to_rgb(bytes, stride, width, height, Colour::default())?;
            Some(Picture::from_rgb(rgb, width, height))
        }
    }
}

/// What an error of the kernel means to the owner of a camera.
fn explain(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::EBUSY) => "another program uses the camera: close it",
        Some(libc::EACCES | libc::EPERM) => "no permission to use the camera: join the group `video`, or run as root",
        Some(libc::ENODEV | libc::ENXIO) => "the camera was unplugged",
        Some(libc::ENOTTY) => "this is not a camera",
        _ => return format!("the camera does not work: {error}"),
    };
    advice.to_owned()
}

/// Device files of cameras.
fn cameras() -> Vec<String> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.strip_prefix("video")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.iter().map(u32::to_string).collect()
}

fn no_camera(others: &[String]) -> String {
    match others {
        [] => "no such camera, and no other one is connected".into(),
        [one] => format!("no such camera; there is number {one}"),
        many => format!("no such camera; there are numbers {}", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_cameras_are_said_to_be_absent() {
        assert_eq!(no_camera(&[]), "no such camera, and no other one is connected");
        assert_eq!(no_camera(&["2".into(), "3".into()]), "no such camera; there are numbers 2, 3");
    }

    #[test]
    fn errors_of_the_kernel_become_advice() {
        let text = |code| explain(&io::Error::from_raw_os_error(code));
        assert!(text(libc::EBUSY).contains("another program"));
        assert!(text(libc::EACCES).contains("group `video`"));
        assert!(text(libc::EINVAL).contains("does not work"));
    }

    #[test]
    fn frames_of_both_encodings_become_pictures() {
        let limits = Limits::default();
        let raw = Encoding::Yuyv { stride: 4, width: 2, height: 1 };
        let white = decode(&[235, 128, 235, 128], raw, &limits).unwrap();
        assert_eq!(white.pixels(), [255; 6]);
        assert_eq!(decode(&[235, 128, 235], raw, &limits), None);
        let jpeg = Picture::from_rgb(vec![200; 3 * 64], 8, 8).to_jpeg(90).unwrap();
        let grey = decode(&jpeg, Encoding::Jpeg, &limits).unwrap();
        assert!(grey.pixels().iter().all(|level| level.abs_diff(200) < 3));
        assert_eq!(decode(&jpeg[..jpeg.len() / 2], Encoding::Jpeg, &limits), None);
    }
}
