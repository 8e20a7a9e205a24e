//! JPEG, decoded to the very levels that libjpeg-turbo gives.
//!
//! Integer networks amplify differences of one level in a few pixels into visibly different scores. OpenCV, Pillow and
//! with them every Python detector decode through libjpeg-turbo, so its inverse transform ("islow"), its "fancy"
//! upsampling and its colour conversion are followed here operation by operation.
//!
//! What is decoded: 8-bit Huffman-coded sequential and progressive files with one or three components. Everything
//! else, and every damaged file, is left to the image library.

mod huffman;
mod idct;
mod markers;
mod scan;
mod upsample;

use markers::{Frame, Reader};

/// Why a file is left to the image library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// A coding process or arrangement that is not decoded here.
    Unsupported,
    /// The bytes contradict the format.
    Damaged,
}

/// Scans of a file; a hostile file could have thousands, each as much work as the picture is large.
const MAX_SCANS: usize = 256;

/// Interleaved RGB pixels of a JPEG file, not turned by its EXIF orientation; `None` when it must be left to the image
/// library. Allocates about nine bytes per pixel.
pub(super) fn decode(bytes: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let frame = read_frame(bytes).ok()?;
    let pixels = upsample::to_rgb(&frame);
    Some((pixels, frame.width, frame.height))
}

fn read_frame(bytes: &[u8]) -> Result<Frame, Refusal> {
    let mut reader = Reader::new(bytes)?;
    for _ in 0..MAX_SCANS {
        match reader.next_scan()? {
            Some(scan) => {
                let (frame, tables, data) = reader.frame_and_data(&scan)?;
                let used = scan::decode(frame, &scan, tables, data)?;
                reader.skip(used);
            }
            None => return reader.finish(),
        }
    }
    Err(Refusal::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 40x24 gradient as JPEG of the given sampling, from the image library's encoder.
    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let pixels: Vec<u8> = (0..40 * 24 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 80);
        encoder.encode(&pixels, 40, 24, image::ExtendedColorType::Rgb8).unwrap();
        bytes
    }

    #[test]
    fn agrees_with_the_image_library_up_to_rounding() {
        let bytes = sample();
        let (ours, width, height) = decode(&bytes).unwrap();
        let theirs = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!((width as u32, height as u32), theirs.dimensions());
        let worst = ours.iter().zip(theirs.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(3), "{worst:?}");
    }

    #[test]
    fn damaged_files_are_left_alone_without_panic() {
        let whole = sample();
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize
        };
        for cut in 0..whole.len() {
            let _ = decode(&whole[..cut]);
        }
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + next() % 4 {
                let at = next() % bytes.len();
                bytes[at] = next() as u8;
            }
            // A mutated header may ask for a large picture; the caller limits that before it decodes.
            if read_size(&bytes).is_some_and(|(w, h)| w * h < 1 << 16) {
                let _ = decode(&bytes);
            }
        }
    }

    fn read_size(bytes: &[u8]) -> Option<(usize, usize)> {
        let at = bytes.windows(2).position(|w| w == [0xff, 0xc0] || w == [0xff, 0xc2])?;
        let field = |i: usize| Some(usize::from(*bytes.get(at + i)?) << 8 | usize::from(*bytes.get(at + i + 1)?));
        Some((field(7)?, field(5)?))
    }
}
