//! MP4 files with H.264, decoded in this program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use re_mp4::{Mp4, Sample, StsdBoxContent, TrackKind};
use rusty_h264_decoder::Decoder;

use super::colour::{Colour, Planes, planes_to_rgb};
use super::reader::{FrameReader, VideoError};
use super::sps;
use crate::app::source::{Limits, Picture, PictureError};

/// What was found in a file.
pub enum Opened {
    /// H.264 in MP4.
    Reader(Box<Mp4Reader>),
    /// Something else, as the subject of a sentence.
    Other(String),
}

/// Frames of the first video track, in the order in which they are shown, turned as the track says.
pub struct Mp4Reader {
    file: BufReader<File>,
    samples: Vec<Sample>,
    /// The earliest time among each sample and those after it, in decoding order.
    earliest: Vec<i64>,
    next: usize,
    decoder: Decoder,
    /// Parameter sets, to be decoded before the first sample.
    parameters: Vec<u8>,
    /// Bytes of the length before each unit.
    length_bytes: usize,
    /// Frames that wait for earlier ones that are decoded later, by time.
    waiting: BTreeMap<(i64, usize), rusty_h264_common::YuvFrame>,
    colour: Colour,
    orientation: Orientation,
    fps: Option<f64>,
    limits: Limits,
}

/// The box that every MP4 file begins with, and its older kin.
const FIRST_BOXES: [&[u8]; 4] = [b"ftyp", b"moov", b"mdat", b"wide"];

impl Mp4Reader {
    /// Reads the tables of a file.
    ///
    /// # Errors
    /// [`VideoError`] when it is MP4 but damaged.
    pub fn open(path: &Path, limits: &Limits) -> Result<Opened, VideoError> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        if size == 0 {
            return Err(PictureError::Empty.into());
        }
        let mut start = [0; 8];
        if file.read_exact(&mut start).is_err() || !FIRST_BOXES.contains(&&start[4..]) {
            return Ok(Opened::Other("a video that is not MP4".into()));
        }
        file.rewind()?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        // Its tables are read with less care than those of other files deserve.
        let mp4 = catch_unwind(AssertUnwindSafe(|| Mp4::read(&mut file, size)))
            .map_err(|_| damaged("its tables make no sense"))?
            .map_err(|error| damaged(&error.to_string()))?;
        let Some(track) = mp4.tracks().values().find(|track| track.kind == Some(TrackKind::Video)) else {
            return Ok(Opened::Other("an MP4 file without H.264 video".into()));
        };
        let description = &track.trak(&mp4).mdia.minf.stbl.stsd.contents;
        let StsdBoxContent::Avc1(_) = description else {
            let codec = description.codec_string().unwrap_or_else(|| "another codec".into());
            return Ok(Opened::Other(format!("an MP4 file of {codec}")));
        };
        let configuration = track.raw_codec_config(&mp4).unwrap_or_default();
        let (parameters, first_sps, length_bytes) =
            parameter_sets(&configuration).ok_or_else(|| damaged("its H.264 configuration is cut short"))?;
        let samples = track.samples.clone();
        let mut earliest: Vec<i64> = samples.iter().map(|sample| sample.composition_timestamp).collect();
        for at in (1..earliest.len()).rev() {
            earliest[at - 1] = earliest[at - 1].min(earliest[at]);
        }
        let matrix = &track.trak(&mp4).tkhd.matrix;
        Ok(Opened::Reader(Box::new(Self {
            file,
            fps: fps(&samples),
            samples,
            earliest,
            next: 0,
            decoder: Decoder::new(),
            parameters,
            length_bytes,
            waiting: BTreeMap::new(),
            colour: sps::colour(&first_sps),
            orientation: orientation(matrix.a, matrix.b, matrix.c, matrix.d),
            limits: *limits,
        })))
    }

    /// The next frame in the order of time.
    fn frame(&mut self) -> Result<Option<rusty_h264_common::YuvFrame>, VideoError> {
        loop {
            let complete = self.next >= self.samples.len();
            if let Some(first) = self.waiting.first_entry()
                && (complete || first.key().0 < self.earliest[self.next])
            {
                return Ok(Some(first.remove()));
            }
            if complete {
                return Ok(None);
            }
            self.decode_sample()?;
        }
    }

    fn decode_sample(&mut self) -> Result<(), VideoError> {
        let sample = self.samples[self.next];
        if sample.size > self.limits.file_bytes {
            return Err(damaged("a frame is impossibly large"));
        }
        self.file.seek(SeekFrom::Start(sample.offset))?;
        let mut bytes = vec![0; sample.size as usize];
        self.file.read_exact(&mut bytes).map_err(|_| damaged("it is cut short"))?;
        let mut units = std::mem::take(&mut self.parameters);
        append_units(&bytes, self.length_bytes, &mut units).ok_or_else(|| damaged("a frame is cut short"))?;
        // The decoder promises not to panic; a promise that it breaks must not end the program.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decoder.decode(&units)))
            .map_err(|_| damaged("its H.264 cannot be decoded"))?
            .map_err(|error| damaged(&format!("its H.264 cannot be decoded: {error}")))?;
        if let Some(frame) = decoded {
            if frame.width as u64 * frame.height as u64 > self.limits.pixels {
                let (width, height) = (frame.width as u32, frame.height as u32);
                return Err(PictureError::TooManyPixels { width, height, limit: self.limits.pixels }.into());
            }
            self.waiting.insert((sample.composition_timestamp, self.next), frame);
        }
        self.next += 1;
        Ok(())
    }
}

