//! Pictures that follow one another in a byte stream, as `ffmpeg` and cameras write them into a pipe.

use std::io::{self, BufRead, BufReader, Read};

use super::colour::{Colour, Planes, planes_to_rgb};
use super::reader::{FrameReader, VideoError};
use crate::app::source::{Limits, Picture, PictureError};

/// What a byte stream holds.
pub enum Contents {
    /// One picture, and nothing after it.
    Picture(Picture),
    /// Frames.
    Frames(Box<dyn FrameReader>),
}

/// Text between the pictures of a multipart stream is shorter than this.
const MAX_BETWEEN: usize = 4096;

/// Longest header of a frame or stream.
const MAX_HEADER: u64 = 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// JPEG files, back to back or with text between them (`-f mjpeg`, `-f mpjpeg`).
    Jpeg,
    /// Binary PPM files back to back: raw RGB (`-f image2pipe -c:v ppm`).
    Ppm,
    /// YUV4MPEG2 with 8-bit 4:2:0 (`-f yuv4mpegpipe -pix_fmt yuv420p`).
    Yuv4Mpeg { width: usize, height: usize, fps: Option<f64>, colour: Colour },
}

/// Reads what `input` holds: one image file of any format; or JPEG files, PPM files or YUV4MPEG2, of which every frame
/// is read.
///
/// # Errors
/// [`VideoError`] when it is none of these, or its first frame is damaged.
pub fn read_contents(input: Box<dyn Read + Send>, limits: &Limits) -> Result<Contents, VideoError> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let start = input.fill_buf()?;
    let form = if start.is_empty() {
        return Err(PictureError::Empty.into());
    } else if start.starts_with(&[0xff, 0xd8]) || start.starts_with(b"--") {
        Form::Jpeg
    } else if start.starts_with(b"P6") {
        Form::Ppm
    } else if start.starts_with(b"YUV4MPEG2") {
        yuv4mpeg_header(&read_line(&mut input)?)?
    } else {
        let mut bytes = Vec::new();
        input.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        return match Picture::decode(&bytes, limits) {
            Err(PictureError::UnknownFormat) => Err(VideoError::Damaged(
                "neither an image nor frames: pipe JPEG, PPM or YUV4MPEG2 frames, as in \
                 `ffmpeg -i INPUT -f yuv4mpegpipe -pix_fmt yuv420p -`"
                    .into(),
            )),
            other => Ok(Contents::Picture(other?)),
        };
    };
    let mut frames = PipeReader { input, form, limits: *limits, waiting: None };
    if form == Form::Jpeg {
        let Some(first) = frames.read()? else { return Err(PictureError::Empty.into()) };
        if frames.input.fill_buf()?.is_empty() {
            return Ok(Contents::Picture(first));
        }
        frames.waiting = Some(first);
    }
    Ok(Contents::Frames(Box::new(frames)))
}

/// Frames from a byte stream.
pub(super) struct PipeReader<R> {
    input: BufReader<R>,
    form: Form,
    limits: Limits,
    waiting: Option<Picture>,
}

