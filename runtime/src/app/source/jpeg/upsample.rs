//! Planes of components to RGB pixels: the triangle filters and the colour conversion of libjpeg.

use super::idct;
use super::markers::{ColorSpace, Component, Frame};

/// Interleaved RGB pixels of a whole picture.
pub(super) fn to_rgb(frame: &Frame) -> Vec<u8> {
    let planes: Vec<Plane> = frame.components.iter().map(|c| Plane::new(c, frame)).collect();
    // Filters write whole pairs or groups of samples.
    let room = frame.width + 8;
    let mut rows = vec![vec![0u8; room]; planes.len()];
    let mut pixels = vec![0u8; frame.width * frame.height * 3];
    let mut sums = Vec::new();
    for (y, out) in pixels.chunks_exact_mut(3 * frame.width).enumerate() {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.upsampled_row(y, row, &mut sums);
        }
        if let (ColorSpace::YCbCr, [luma, blue, red]) = (frame.color, &mut rows[..]) {
            convert(luma, blue, red);
        }
        match &rows[..] {
            [red, green, blue] => interleave(red, green, blue, out),
            [grey, ..] => interleave(grey, grey, grey, out),
            [] => {}
        }
    }
    pixels
}

struct Plane {
    samples: Vec<u8>,
    stride: usize,
    /// Samples that carry the picture.
    width: usize,
    height: usize,
    /// Pixels per sample, across and down.
    expand: [usize; 2],
}

impl Plane {
    fn new(component: &Component, frame: &Frame) -> Self {
        Self {
            samples: idct::plane(component),
            stride: component.padded_columns * 8,
            width: component.width,
            height: component.height,
            expand: [frame.h_max / component.h, frame.v_max / component.v],
        }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// Row `y` of the picture; `sums` is scratch memory.
    fn upsampled_row(&self, y: usize, out: &mut [u8], sums: &mut Vec<u16>) {
        let near = self.row(y / self.expand[1]);
        // Between two rows, the farther one counts a quarter. Beyond the border it is the border row.
        let below = y % 2 == 1;
        let far = || {
            let row = y / 2;
            self.row(if below { (row + 1).min(self.height - 1) } else { row.saturating_sub(1) })
        };
        match self.expand {
            [1, 1] => out[..self.width].copy_from_slice(near),
            [2, 1] if self.width > 2 => widen(near, out),
            [1, 2] => {
                let bias = if below { 2 } else { 1 };
                for ((o, n), f) in out.iter_mut().zip(near).zip(far()) {
                    *o = ((3 * u16::from(*n) + u16::from(*f) + bias) >> 2) as u8;
                }
            }
            [2, 2] if self.width > 2 => {
                sums.clear();
                sums.extend(near.iter().zip(far()).map(|(n, f)| 3 * u16::from(*n) + u16::from(*f)));
                widen_sums(sums, out);
            }
            [across, _] => {
                for (group, sample) in out.chunks_mut(across).zip(near) {
                    group.fill(*sample);
                }
            }
        }
    }
}

/// Twice as many samples: each is 3/4 of the nearer and 1/4 of the farther sample.
fn widen(samples: &[u8], out: &mut [u8]) {
    let n = samples.len();
    out[0] = samples[0];
    for (pair, neighbours) in out[1..].chunks_exact_mut(2).zip(samples.windows(2)) {
        let (left, right) = (u16::from(neighbours[0]), u16::from(neighbours[1]));
        pair[0] = ((3 * left + right + 2) >> 2) as u8;
        pair[1] = ((3 * right + left + 1) >> 2) as u8;
    }
    out[2 * n - 1] = samples[n - 1];
}

/// As [`widen`], of sums that are four times a sample.
fn widen_sums(sums: &[u16], out: &mut [u8]) {
    let n = sums.len();
    out[0] = ((4 * sums[0] + 8) >> 4) as u8;
    for (pair, neighbours) in out[1..].chunks_exact_mut(2).zip(sums.windows(2)) {
        let (left, right) = (neighbours[0], neighbours[1]);
        pair[0] = ((3 * left + right + 7) >> 4) as u8;
        pair[1] = ((3 * right + left + 8) >> 4) as u8;
    }
    out[2 * n - 1] = ((4 * sums[n - 1] + 7) >> 4) as u8;
}

/// `value * 2^16`, rounded.
const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

/// Turns rows of Y, Cb and Cr into rows of red, green and blue.
fn convert(luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    const ONE: i32 = 1 << 16;
    let level = |v: i16| v.clamp(0, 255) as u8;
    // `value * factor` for factors of 16 bits; whole parts of factors are added apart.
    let part = |value: i16, factor: i32| i32::from(value) * i32::from(factor as i16);
    for ((a, b), c) in luma.iter_mut().zip(blue).zip(red) {
        let (y, cb, cr) = (i16::from(*a), i16::from(*b) - 128, i16::from(*c) - 128);
        let more_red = (part(cr, fixed(1.402) - ONE) + HALF) >> 16;
        let more_green = (part(cb, -fixed(0.34414)) + part(cr, ONE - fixed(0.71414)) + HALF) >> 16;
        let more_blue = (part(cb, fixed(1.772) - 2 * ONE) + HALF) >> 16;
        *a = level(y + cr + more_red as i16);
        *b = level(y - cr + more_green as i16);
        *c = level(y + 2 * cb + more_blue as i16);
    }
}

fn interleave(red: &[u8], green: &[u8], blue: &[u8], out: &mut [u8]) {
    for (((pixel, r), g), b) in out.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
        pixel.copy_from_slice(&[*r, *g, *b]);
    }
}
