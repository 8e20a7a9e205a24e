//! Pictures as files.

use std::ffi::{OsStr, OsString};
use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat, ImageResult};

use crate::detect::ImageRef;

/// Quality of JPEG files, as OpenCV and Pillow are told to write them.
const JPEG_QUALITY: u8 = 95;

/// Extension of the copy of a source: its own where such files can be written, `jpg` elsewhere.
pub(super) fn copy_extension(source: &Path) -> OsString {
    match source.extension() {
        Some(extension) if format_of(extension).is_some() => extension.to_owned(),
        _ => "jpg".into(),
    }
}

/// The format that an extension names; `None` when it is not written.
fn format_of(extension: &OsStr) -> Option<ImageFormat> {
    match extension.to_str()?.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => Some(ImageFormat::Jpeg),
        "png" => Some(ImageFormat::Png),
        "bmp" => Some(ImageFormat::Bmp),
        "tif" | "tiff" => Some(ImageFormat::Tiff),
        "webp" => Some(ImageFormat::WebP),
        _ => None,
    }
}

/// A picture as a file of the format that `extension` names, JPEG when it names none.
///
/// # Errors
/// When the picture is too large for the format.
pub fn encode(picture: ImageRef<'_>, extension: &OsStr) -> ImageResult<Vec<u8>> {
    encode_part(picture, [0, 0, picture.width(), picture.height()], extension)
}

/// The same for the pixels from `left, top` up to but not including `right, bottom`, which lie inside the picture.
pub(super) fn encode_part(
    picture: ImageRef<'_>,
    [left, top, right, bottom]: [usize; 4],
    extension: &OsStr,
) -> ImageResult<Vec<u8>> {
    let mut pixels = Vec::with_capacity((right - left) * (bottom - top) * 3);
    (top..bottom).for_each(|y| pixels.extend_from_slice(&picture.row(y)[3 * left..3 * right]));
    let (width, height) = ((right - left) as u32, (bottom - top) as u32);
    let mut file = Cursor::new(Vec::new());
    match format_of(extension) {
        None | Some(ImageFormat::Jpeg) => JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).write_image(
            &pixels,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?,
        Some(format) => {
            image::write_buffer_with_format(&mut file, &pixels, width, height, ExtendedColorType::Rgb8, format)?;
        }
    }
    Ok(file.into_inner())
}
