//! Bilinear scaling of RGB pictures into planes, equal bit for bit to OpenCV's `resize(..., INTER_LINEAR)` on 8-bit data.
//!
//! Pixel centres are at half-integers; both passes use weights of 11 fractional bits. The horizontal pass keeps
//! `(a0 * s0 + a1 * s1) >> 4`, the vertical pass computes `(((b0 * t0) >> 16) + ((b1 * t1) >> 16) + 2) >> 2`.
//! When both sides shrink by exactly two, OpenCV averages 2x2 pixels instead, `(sum + 2) >> 2`, and so does this.

use super::ImageRef;
use crate::simd::Isa;
#[cfg(not(feature = "std"))]
use crate::simd::math::Float as _;
use crate::simd::resample::{Tap, blend_rows, halve_rows, normalise, scale_row, split_row};
use alloc::vec::Vec;

/// Fractional bits of the weights: 1.0 is `1 << 11`.
const WEIGHT_ONE: f32 = 2048.0;

/// An element of the network input.
pub(super) trait Sample: Copy {
    /// The element for an 8-bit level: the level itself, or `level / 255`.
    fn from_level(level: u8) -> Self;

    /// The elements for a row of levels.
    fn from_levels(isa: Isa, levels: &[u8], out: &mut [Self]);
}

impl Sample for u8 {
    #[inline]
    fn from_level(level: u8) -> Self {
        level
    }

    fn from_levels(_: Isa, levels: &[u8], out: &mut [Self]) {
        out.copy_from_slice(levels);
    }
}

impl Sample for f32 {
    #[inline]
    fn from_level(level: u8) -> Self {
        f32::from(level) / 255.0
    }

    fn from_levels(isa: Isa, levels: &[u8], out: &mut [Self]) {
        normalise(isa, levels, out);
    }
}

/// Where in the planes a scaled picture goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Left column and top row.
    pub left: usize,
    pub top: usize,
    /// Size of the scaled picture.
    pub width: usize,
    pub height: usize,
}

/// Tables and row buffers, kept between pictures.
pub(super) struct Bilinear {
    isa: Isa,
    columns: Vec<Tap>,
    rows: [Vec<i16>; 2],
    /// Levels of three planar rows, as they go into the planes.
    levels: Vec<u8>,
    /// Two rows of a picture that shrinks by two, each planar.
    halves: [Vec<u8>; 2],
}

impl Default for Bilinear {
    fn default() -> Self {
        Self {
            isa: Isa::detect(),
            columns: Vec::new(),
            rows: [Vec::new(), Vec::new()],
            levels: Vec::new(),
            halves: [Vec::new(), Vec::new()],
        }
    }
}

/// Position of destination sample `d` on a source axis of `len` samples: index of the sample before it, which may be
/// -1 or `len - 1`, and the distance past it.
fn locate(d: usize, scale: f64) -> (i64, f32) {
    let position = ((d as f64 + 0.5) * scale - 0.5) as f32;
    let floor = position.floor();
    (floor as i64, position - floor)
}

fn weights(fraction: f32) -> [i16; 2] {
    let fixed = |w: f32| (w * WEIGHT_ONE).round_ties_even() as i16;
    [fixed(1.0 - fraction), fixed(fraction)]
}

/// OpenCV derives the scale from its inverse, which rounds differently from `source / destination`.
fn scale(source: usize, destination: usize) -> f64 {
    1.0 / (destination as f64 / source as f64)
}

/// Column `d`: outside the picture the border pixel has all the weight.
fn column_tap(d: usize, scale: f64, len: usize) -> Tap {
    let (index, fraction) = locate(d, scale);
    let last = len as i64 - 1;
    let (index, fraction) = if index < 0 {
        (0, 0.0)
    } else if index >= last {
        (last, 0.0)
    } else {
        (index, fraction)
    };
    let byte = |pixel: i64| 3 * pixel as usize;
    Tap { first: byte(index), second: byte((index + 1).min(last)), weights: weights(fraction) }
}

/// Two neighbouring rows of the source and their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RowTap {
    first: usize,
    second: usize,
    weights: [i16; 2],
}

/// Row `d`: outside the picture both samples are the border row, with the weights unchanged.
fn row_tap(d: usize, scale: f64, len: usize) -> RowTap {
    let (index, fraction) = locate(d, scale);
    let clip = |i: i64| i.clamp(0, len as i64 - 1) as usize;
    RowTap { first: clip(index), second: clip(index + 1), weights: weights(fraction) }
}