impl<R: Read + Send> PipeReader<R> {
    /// PPM files back to back.
    pub(super) fn ppm(input: R, limits: &Limits) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), form: Form::Ppm, limits: *limits, waiting: None }
    }

    fn check_size(&self, width: usize, height: usize) -> Result<(), VideoError> {
        let pixels = (width as u64).checked_mul(height as u64);
        if width == 0 || height == 0 {
            return Err(PictureError::NoPixels.into());
        }
        if pixels.is_none_or(|pixels| pixels > self.limits.pixels) {
            let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (width, height) = (side(width), side(height));
            return Err(VideoError::Damaged(
                PictureError::TooManyPixels { width, height, limit: self.limits.pixels }.to_string(),
            ));
        }
        Ok(())
    }

    /// Bytes of a frame; a stream that ends within one ends before it.
    fn read_whole(&mut self, len: usize) -> Result<Option<Vec<u8>>, VideoError> {
        let mut bytes = vec![0; len];
        match self.input.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            result => Ok(result.map(|()| Some(bytes))?),
        }
    }

    fn read_ppm(&mut self) -> Result<Option<Picture>, VideoError> {
        let mut magic = [0; 2];
        match self.input.read_exact(&mut magic) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let damaged = || VideoError::Damaged("a PPM frame without a proper header".into());
        if &magic != b"P6" {
            return Err(damaged());
        }
        let mut numbers = [0usize; 3];
        for number in &mut numbers {
            *number = read_number(&mut self.input)?.ok_or_else(damaged)?;
        }
        let [width, height, levels] = numbers;
        if levels != 255 {
            return Err(VideoError::Damaged(format!("PPM frames with {levels} levels; 255 are read")));
        }
        self.check_size(width, height)?;
        Ok(self.read_whole(3 * width * height)?.map(|rgb| Picture::from_rgb(rgb, width, height)))
    }

    fn read_yuv4mpeg(&mut self, width: usize, height: usize, colour: Colour) -> Result<Option<Picture>, VideoError> {
        self.check_size(width, height)?;
        let line = read_line(&mut self.input)?;
        if line.is_empty() {
            return Ok(None);
        }
        if !line.starts_with(b"FRAME") {
            return Err(VideoError::Damaged("a YUV4MPEG2 frame without its header".into()));
        }
        let stride = width.div_ceil(2);
        let (luma, chroma) = (width * height, stride * height.div_ceil(2));
        let Some(bytes) = self.read_whole(luma + 2 * chroma)? else { return Ok(None) };
        let (y, rest) = bytes.split_at(luma);
        let (u, v) = rest.split_at(chroma);
        let planes = Planes { y, u, v, luma_stride: width, chroma_stride: stride };
        Ok(Some(Picture::from_rgb(planes_to_rgb(&planes, width, height, colour), width, height)))
    }

    fn read_jpeg(&mut self) -> Result<Option<Picture>, VideoError> {
        match next_jpeg(&mut self.input, self.limits.file_bytes)? {
            Some(bytes) => Ok(Some(Picture::decode(&bytes, &self.limits)?)),
            None => Ok(None),
        }
    }
}

impl<R: Read + Send> FrameReader for PipeReader<R> {
    fn read(&mut self) -> Result<Option<Picture>, VideoError> {
        if let Some(picture) = self.waiting.take() {
            return Ok(Some(picture));
        }
        match self.form {
            Form::Jpeg => self.read_jpeg(),
            Form::Ppm => self.read_ppm(),
            Form::Yuv4Mpeg { width, height, colour, .. } => self.read_yuv4mpeg(width, height, colour),
        }
    }

    fn skip(&mut self) -> Result<bool, VideoError> {
        if self.waiting.take().is_some() {
            return Ok(true);
        }
        match self.form {
            Form::Jpeg => Ok(next_jpeg(&mut self.input, self.limits.file_bytes)?.is_some()),
            _ => Ok(self.read()?.is_some()),
        }
    }

    fn fps(&self) -> Option<f64> {
        match self.form {
            Form::Yuv4Mpeg { fps, .. } => fps,
            _ => None,
        }
    }
}

/// Parses `YUV4MPEG2 W640 H480 F30:1 C420jpeg ...`.
fn yuv4mpeg_header(line: &[u8]) -> Result<Form, VideoError> {
    let text = String::from_utf8_lossy(line);
    let (mut width, mut height, mut fps, mut colour) = (0, 0, None, Colour::default());
    for field in text.split_whitespace().skip(1) {
        let (tag, value) = field.split_at(field.chars().next().map_or(0, char::len_utf8));
        match tag {
            "W" => width = value.parse().unwrap_or(0),
            "H" => height = value.parse().unwrap_or(0),
            "F" => {
                let ratio = value.split_once(':').and_then(|(n, d)| Some((n.parse::<f64>().ok()?, d.parse().ok()?)));
                fps = ratio.map(|(n, d): (f64, f64)| n / d).filter(|fps| fps.is_finite() && *fps > 0.0);
            }
            "C" if !["420", "420jpeg", "420mpeg2", "420paldv"].contains(&value) => {
                return Err(VideoError::Damaged(format!(
                    "YUV4MPEG2 frames of colour space {value}; write 8-bit 4:2:0 with `-pix_fmt yuv420p`"
                )));
            }
            "X" if value == "COLORRANGE=FULL" => colour.full_range = true,
            _ => {}
        }
    }
    if width == 0 || height == 0 {
        return Err(VideoError::Damaged("a YUV4MPEG2 stream that does not say its width and height".into()));
    }
    Ok(Form::Yuv4Mpeg { width, height, fps, colour })
}

