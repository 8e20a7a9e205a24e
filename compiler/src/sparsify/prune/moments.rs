//! What a convolution sees and what it should answer, in second moments over pixels.

use super::cholesky::{Cholesky, dot};
use crate::ir::ConvGeometry;
use crate::sparsify::product::{Rows, RowsMut, multiply_transposed};

/// Columns of a block of the symmetric product.
const BLOCK: usize = 192;

/// A feature map of one image: channels, height, width.
#[derive(Clone, Copy)]
pub struct Map<'m> {
    /// The elements, row-major.
    pub elements: &'m [f32],
    /// Channels, height and width.
    pub shape: [usize; 3],
}

/// The windows of some output pixels, one per row: channel by channel, row by row, and a 1 for the bias at the end.
pub fn windows(map: Map<'_>, geometry: &ConvGeometry, out: [usize; 2], pixels: &[usize]) -> Vec<f32> {
    let [channels, height, width] = map.shape;
    let [kh, kw] = geometry.kernel;
    let columns = channels * kh * kw + 1;
    let mut rows = vec![0.0; pixels.len() * columns];
    for (row, &pixel) in rows.chunks_exact_mut(columns).zip(pixels) {
        let (top, left) = (pixel / out[1] * geometry.stride[0], pixel % out[1] * geometry.stride[1]);
        let mut cells = row.iter_mut();
        for channel in map.elements.chunks_exact(height * width) {
            for ky in 0..kh {
                let y = (top + ky * geometry.dilation[0]).wrapping_sub(geometry.pad[0]);
                for kx in 0..kw {
                    let x = (left + kx * geometry.dilation[1]).wrapping_sub(geometry.pad[1]);
                    let cell = cells.next().expect("a cell per weight");
                    if y < height && x < width {
                        *cell = channel[y * width + x];
                    }
                }
            }
        }
        row[columns - 1] = 1.0;
    }
    rows
}