impl FrameReader for Mp4Reader {
    fn read(&mut self) -> Result<Option<Picture>, VideoError> {
        let Some(frame) = self.frame()? else { return Ok(None) };
        let (width, height) = (frame.width, frame.height);
        let planes = Planes {
            y: &frame.y,
            u: &frame.u,
            v: &frame.v,
            luma_stride: width,
            chroma_stride: frame.u.len() / (height / 2).max(1),
        };
        let rgb = planes_to_rgb(&planes, width, height, self.colour);
        Ok(Some(Picture::from_rgb(rgb, width, height).turned(self.orientation)))
    }

    fn skip(&mut self) -> Result<bool, VideoError> {
        Ok(self.frame()?.is_some())
    }

    fn fps(&self) -> Option<f64> {
        self.fps
    }

    fn frames(&self) -> Option<u64> {
        Some(self.samples.len() as u64)
    }
}

fn damaged(why: &str) -> VideoError {
    VideoError::Damaged(format!("the MP4 file is damaged: {why}"))
}

/// Frames per second over the whole track.
fn fps(samples: &[Sample]) -> Option<f64> {
    let ticks: u64 = samples.iter().map(|sample| sample.duration).sum();
    let timescale = samples.first()?.timescale;
    let fps = samples.len() as f64 * timescale as f64 / ticks as f64;
    (fps.is_finite() && fps > 0.0).then_some(fps)
}

/// Parameter sets of an `avcC` box behind start codes, the first sequence parameter set, and the bytes of lengths.
fn parameter_sets(configuration: &[u8]) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    let length_bytes = usize::from(configuration.get(4)? & 3) + 1;
    let mut units = Vec::new();
    let mut first_sps = None;
    let mut at = 5;
    for mask in [0x1f, 0xff] {
        let count = configuration.get(at)? & mask;
        at += 1;
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes([*configuration.get(at)?, *configuration.get(at + 1)?]));
            let unit = configuration.get(at + 2..at + 2 + length)?;
            units.extend([0, 0, 0, 1]);
            units.extend(unit);
            first_sps.get_or_insert_with(|| unit.to_vec());
            at += 2 + length;
        }
    }
    Some((units, first_sps?, length_bytes))
}

/// Appends the units of a sample, each behind a start code instead of its length.
fn append_units(mut sample: &[u8], length_bytes: usize, units: &mut Vec<u8>) -> Option<()> {
    while !sample.is_empty() {
        let (length, rest) = sample.split_at_checked(length_bytes)?;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        units.extend([0, 0, 0, 1]);
        units.extend(unit);
        sample = rest;
    }
    Some(())
}

/// The turn of a track's matrix `a b / c d`; other matrices turn nothing.
fn orientation(a: i32, b: i32, c: i32, d: i32) -> Orientation {
    match [a, b, c, d].map(i32::signum) {
        [0, 1, -1, 0] => Orientation::Rotate90,
        [-1, 0, 0, -1] => Orientation::Rotate180,
        [0, -1, 1, 0] => Orientation::Rotate270,
        _ => Orientation::NoTransforms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_and_samples_may_be_cut_anywhere() {
        let whole = [1, 100, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];
        let (units, sps, length_bytes) = parameter_sets(&whole).unwrap();
        assert_eq!(units, [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68]);
        assert_eq!((sps.as_slice(), length_bytes), ([0x67, 9].as_slice(), 4));
        for cut in 0..whole.len() {
            assert_eq!(parameter_sets(&whole[..cut]), None, "{cut}");
        }
        let mut units = Vec::new();
        assert_eq!(append_units(&[0, 2, 7, 8, 0, 1, 9], 2, &mut units), Some(()));
        assert_eq!(units, [0, 0, 0, 1, 7, 8, 0, 0, 0, 1, 9]);
        for cut in [1, 2, 3, 5, 6] {
            assert_eq!(append_units(&[0, 2, 7, 8, 0, 1, 9][..cut], 2, &mut Vec::new()), None, "{cut}");
        }
    }
}