/// A line without its end; empty at the end of the stream.
fn read_line(input: &mut impl BufRead) -> Result<Vec<u8>, VideoError> {
    let mut line = Vec::new();
    input.take(MAX_HEADER).read_until(b'\n', &mut line)?;
    if line.len() as u64 == MAX_HEADER {
        return Err(VideoError::Damaged("a header without an end".into()));
    }
    line.pop_if(|last| *last == b'\n');
    Ok(line)
}

/// A decimal number between white space; the one byte behind it is read too. `None` when there is none.
fn read_number(input: &mut impl BufRead) -> Result<Option<usize>, VideoError> {
    let mut digits = String::new();
    for _ in 0..MAX_HEADER {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        match byte[0] {
            digit @ b'0'..=b'9' => digits.push(char::from(digit)),
            space if space.is_ascii_whitespace() && digits.is_empty() => {}
            space if space.is_ascii_whitespace() => return Ok(digits.parse().ok()),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The bytes of the next JPEG file of a stream; `None` when the stream ends before or within it.
fn next_jpeg(input: &mut impl BufRead, limit: u64) -> Result<Option<Vec<u8>>, VideoError> {
    let mut jpeg = Jpeg { input, bytes: Vec::new(), limit };
    match jpeg.read() {
        Ok(()) => Ok(Some(jpeg.bytes)),
        Err(VideoError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A JPEG file while it is read.
struct Jpeg<'a, R> {
    input: &'a mut R,
    bytes: Vec<u8>,
    limit: u64,
}

impl<R: BufRead> Jpeg<'_, R> {
    fn read(&mut self) -> Result<(), VideoError> {
        self.find_start()?;
        let mut marker = self.marker()?;
        loop {
            marker = match marker {
                0xd9 => return Ok(()),
                0x01 | 0xd0..=0xd8 => self.marker()?,
                _ => {
                    let length = [self.byte()?, self.byte()?];
                    self.copy(u64::from(u16::from_be_bytes(length)).saturating_sub(2))?;
                    if marker == 0xda { self.scan()? } else { self.marker()? }
                }
            };
        }
    }

    /// Passes over the text before a picture.
    fn find_start(&mut self) -> Result<(), VideoError> {
        let mut last = 0;
        for _ in 0..MAX_BETWEEN {
            let byte = self.byte()?;
            if [last, byte] == [0xff, 0xd8] {
                self.bytes = vec![0xff, 0xd8];
                return Ok(());
            }
            last = byte;
        }
        Err(VideoError::Damaged("a stream of JPEG frames with something else in it".into()))
    }

    fn marker(&mut self) -> Result<u8, VideoError> {
        if self.byte()? != 0xff {
            return Err(VideoError::Damaged("a damaged JPEG frame".into()));
        }
        loop {
            match self.byte()? {
                0xff => {}
                marker => return Ok(marker),
            }
        }
    }

    /// The data of a scan; returns the marker that ends it.
    fn scan(&mut self) -> Result<u8, VideoError> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let plain = buffer.iter().position(|byte| *byte == 0xff);
            let count = plain.unwrap_or(buffer.len()) as u64;
            self.copy(count)?;
            if plain.is_some() {
                let marker = self.marker()?;
                if !matches!(marker, 0x00 | 0xd0..=0xd7) {
                    return Ok(marker);
                }
            }
        }
    }

    fn byte(&mut self) -> Result<u8, VideoError> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.push(&byte)?;
        Ok(byte[0])
    }

    fn copy(&mut self, count: u64) -> Result<(), VideoError> {
        let before = self.bytes.len() as u64;
        if before + count > self.limit {
            return Err(PictureError::FileTooLarge { limit: self.limit }.into());
        }
        let copied = (&mut *self.input).take(count).read_to_end(&mut self.bytes)? as u64;
        if copied < count {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), VideoError> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() as u64 > self.limit {
            return Err(PictureError::FileTooLarge { limit: self.limit }.into());
        }
        Ok(())
    }
}