/// The windows of all pixels of the output rows from `from` to `to`, one per column, and a row of ones for the bias.
pub fn columns(map: Map<'_>, geometry: &ConvGeometry, width: usize, [from, to]: [usize; 2]) -> Vec<f32> {
    let [channels, map_height, map_width] = map.shape;
    let [kh, kw] = geometry.kernel;
    let pixels = (to - from) * width;
    let mut columns = vec![0.0; (channels * kh * kw + 1) * pixels];
    let mut rows = columns.chunks_exact_mut(pixels);
    let step = geometry.stride[1];
    for channel in map.elements.chunks_exact(map_height * map_width) {
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let row = rows.next().expect("a row per weight");
            let shift = kx * geometry.dilation[1];
            // Output columns whose input column lies in the map.
            let first = geometry.pad[1].saturating_sub(shift).div_ceil(step);
            let end = (map_width + geometry.pad[1]).saturating_sub(shift).div_ceil(step).min(width);
            for (line, y) in row.chunks_exact_mut(width).zip(from..to) {
                let y = (y * geometry.stride[0] + ky * geometry.dilation[0]).wrapping_sub(geometry.pad[0]);
                if y >= map_height || first >= end {
                    continue;
                }
                let source = &channel[y * map_width..][..map_width][first * step + shift - geometry.pad[1]..];
                let line = &mut line[first..end];
                if step == 1 {
                    line.copy_from_slice(&source[..end - first]);
                } else {
                    line.iter_mut().zip(source.iter().step_by(step)).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
    rows.next().expect("a row for the bias").fill(1.0);
    columns
}

/// Output pixels to look at: at most `most` of `total`, evenly spread, never in step with the rows of the map.
pub fn sample(total: usize, most: usize, seed: u64) -> Vec<usize> {
    if total <= most {
        return (0..total).collect();
    }
    let mut state = seed;
    let pick = |i: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = (z >> 40) as f64 / (1u64 << 24) as f64;
        (((i as f64 + part) * total as f64 / most as f64) as usize).min(total - 1)
    };
    (0..most).map(pick).collect()
}

/// Second moments of windows `x` (with the constant 1 in the end) and wanted answers `y`, summed over pixels.
#[derive(Clone)]
pub struct Moments {
    /// Length of a window.
    pub inputs: usize,
    /// Channels of an answer.
    pub outputs: usize,
    /// `Σ x xᵀ`, of which only the lower triangle is kept up to date by [`Moments::add`].
    pub xx: Vec<f64>,
    /// `Σ y xᵀ`.
    pub yx: Vec<f64>,
    /// `Σ y²` of every channel.
    pub yy: Vec<f64>,
}

impl Moments {
    /// Of no pixels yet.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            xx: vec![0.0; inputs * inputs],
            yx: vec![0.0; outputs * inputs],
            yy: vec![0.0; outputs],
        }
    }

    /// The moments of some pixels: a window and an answer in each row.
    pub fn of(windows: &[f32], answers: &[f32], inputs: usize, outputs: usize) -> Self {
        let pixels = windows.len() / inputs;
        let mut moments = Self::new(inputs, outputs);
        let (x, y) = (Rows::dense(windows, pixels, inputs), Rows::dense(answers, pixels, outputs));
        let mut xx = vec![0.0f32; inputs * inputs];
        for from in (0..inputs).step_by(BLOCK) {
            let to = (from + BLOCK).min(inputs);
            let part = RowsMut { elements: &mut xx[from * inputs..], rows: to - from, columns: to, stride: inputs };
            multiply_transposed(part, false, x.columns(from..to), x.columns(0..to));
        }
        let mut yx = vec![0.0f32; outputs * inputs];
        multiply_transposed(RowsMut::dense(&mut yx, outputs, inputs), false, y, x);
        moments.xx = xx.into_iter().map(f64::from).collect();
        moments.yx = yx.into_iter().map(f64::from).collect();
        for row in answers.chunks_exact(outputs) {
            for (sum, &y) in moments.yy.iter_mut().zip(row) {
                *sum += f64::from(y) * f64::from(y);
            }
        }
        moments
    }

    /// Adds those of other pixels.
    pub fn add(&mut self, other: &Moments) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        add(&mut self.xx, &other.xx);
        add(&mut self.yx, &other.yx);
        add(&mut self.yy, &other.yy);
    }

    /// Fills the upper triangle, divides by the number of pixels, puts the inputs into another `order` (the bias stays
    /// last), and adds `damping` of the mean square to the diagonal in a way that pulls answers towards those of
    /// `dense`, rows of weights with the bias at the end, in natural order.
    pub fn finish(mut self, order: &[usize], dense: &[f64], damping: f64) -> Self {
        let n = self.inputs;
        let pixels = self.xx[n * n - 1].max(1.0);
        let order: Vec<usize> = order.iter().copied().chain([n - 1]).collect();
        let old = std::mem::take(&mut self.xx);
        let at = |i: usize, j: usize| old[i.max(j) * n + i.min(j)] / pixels;
        self.xx = order.iter().flat_map(|&i| order.iter().map(move |&j| (i, j))).map(|(i, j)| at(i, j)).collect();
        let old = std::mem::take(&mut self.yx);
        self.yx = old.chunks_exact(n).flat_map(|row| order.iter().map(|&i| row[i] / pixels)).collect();
        self.yy.iter_mut().for_each(|y| *y /= pixels);
        let mean = (0..n - 1).map(|i| self.xx[i * n + i]).sum::<f64>() / (n - 1).max(1) as f64;
        let ridge = (damping * mean).max(1e-12);
        for i in 0..n {
            // The bias is as sure as anything.
            let ridge = if i == n - 1 { 1e-9 } else { ridge };
            self.xx[i * n + i] += ridge;
            for o in 0..self.outputs {
                let pull = ridge * dense[o * n + order[i]];
                self.yx[o * n + i] += pull;
                self.yy[o] += pull * dense[o * n + order[i]];
            }
        }
        self
    }

    /// Row `output` of `Σ y xᵀ`.
    pub fn wanted(&self, output: usize) -> &[f64] {
        &self.yx[output * self.inputs..][..self.inputs]
    }

    /// The mean squared error of an output channel with weights `w`.
    pub fn error(&self, output: usize, w: &[f64]) -> f64 {
        let n = self.inputs;
        let mut sum = self.yy[output] - 2.0 * dot(w, self.wanted(output));
        for (i, &wi) in w.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            sum += wi * dot(&self.xx[i * n..][..n], w);
        }
        sum.max(0.0)
    }

    /// Scales weights with the bias at the end so that answers vary more like those that are wanted, around the same mean.
    /// Least squares answers vary less, and what little each layer loses adds up along the network. `part` is the
    /// exponent of the factor that would restore the variance: 0 changes nothing.
    pub fn restore_variance(&self, output: usize, w: &mut [f64], part: f64) {
        let n = self.inputs;
        let mean = dot(w, &self.xx[(n - 1) * n..][..n]);
        let square: f64 = (0..n).map(|i| w[i] * dot(&self.xx[i * n..][..n], w)).sum();
        let wanted = self.yy[output] - self.wanted(output)[n - 1].powi(2);
        let found = square - mean * mean;
        if !(found > 1e-3 * wanted && wanted > 0.0) {
            return;
        }
        let factor = (wanted / found).sqrt().max(1.0).powf(part);
        w.iter_mut().for_each(|w| *w *= factor);
        w[n - 1] += (1.0 - factor) * mean;
    }

    /// The best weights of an output channel of which only those in `kept` (ascending) are not zero.
    pub fn refit(&self, output: usize, kept: &[usize]) -> Option<Vec<f64>> {
        let n = self.inputs;
        let part = kept.iter().flat_map(|&i| kept.iter().map(move |&j| i * n + j)).map(|at| self.xx[at]).collect();
        let mut solution: Vec<f64> = kept.iter().map(|&i| self.wanted(output)[i]).collect();
        Cholesky::new(part, kept.len())?.solve(&mut solution);
        let mut weights = vec![0.0; n];
        kept.iter().zip(solution).for_each(|(&i, w)| weights[i] = w);
        Some(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::{Map, Moments, columns, sample, windows};
    use crate::ir::ConvGeometry;

    #[test]
    fn windows_and_columns_are_the_same_pixels() {
        let elements: Vec<f32> = (0..2 * 7 * 9).map(|i| i as f32 + 1.0).collect();
        let map = Map { elements: &elements, shape: [2, 7, 9] };
        for (kernel, stride, pad, dilation) in [
            ([3, 3], [1, 1], 1, 1),
            ([3, 3], [2, 2], 1, 1),
            ([6, 6], [2, 2], 2, 1),
            ([1, 1], [1, 1], 0, 1),
            ([3, 2], [1, 3], 2, 2),
        ] {
            let geometry = ConvGeometry { kernel, stride, pad: [pad; 4], dilation: [dilation; 2], group: 1 };
            let out = [0, 1].map(|i| ([7, 9][i] + 2 * pad - dilation * (kernel[i] - 1) - 1) / stride[i] + 1);
            let pixels: Vec<usize> = (out[1]..out[0] * out[1]).collect();
            let windows = windows(map, &geometry, out, &pixels);
            let columns = columns(map, &geometry, out[1], [1, out[0]]);
            let inputs = 2 * kernel[0] * kernel[1] + 1;
            for p in 0..pixels.len() {
                for i in 0..inputs {
                    assert_eq!(windows[p * inputs + i], columns[i * pixels.len() + p], "{geometry:?} {p} {i}");
                }
            }
        }
    }

    #[test]
    fn samples_are_spread_and_ascending() {
        assert_eq!(sample(5, 8, 1), [0, 1, 2, 3, 4]);
        let pixels = sample(10_000, 100, 3);
        assert!(pixels.windows(2).all(|w| w[0] <= w[1]) && pixels[99] >= 9900 && pixels[0] < 100);
    }

    #[test]
    fn moments_know_the_best_weights_and_their_error() {
        // y = 2 a - b + 3, seen without noise.
        let points = [[0.0, 1.0], [1.0, 0.5], [2.0, -1.0], [-1.0, 0.3], [0.4, 2.0]];
        let x: Vec<f32> = points.iter().flat_map(|p| [p[0], p[1], 1.0]).collect();
        let y: Vec<f32> = points.iter().map(|p| 2.0 * p[0] - p[1] + 3.0).collect();
        let mut moments = Moments::of(&x[..6], &y[..2], 3, 1);
        moments.add(&Moments::of(&x[6..], &y[2..], 3, 1));
        let moments = moments.finish(&[0, 1], &[2.0, -1.0, 3.0], 1e-6);
        let best = moments.refit(0, &[0, 1, 2]).expect("five points");
        assert!((best[0] - 2.0).abs() < 1e-4 && (best[1] + 1.0).abs() < 1e-4 && (best[2] - 3.0).abs() < 1e-4);
        assert!(moments.error(0, &best) < 1e-5);
        let mut without = moments.refit(0, &[0, 2]).expect("five points");
        let mean = |w: &[f64]| points.iter().map(|p| w[0] * f64::from(p[0]) + w[2]).sum::<f64>() / 5.0;
        let before = (mean(&without), without[0]);
        moments.restore_variance(0, &mut without, 1.0);
        assert!((mean(&without) - before.0).abs() < 1e-4 && without[0] > before.1);
        let without = moments.refit(0, &[0, 2]).expect("five points");
        assert!(moments.error(0, &without) < moments.error(0, &[2.0, 0.0, 3.0]));
    }
}