impl Bilinear {
    /// Scales `image` to the size of `window` and writes it there, into three planes (red, green, blue) of
    /// `plane_width` columns that follow each other in `planes`.
    pub(super) fn scale_into<S: Sample>(
        &mut self,
        image: &ImageRef<'_>,
        window: Window,
        planes: &mut [S],
        plane_width: usize,
    ) {
        let plane = planes.len() / 3;
        let (isa, width) = (self.isa, window.width);
        let mut write = |y: usize, levels: &[u8]| {
            for (c, levels) in levels.chunks_exact(width).enumerate() {
                let start = c * plane + (window.top + y) * plane_width + window.left;
                S::from_levels(isa, levels, &mut planes[start..][..width]);
            }
        };
        self.levels.resize(3 * width, 0);
        if image.width() == 2 * width && image.height() == 2 * window.height {
            for y in 0..window.height {
                let (upper, lower) = (image.row(2 * y), image.row(2 * y + 1));
                halve_rows(isa, upper, lower, &mut self.halves, &mut self.levels);
                write(y, &self.levels);
            }
            return;
        }
        if image.width() == width && image.height() == window.height {
            for y in 0..window.height {
                split_row(isa, image.row(y), &mut self.levels);
                write(y, &self.levels);
            }
            return;
        }
        let scale_x = scale(image.width(), window.width);
        let scale_y = scale(image.height(), window.height);
        self.columns.clear();
        self.columns.extend((0..window.width).map(|d| column_tap(d, scale_x, image.width())));
        for row in &mut self.rows {
            row.resize(3 * window.width, 0);
        }
        let mut held = [usize::MAX; 2];
        for y in 0..window.height {
            let tap = row_tap(y, scale_y, image.height());
            if held[0] != tap.first && held[1] == tap.first {
                self.rows.swap(0, 1);
                held.swap(0, 1);
            }
            for (slot, source) in [tap.first, tap.second].into_iter().enumerate() {
                if held[slot] != source {
                    scale_row(isa, image.row(source), &self.columns, &mut self.rows[slot]);
                    held[slot] = source;
                }
            }
            blend_rows(isa, &self.rows[0], &self.rows[1], tap.weights, &mut self.levels);
            write(y, &self.levels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Size = (usize, usize);

    /// FNV-1a of `cv2.resize(picture, (nw, nh), interpolation=cv2.INTER_LINEAR)` in planar order, where byte `i` of
    /// the picture is the high byte of `i * 2654435761 mod 2^32`.
    const OPENCV: &[(Size, Size, u64)] = &[
        ((81, 108), (48, 64), 0x4544_11fc_e9f0_58bc),
        ((128, 72), (64, 36), 0x1a33_8d9f_70f7_966a),
        ((50, 37), (64, 47), 0x81a7_aef0_5e19_be9e),
        ((192, 108), (64, 36), 0x804f_bdda_a658_0997),
        ((400, 300), (64, 48), 0x2dab_9788_0b31_5a39),
        ((64, 42), (64, 42), 0x80c4_f285_b680_9e2f),
        ((65, 42), (64, 41), 0x5138_bb2d_b2ce_43f4),
        ((7, 5), (64, 45), 0x5cb4_a83c_d1dc_2e1e),
        ((1, 1), (16, 16), 0x298e_da40_6210_7b25),
        ((33, 1), (64, 2), 0xa713_060c_d874_f6d9),
        ((1, 33), (2, 64), 0x8661_98a1_b0c8_ae5b),
        ((129, 72), (64, 36), 0xb4cf_1cc5_77a9_e2c5),
        ((128, 71), (64, 36), 0x441c_c8a4_0ee1_19d7),
        ((640, 480), (416, 312), 0x6807_66f7_0a59_28b6),
    ];

    fn fnv(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn equals_opencv_bit_for_bit() {
        let mut bilinear = Bilinear::default();
        for &((w, h), (width, height), expected) in OPENCV {
            let picture: Vec<u8> =
                (0..w * h * 3).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let image = ImageRef::rgb(&picture, w, h).unwrap();
            let mut planes = vec![0u8; width * height * 3];
            bilinear.scale_into(&image, Window { left: 0, top: 0, width, height }, &mut planes, width);
            assert_eq!(fnv(&planes), expected, "{w}x{h} -> {width}x{height}");
        }
    }

    #[test]
    fn equal_size_copies_every_level() {
        let picture: Vec<u8> = (0..=255).flat_map(|v| [v, 255 - v, v / 2]).collect();
        let image = ImageRef::rgb(&picture, 16, 16).unwrap();
        let mut planes = vec![0u8; 768];
        Bilinear::default().scale_into(&image, Window { left: 0, top: 0, width: 16, height: 16 }, &mut planes, 16);
        for (i, pixel) in picture.chunks_exact(3).enumerate() {
            assert_eq!([planes[i], planes[256 + i], planes[512 + i]], pixel);
        }
    }
}
