//! Which input rows and columns an output reaches.

use crate::ir::{ConvGeometry, Op, Pool};

/// Taps of a convolution in the coordinates of an input split by the stride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taps {
    /// For every kernel row: stride phase, and rows from the output row.
    pub rows: Vec<(usize, isize)>,
    /// For every kernel column: stride phase, and columns from the output column.
    pub columns: Vec<(usize, isize)>,
}

impl Taps {
    /// Taps of a window.
    pub fn new(geometry: &ConvGeometry) -> Taps {
        let axis = |a: usize| {
            let (stride, pad) = (geometry.stride[a] as isize, geometry.pad[a] as isize);
            (0..geometry.kernel[a])
                .map(|k| {
                    let at = (k * geometry.dilation[a]) as isize - pad;
                    (at.rem_euclid(stride) as usize, at.div_euclid(stride))
                })
                .collect()
        };
        Taps { rows: axis(0), columns: axis(1) }
    }

    /// Padding of a plane of `plane` rows and columns that `output` rows and columns reach: top, left, bottom, right.
    /// The right padding also makes room for every output column in a row.
    pub fn padding(&self, plane: [usize; 2], output: [usize; 2]) -> [usize; 4] {
        let reach = |taps: &[(usize, isize)], plane: usize, output: usize| {
            let first = taps.iter().map(|t| t.1).min().unwrap_or(0);
            let last = taps.iter().map(|t| t.1).max().unwrap_or(0) + output as isize - plane as isize;
            ((-first).max(0) as usize, last.max(0) as usize)
        };
        let (top, bottom) = reach(&self.rows, plane[0], output[0]);
        let (left, right) = reach(&self.columns, plane[1], output[1]);
        [top, left, bottom, right.max(output[1].saturating_sub(plane[1]))]
    }
}

/// Input rows `0..n` that output rows `0..rows` of an operator read, of an input with `height` rows.
/// `None` when the operator needs its whole input at once.
pub fn rows_needed(op: &Op, input: usize, rows: usize, height: usize) -> Option<usize> {
    let window =
        |kernel: usize, stride: usize, pad: usize| ((rows - 1) * stride + kernel).saturating_sub(pad).min(height);
    // At least one row: the first row of a map comes with its padding, which a window may read alone.
    let needed = match op {
        _ if rows == 0 => return Some(0),
        Op::Conv(conv) if input == 0 => {
            let g = &conv.geometry;
            Some(window((g.kernel[0] - 1) * g.dilation[0] + 1, g.stride[0], g.pad[0]))
        }
        Op::Conv(_) => Some(rows.min(height)),
        Op::MaxPool(Pool { kernel, stride, pad }) | Op::AveragePool { pool: Pool { kernel, stride, pad }, .. } => {
            Some(window(kernel[0], stride[0], pad[0]))
        }
        Op::ResizeNearest { scale } => Some(rows.div_ceil(scale[0]).min(height)),
        _ => None,
    };
    needed.map(|n: usize| n.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stem_of_yolov5_reads_three_by_three_taps_of_four_phases() {
        let stem = ConvGeometry { kernel: [6, 6], stride: [2, 2], pad: [2, 2, 2, 2], dilation: [1, 1], group: 1 };
        let taps = Taps::new(&stem);
        assert_eq!(taps.rows, [(0, -1), (1, -1), (0, 0), (1, 0), (0, 1), (1, 1)]);
        assert_eq!(taps.padding([320, 320], [320, 320]), [1, 1, 1, 1]);
    }

    #[test]
    fn a_window_over_padding_alone_still_needs_the_first_row() {
        let geometry = ConvGeometry { kernel: [1, 1], stride: [1, 1], pad: [1; 4], dilation: [1, 1], group: 1 };
        let conv = Op::Conv(crate::ir::Conv { geometry, quant: None, epilogue: crate::ir::Epilogue::default() });
        assert_eq!(rows_needed(&conv, 0, 1, 8), Some(1));
        assert_eq!(rows_needed(&conv, 0, 3, 8), Some(2));
    }

    #[test]
    fn padding_contains_every_read() {
        for kernel in 1..=5 {
            for stride in 1..=3 {
                for pad in 0..kernel {
                    for dilation in 1..=2 {
                        for extent in 5..12 {
                            let span = (kernel - 1) * dilation + 1;
                            if extent + 2 * pad < span {
                                continue;
                            }
                            let out = (extent + 2 * pad - span) / stride + 1;
                            let geometry = ConvGeometry {
                                kernel: [kernel, kernel],
                                stride: [stride, stride],
                                pad: [pad; 4],
                                dilation: [dilation, dilation],
                                group: 1,
                            };
                            let taps = Taps::new(&geometry);
                            let plane = extent.div_ceil(stride);
                            let [top, _, bottom, _] = taps.padding([plane, plane], [out, out]);
                            for o in 0..out {
                                for &(phase, row) in &taps.rows {
                                    let y = o as isize + row;
                                    assert!(y >= -(top as isize) && y < (plane + bottom) as isize);
                                    assert!(phase < stride);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
