//! Sums of products under a convolution window, in `f64`, with zero weights skipped.
//!
//! The input is padded once and split by stride phase, so that under every tap (one weight) the elements that meet
//! consecutive outputs are consecutive in memory, row ends included. A channel then is a sum of scaled slices.
//! `f64` holds sums of integer products exactly, so this serves quantised convolutions too.

use crate::ir::ConvGeometry;
use std::num::NonZero;
use std::thread;

/// Elements of the accumulator that are worked on at a time; they stay in the first-level cache.
const TILE: usize = 2048;

/// Convolution operands. `x` is `[channels, height, width]` with the zero point taken off, `weight` as in
/// [`Conv`](crate::ir::Conv), likewise.
pub(super) struct Operands<'a> {
    pub(super) geometry: &'a ConvGeometry,
    pub(super) x: &'a [f32],
    pub(super) x_shape: [usize; 3],
    pub(super) weight: &'a [f32],
    /// Channels, height and width of the output.
    pub(super) out_shape: [usize; 3],
}

/// `initial[channel] + sum(weight * x)` for every output element.
pub(super) fn convolve(operands: &Operands<'_>, initial: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    let [channels, height, width] = operands.out_shape;
    let planes = Planes::new(operands);
    let mut sums = vec![0.0; channels * height * width];
    if sums.is_empty() {
        return sums;
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(channels);
    let per_thread = channels.div_ceil(threads);
    thread::scope(|scope| {
        for (t, chunk) in sums.chunks_mut(per_thread * height * width).enumerate() {
            let (planes, initial) = (&planes, &initial);
            scope.spawn(move || {
                for (c, map) in chunk.chunks_exact_mut(height * width).enumerate() {
                    let channel = t * per_thread + c;
                    planes.sum_channel(&operands.taps(planes, channel), initial(channel), width, map);
                }
            });
        }
    });
    sums
}

/// A nonzero weight and the element of [`Planes`] that it meets at the first output.
struct Tap {
    offset: usize,
    weight: f64,
}

impl Operands<'_> {
    fn taps(&self, planes: &Planes, out_channel: usize) -> Vec<Tap> {
        let ConvGeometry { kernel, stride, dilation, group, .. } = *self.geometry;
        let in_group = self.x_shape[0] / group;
        let first_channel = out_channel / (self.out_shape[0] / group) * in_group;
        let window = kernel[0] * kernel[1];
        let weights = &self.weight[out_channel * in_group * window..][..in_group * window];
        let nonzero = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
        let tap = |(i, &weight): (usize, &f32)| {
            let channel = first_channel + i / window;
            let (y, x) = (i % window / kernel[1] * dilation[0], i % kernel[1] * dilation[1]);
            let phase = (y % stride[0]) * stride[1] + x % stride[1];
            let plane = channel * stride[0] * stride[1] + phase;
            let offset = plane * planes.plane_len() + y / stride[0] * planes.width + x / stride[1];
            Tap { offset, weight: f64::from(weight) }
        };
        nonzero.map(tap).collect()
    }
}

/// The padded input. Plane `(channel, py, px)` holds `padded[channel][y * stride + py][x * stride + px]`.
struct Planes {
    data: Vec<f32>,
    height: usize,
    width: usize,
}

impl Planes {
    fn new(operands: &Operands<'_>) -> Self {
        let ConvGeometry { stride, pad, .. } = *operands.geometry;
        let [channels, in_height, in_width] = operands.x_shape;
        let height = (in_height + pad[0] + pad[2]).div_ceil(stride[0]);
        let width = (in_width + pad[1] + pad[3]).div_ceil(stride[1]);
        let mut planes = Planes { data: vec![0.0; channels * stride[0] * stride[1] * height * width], height, width };
        let len = planes.plane_len();
        for (row_index, row) in operands.x.chunks_exact(in_width.max(1)).enumerate() {
            let (channel, y) = (row_index / in_height, row_index % in_height + pad[0]);
            let first_plane = (channel * stride[0] + y % stride[0]) * stride[1];
            for (x, &element) in row.iter().enumerate() {
                let x = x + pad[1];
                let plane = first_plane + x % stride[1];
                planes.data[plane * len + y / stride[0] * width + x / stride[1]] = element;
            }
        }
        planes
    }

    fn plane_len(&self) -> usize {
        self.height * self.width
    }

    /// Fills `map`, rows of `out_width`, with `initial` plus the sum over `taps`.
    fn sum_channel(&self, taps: &[Tap], initial: f64, out_width: usize, map: &mut [f64]) {
        let rows_per_tile = (TILE / self.width).max(1);
        let mut tile = Vec::new();
        for (t, rows) in map.chunks_mut(rows_per_tile * out_width).enumerate() {
            let row_count = rows.len() / out_width;
            tile.clear();
            tile.resize((row_count - 1) * self.width + out_width, initial);
            add_taps(&mut tile, &self.data[t * rows_per_tile * self.width..], taps);
            for (row, from) in rows.chunks_exact_mut(out_width).zip(tile.chunks(self.width)) {
                row.copy_from_slice(&from[..out_width]);
            }
        }
    }
}

/// `sums[i] += weight * data[offset + i]` for every tap, four taps per pass.
fn add_taps(sums: &mut [f64], data: &[f32], taps: &[Tap]) {
    let n = sums.len();
    let slice = |tap: &Tap| &data[tap.offset..tap.offset + n];
    let quads = taps.chunks_exact(4);
    let rest = quads.remainder();
    for quad in quads {
        let (a, b, c, d) = (slice(&quad[0]), slice(&quad[1]), slice(&quad[2]), slice(&quad[3]));
        let w = [quad[0].weight, quad[1].weight, quad[2].weight, quad[3].weight];
        for i in 0..n {
            let ab = w[0] * f64::from(a[i]) + w[1] * f64::from(b[i]);
            let cd = w[2] * f64::from(c[i]) + w[3] * f64::from(d[i]);
            sums[i] += ab + cd;
        }
    }
    for tap in rest {
        for (sum, &x) in sums.iter_mut().zip(slice(tap)) {
            *sum += tap.weight * f64::from(x);
        }
    }
}
