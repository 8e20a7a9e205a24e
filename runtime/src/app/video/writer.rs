//! Videos as MP4 files with H.264.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rusty_h264_common::YuvFrame;
use rusty_h264_encoder::{Encoder, EncoderConfig, Preset};

use super::colour::rgb_to_planes;
use super::fragment::{EncodedFrame, TIMESCALE, fragment, header};
use super::reader::VideoError;

/// Seconds between frames at which decoding can begin.
const SECONDS_PER_KEY: f64 = 2.0;

/// Quantisation: hardly a visible loss.
const QP: u8 = 22;

/// Writes a video.
///
/// The file is fragmented MP4: it plays up to its last second whenever and however the program ends, and
/// [`VideoWriter::finish`] adds the rest. An odd last column or row is repeated once, as H.264 wants even sizes.
pub struct VideoWriter {
    file: File,
    encoder: Encoder,
    width: usize,
    height: usize,
    fps: f64,
    pushed: u64,
    /// Whether the file has begun.
    begun: bool,
    sequence: u32,
    /// When the first of the `ready` frames is shown, in ticks.
    start: u64,
    /// Frames that are complete but for being written.
    ready: Vec<EncodedFrame>,
    /// The last frame, which lasts until the next, and when it is shown.
    last: Option<(EncodedFrame, u64)>,
}

