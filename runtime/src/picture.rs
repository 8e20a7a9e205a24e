//! Reading image files.

use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::detect::ImageRef;

/// A decoded picture: 8-bit RGB, upright, rows without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pixels: Vec<u8>,
    width: usize,
    height: usize,
}

/// The JPEG marker before the data of a scan.
const START_OF_SCAN: [u8; 2] = [0xff, 0xda];

/// How large an image may be. Sizes are checked before the pixels are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Width times height.
    pub pixels: u64,
    /// Bytes that the decoder may allocate.
    pub decoder_bytes: u64,
    /// Scans of a JPEG file; encoders write about ten. Each may take a few bytes and costs a pass over the whole
    /// picture, so without a limit a small file could keep the decoder busy for hours.
    pub scans: usize,
}

impl Default for Limits {
    /// 512 MiB of file, 2^28 pixels, 2 GiB of decoder memory, 500 scans.
    fn default() -> Self {
        Self { file_bytes: 512 << 20, pixels: 1 << 28, decoder_bytes: 2 << 30, scans: 500 }
    }
}

/// An image that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is too long.
    #[error("the file is larger than {limit} bytes")]
    FileTooLarge {
        /// [`Limits::file_bytes`].
        limit: u64,
    },
    /// Nothing was in the file.
    #[error("the file is empty")]
    Empty,
    /// The format is none of those that are read.
    #[error("not an image in a known format (JPEG, PNG, WebP, BMP, TIFF, GIF)")]
    UnknownFormat,
    /// The picture is too large.
    #[error("an image of {width}x{height} pixels is larger than the limit of {limit} pixels")]
    TooManyPixels {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
        /// [`Limits::pixels`].
        limit: u64,
    },
    /// The picture has no pixels.
    #[error("the image has no pixels")]
    NoPixels,
    /// The file ends before the picture does.
    #[error("the JPEG file is cut short: copy it again")]
    CutShort,
    /// The file has more scans than any encoder writes.
    #[error("the JPEG file has more than {limit} scans: save it again")]
    TooManyScans {
        /// [`Limits::scans`].
        limit: usize,
    },
    /// The contents are damaged or use a feature that is not supported.
    #[error(transparent)]
    Decode(#[from] image::ImageError),
}

