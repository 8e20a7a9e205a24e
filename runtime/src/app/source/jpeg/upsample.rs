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
        match (frame.color, &rows[..]) {
            (ColorSpace::YCbCr, [luma, blue, red]) => convert(luma, blue, red, out),
            (_, [red, green, blue]) => interleave(red, green, blue, out),
            (_, [grey, ..]) => interleave(grey, grey, grey, out),
            (_, []) => {}
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
    let mixed = |near: usize, far: usize, bias: u16| {
        ((3 * u16::from(samples[near]) + u16::from(samples[far]) + bias) >> 2) as u8
    };
    out[0] = samples[0];
    for i in 1..n {
        out[2 * i - 1] = mixed(i - 1, i, 2);
        out[2 * i] = mixed(i, i - 1, 1);
    }
    out[2 * n - 1] = samples[n - 1];
}

/// As [`widen`], of sums that are four times a sample.
fn widen_sums(sums: &[u16], out: &mut [u8]) {
    let n = sums.len();
    out[0] = ((4 * sums[0] + 8) >> 4) as u8;
    for i in 1..n {
        out[2 * i - 1] = ((3 * sums[i - 1] + sums[i] + 7) >> 4) as u8;
        out[2 * i] = ((3 * sums[i] + sums[i - 1] + 8) >> 4) as u8;
    }
    out[2 * n - 1] = ((4 * sums[n - 1] + 7) >> 4) as u8;
}

/// `value * 2^16`, rounded.
const fn fixed(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

fn convert(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    for (((pixel, y), cb), cr) in out.chunks_exact_mut(3).zip(luma).zip(blue).zip(red) {
        let (y, cb, cr) = (i32::from(*y), i32::from(*cb) - 128, i32::from(*cr) - 128);
        let level = |v: i32| v.clamp(0, 255) as u8;
        pixel[0] = level(y + ((fixed(1.402) * cr + HALF) >> 16));
        pixel[1] = level(y + ((-fixed(0.34414) * cb - fixed(0.71414) * cr + HALF) >> 16));
        pixel[2] = level(y + ((fixed(1.772) * cb + HALF) >> 16));
    }
}

fn interleave(red: &[u8], green: &[u8], blue: &[u8], out: &mut [u8]) {
    for (((pixel, r), g), b) in out.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
        pixel.copy_from_slice(&[*r, *g, *b]);
    }
}