impl VideoWriter {
    /// Creates a file for frames of this size at `fps` frames per second, in place of what is there.
    ///
    /// # Errors
    /// [`VideoError`] when the file cannot be created or no H.264 is that large; the message does not name the file.
    pub fn create(path: &Path, width: usize, height: usize, fps: f64) -> Result<Self, VideoError> {
        const USUAL_FPS: f64 = 30.0;
        let fps = if fps.is_finite() && (0.01..=1000.0).contains(&fps) { fps } else { USUAL_FPS };
        let (even_width, even_height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        let too_large = || VideoError::Damaged(format!("H.264 holds no frames of {width}x{height} pixels"));
        let mut config = EncoderConfig::new(even_width, even_height);
        config.level_idc = level(even_width, even_height, fps).ok_or_else(too_large)?;
        config.qp = QP;
        config.framerate = fps as f32;
        config.gop_size = (fps * SECONDS_PER_KEY).ceil().max(1.0) as u32;
        config.preset = Preset::Balanced;
        // No frame waits for later ones.
        config.bframes = 0;
        config.mbtree = false;
        let encoder = Encoder::new(config).map_err(|error| VideoError::Damaged(error.to_string()))?;
        let file = File::create(path)?;
        Ok(Self {
            file,
            encoder,
            width,
            height,
            fps,
            pushed: 0,
            begun: false,
            sequence: 0,
            start: 0,
            ready: Vec::new(),
            last: None,
        })
    }

    /// Appends a frame of `3 * width * height` bytes of RGB, one frame's time after the last.
    ///
    /// # Errors
    /// [`VideoError::SizeChanged`] when `rgb` has another length; [`VideoError::Io`] when the disk is full.
    pub fn push(&mut self, rgb: &[u8]) -> Result<(), VideoError> {
        self.push_at(rgb, Duration::from_secs_f64(self.pushed as f64 / self.fps))
    }

    /// Appends a frame that is shown at `time`; a time before that of the last frame is taken for just after it.
    ///
    /// # Errors
    /// As [`VideoWriter::push`].
    pub fn push_at(&mut self, rgb: &[u8], time: Duration) -> Result<(), VideoError> {
        if rgb.len() != 3 * self.width * self.height {
            return Err(VideoError::SizeChanged {
                width: rgb.len() / 3 / self.height.max(1),
                height: self.height,
                expected_width: self.width,
                expected_height: self.height,
            });
        }
        let time = (time.as_secs_f64() * f64::from(TIMESCALE)).round() as u64;
        let time = match &self.last {
            Some((_, last)) => time.max(last + 1),
            None => time,
        };
        self.complete_last(time);
        if self.ready.iter().map(|frame| u64::from(frame.duration)).sum::<u64>() >= u64::from(TIMESCALE) {
            self.write_ready()?;
        }
        let planes = rgb_to_planes(rgb, self.width, self.height);
        let frame = YuvFrame { width: planes.width, height: planes.height, y: planes.y, u: planes.u, v: planes.v };
        let stream = self.encoder.try_encode(&frame).map_err(|error| VideoError::Damaged(error.to_string()))?;
        self.take_in(&stream, time)?;
        self.pushed += 1;
        Ok(())
    }

    /// Writes what is left. Without this the file ends up to a second early.
    ///
    /// # Errors
    /// [`VideoError::Io`].
    pub fn finish(mut self) -> Result<(), VideoError> {
        self.write_all()
    }

    fn write_all(&mut self) -> Result<(), VideoError> {
        if let Some((_, time)) = &self.last {
            let frame_ticks = (f64::from(TIMESCALE) / self.fps).round().max(1.0) as u64;
            self.complete_last(time + frame_ticks);
        }
        self.write_ready()?;
        Ok(self.file.flush()?)
    }

    /// The last frame lasts until `time`.
    fn complete_last(&mut self, time: u64) {
        if let Some((mut frame, shown)) = self.last.take() {
            frame.duration = u32::try_from(time - shown).unwrap_or(u32::MAX);
            if self.ready.is_empty() {
                self.start = shown;
            }
            self.ready.push(frame);
        }
    }

    fn write_ready(&mut self) -> Result<(), VideoError> {
        if !self.ready.is_empty() {
            self.sequence += 1;
            self.file.write_all(&fragment(self.sequence, self.start, &self.ready))?;
            self.ready.clear();
        }
        Ok(())
    }

    /// Takes the units of one encoded frame; parameter sets go into the header of the file.
    fn take_in(&mut self, stream: &[u8], time: u64) -> Result<(), VideoError> {
        const KEY: u8 = 5;
        const SPS: u8 = 7;
        const PPS: u8 = 8;
        let (mut sps, mut pps) = (None, None);
        let mut frame = EncodedFrame { bytes: Vec::new(), duration: 0, is_key: false };
        for unit in units(stream) {
            match unit[0] & 0x1f {
                SPS => sps = Some(unit),
                PPS => pps = Some(unit),
                kind @ 1..=KEY => {
                    frame.is_key |= kind == KEY;
                    frame.bytes.extend((unit.len() as u32).to_be_bytes());
                    frame.bytes.extend(unit);
                }
                _ => {}
            }
        }
        if !self.begun {
            let (Some(sps), Some(pps)) = (sps.filter(|sps| sps.len() >= 4), pps) else {
                return Err(VideoError::Damaged("the encoder has not begun with parameters".into()));
            };
            let side = |length: usize| length.next_multiple_of(2) as u16;
            self.file.write_all(&header(side(self.width), side(self.height), sps, pps))?;
            self.begun = true;
        }
        self.last = Some((frame, time));
        Ok(())
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        // Only `finish` can report what goes wrong.
        let _ = self.write_all();
    }
}

/// The lowest level (ITU-T H.264, table A-1) that admits frames of this size and rate; the highest for fast small
/// ones.
fn level(width: usize, height: usize, fps: f64) -> Option<u8> {
    /// Level, macroblocks per second, macroblocks per frame.
    const LEVELS: [(u8, f64, usize); 9] = [
        (30, 40_500.0, 1_620),
        (31, 108_000.0, 3_600),
        (32, 216_000.0, 5_120),
        (40, 245_760.0, 8_192),
        (42, 522_240.0, 8_704),
        (50, 589_824.0, 22_080),
        (51, 983_040.0, 36_864),
        (52, 2_073_600.0, 36_864),
        (60, 4_177_920.0, 139_264),
    ];
    let (columns, rows) = (width.div_ceil(16), height.div_ceil(16));
    let blocks = columns.checked_mul(rows)?;
    // No side may be longer than the square root of eight times the size.
    let fits = |size: usize| blocks <= size && columns.max(rows).pow(2) <= 8 * size;
    if blocks == 0 || columns > 4096 || rows > 4096 || !fits(LEVELS[8].2) {
        return None;
    }
    let exact = LEVELS.iter().find(|(_, rate, size)| fits(*size) && blocks as f64 * fps <= *rate);
    Some(exact.map_or(LEVELS[8].0, |(level, ..)| *level))
}

/// The units of a byte stream (ITU-T H.264, annex B), none of them empty.
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> = stream.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([stream.len()]).collect();
    starts.into_iter().zip(ends).filter_map(|(start, end)| {
        let unit = &stream[start + 3..end];
        // Zeros before the next start code belong to it.
        let length = unit.iter().rposition(|byte| *byte != 0)? + 1;
        Some(&unit[..length])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_admit_size_and_rate() {
        for (width, height, fps, expected) in [
            (640, 480, 30.0, Some(30)),
            (1280, 720, 30.0, Some(31)),
            (1280, 720, 60.0, Some(32)),
            (1920, 1080, 30.0, Some(40)),
            (3840, 2160, 30.0, Some(51)),
            (640, 480, 1000.0, Some(52)),
            (0, 480, 30.0, None),
            (100_000, 16, 30.0, None),
        ] {
            assert_eq!(level(width, height, fps), expected, "{width}x{height} {fps}");
        }
    }

    #[test]
    fn units_lose_their_start_codes() {
        let found: Vec<_> = units(&[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 9]).collect();
        assert_eq!(found, [[0x67, 1].as_slice(), &[0x68, 2], &[0x65, 9]]);
    }
}