impl Picture {
    /// Reads an image file; its contents, not its name, tell the format.
    ///
    /// # Errors
    /// [`PictureError`]; the message does not name the file.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, PictureError> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Self::decode(&bytes, limits)
    }

    /// Decodes an image file in memory: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.
    ///
    /// JPEG files are decoded by libjpeg, to the very levels that OpenCV and Pillow give: integer networks turn a
    /// difference of one level in a few pixels into visibly different scores. Grey, palette, CMYK and 16-bit images
    /// become 8-bit RGB, transparent pixels show white behind them, and the picture is turned upright as its EXIF
    /// orientation says.
    ///
    /// # Errors
    /// [`PictureError`] when the bytes are no such image, are damaged, or exceed `limits`.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self, PictureError> {
        if bytes.is_empty() {
            return Err(PictureError::Empty);
        }
        if bytes.len() as u64 > limits.file_bytes {
            return Err(PictureError::FileTooLarge { limit: limits.file_bytes });
        }
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        let format = reader.format().ok_or(PictureError::UnknownFormat)?;
        let mut decoder_limits = image::Limits::no_limits();
        decoder_limits.max_alloc = Some(limits.decoder_bytes);
        reader.limits(decoder_limits);
        let mut decoder = reader.into_decoder()?;
        let (width, height) = decoder.dimensions();
        let too_many = PictureError::TooManyPixels { width, height, limit: limits.pixels };
        if u64::from(width) * u64::from(height) > limits.pixels || decoder.total_bytes() > limits.decoder_bytes {
            return Err(too_many);
        }
        if width == 0 || height == 0 {
            return Err(PictureError::NoPixels);
        }
        if format == ImageFormat::Jpeg {
            if is_cut_short(bytes) {
                return Err(PictureError::CutShort);
            }
            if bytes.windows(2).filter(|w| *w == START_OF_SCAN).count() > limits.scans {
                return Err(PictureError::TooManyScans { limit: limits.scans });
            }
        }
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let exact = if format == ImageFormat::Jpeg { decode_with_libjpeg(bytes) } else { None };
        let mut decoded = match exact {
            Some(rgb) => DynamicImage::ImageRgb8(rgb),
            None => DynamicImage::from_decoder(decoder)?,
        };
        decoded.apply_orientation(orientation);
        Ok(Self::from_image(if decoded.color().has_alpha() { on_white(&decoded) } else { decoded.into_rgb8() }))
    }

    fn from_image(rgb: RgbImage) -> Self {
        let (width, height) = (rgb.width() as usize, rgb.height() as usize);
        Self { pixels: rgb.into_raw(), width, height }
    }

    /// A picture of `3 * width * height` bytes of interleaved RGB.
    ///
    /// # Panics
    /// When `pixels` has another length, or there are none.
    pub fn from_rgb(pixels: Vec<u8>, width: usize, height: usize) -> Self {
        assert!(width > 0 && height > 0 && pixels.len() == 3 * width * height, "three bytes per pixel");
        Self { pixels, width, height }
    }

    /// The picture turned or mirrored.
    pub fn turned(self, orientation: Orientation) -> Self {
        if orientation == Orientation::NoTransforms {
            return self;
        }
        let (width, height) = (self.width as u32, self.height as u32);
        let rgb = RgbImage::from_raw(width, height, self.pixels).expect("a picture holds all of its pixels");
        let mut image = DynamicImage::ImageRgb8(rgb);
        image.apply_orientation(orientation);
        Self::from_image(image.into_rgb8())
    }

    /// The picture for a pipeline.
    pub fn as_ref(&self) -> ImageRef<'_> {
        ImageRef::rgb(&self.pixels, self.width, self.height).expect("a decoded picture has pixels and holds them all")
    }

    /// Pixels per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, `3 * width * height` bytes of interleaved RGB.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels, to draw on.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The picture as a JPEG file of a quality from 1 to 100.
    ///
    /// # Errors
    /// [`PictureError::Decode`] when the picture has a side above 65,535 pixels, which JPEG cannot hold.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality).encode(
            &self.pixels,
            self.width as u32,
            self.height as u32,
            image::ExtendedColorType::Rgb8,
        )?;
        Ok(bytes)
    }
}

/// The picture in front of white.
fn on_white(image: &DynamicImage) -> RgbImage {
    let rgba = image.to_rgba8();
    let pixels = rgba.pixels().flat_map(|pixel| {
        let [red, green, blue, alpha] = pixel.0.map(u32::from);
        [red, green, blue].map(|level| ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
    });
    RgbImage::from_raw(rgba.width(), rgba.height(), pixels.collect()).expect("three bytes for every four")
}

/// Whether no end-of-image marker follows the last scan of a JPEG file. Decoders fill what is missing with grey.
fn is_cut_short(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|w| w == marker);
    last([0xff, 0xd9]) < last(START_OF_SCAN)
}

/// Upright or not, the pixels of a JPEG file as libjpeg gives them; `None` when it cannot make RGB of it (CMYK files,
/// or too damaged), which leaves the file to the image library.
fn decode_with_libjpeg(bytes: &[u8]) -> Option<RgbImage> {
    // The library reports fatal errors by unwinding through its callers.
    let decoded = std::panic::catch_unwind(|| -> std::io::Result<(usize, usize, Vec<u8>)> {
        let mut picture = mozjpeg::Decompress::new_mem(bytes)?.rgb()?;
        let pixels = picture.read_scanlines()?;
        Ok((picture.width(), picture.height(), pixels))
    });
    let (width, height, pixels) = decoded.ok()?.ok()?;
    RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels)
}
