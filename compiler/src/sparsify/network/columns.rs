//! Windows of a feature map side by side, as the columns of a matrix.

use super::Shape;
use super::shape::positions;
use crate::ir::ConvGeometry;
use std::ops::Range;

/// Elements of a tile of columns: what stays in a second-level cache beside its product.
const TILE_ELEMENTS: usize = 48 * 1024;
/// Fewest columns of a tile, for products to be worth their start.
const MIN_COLUMNS: usize = 64;
/// Most columns of a tile.
const MAX_COLUMNS: usize = 1024;

/// How a convolution looks at its input of a given shape.
#[derive(Clone, Debug)]
pub struct Window<'a> {
    geometry: &'a ConvGeometry,
    input: Shape,
    rows: usize,
    columns: usize,
}

/// The windows at some rows of output pixels: a row per channel and tap, a column per pixel.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    pub(super) elements: Vec<f32>,
}

impl<'a> Window<'a> {
    /// The windows of `geometry` over a map of shape `input`.
    ///
    /// # Panics
    /// When the window does not fit into the map once.
    pub fn new(geometry: &'a ConvGeometry, input: Shape) -> Self {
        let [top, left, bottom, right] = geometry.pad;
        let along = |axis: usize, extent: usize, pad: usize| {
            positions(extent, geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis], pad)
                .expect("the window fits into the map")
        };
        let rows = along(0, input.height, top + bottom);
        let columns = along(1, input.width, left + right);
        Window { geometry, input, rows, columns }
    }

    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Rows of the matrix for one group: channels of the group times the window.
    pub fn taps(&self) -> usize {
        self.input.channels / self.geometry.group * self.geometry.kernel[0] * self.geometry.kernel[1]
    }

    /// Whether the matrix of a group is the map itself.
    pub fn is_identity(&self) -> bool {
        let g = self.geometry;
        g.kernel == [1, 1] && g.stride == [1, 1] && g.pad == [0; 4]
    }

    /// The output rows in tiles whose columns fit a cache.
    pub fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let wanted = (TILE_ELEMENTS / self.taps()).clamp(MIN_COLUMNS, MAX_COLUMNS);
        let step = (wanted / self.columns).max(1);
        let rows = self.rows;
        (0..rows).step_by(step).map(move |row| row..(row + step).min(rows))
    }

    /// Copies the windows of one group at the output rows `tile`, zeros where they overlap the padding.
    pub fn gather(&self, map: &[f32], group: usize, tile: Range<usize>, columns: &mut Columns) {
        let width = self.columns * tile.len();
        columns.elements.resize(self.taps() * width, 0.0);
        let mut rows = columns.elements.chunks_exact_mut(width);
        self.for_each_tap(group, |channel, ky, kx| {
            let plane = &map[channel * self.input.pixels()..][..self.input.pixels()];
            let row = rows.next().expect("a row per tap");
            let (inside, first) = self.inside(kx);
            for (oy, out) in tile.clone().zip(row.chunks_exact_mut(self.columns)) {
                let Some(y) = self.source_row(oy, ky) else {
                    out.fill(0.0);
                    continue;
                };
                out[..inside.start].fill(0.0);
                out[inside.end..].fill(0.0);
                let source = &plane[y * self.input.width..][..self.input.width];
                match self.geometry.stride[1] {
                    1 => out[inside.clone()].copy_from_slice(&source[first..][..inside.len()]),
                    2 => {
                        let pairs = source[first..].chunks(2);
                        out[inside.clone()].iter_mut().zip(pairs).for_each(|(o, pair)| *o = pair[0]);
                    }
                    stride => {
                        let taps = source[first..].iter().step_by(stride);
                        out[inside.clone()].iter_mut().zip(taps).for_each(|(o, x)| *o = *x);
                    }
                }
            }
        });
    }

    /// Adds columns to the map elements they were copied from: the transpose of [`Window::gather`].
    pub(super) fn scatter(&self, columns: &Columns, group: usize, tile: Range<usize>, map: &mut [f32]) {
        let width = self.columns * tile.len();
        let mut rows = columns.elements.chunks_exact(width);
        self.for_each_tap(group, |channel, ky, kx| {
            let plane = &mut map[channel * self.input.pixels()..][..self.input.pixels()];
            let row = rows.next().expect("a row per tap");
            let (inside, first) = self.inside(kx);
            for (oy, from) in tile.clone().zip(row.chunks_exact(self.columns)) {
                let Some(y) = self.source_row(oy, ky) else { continue };
                let target = &mut plane[y * self.input.width..][..self.input.width];
                let from = &from[inside.clone()];
                match self.geometry.stride[1] {
                    1 => target[first..].iter_mut().zip(from).for_each(|(t, x)| *t += *x),
                    2 => target[first..].chunks_mut(2).zip(from).for_each(|(t, x)| t[0] += *x),
                    stride => target[first..].iter_mut().step_by(stride).zip(from).for_each(|(t, x)| *t += *x),
                }
            }
        });
    }

    fn for_each_tap(&self, group: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let channels = self.input.channels / self.geometry.group;
        for channel in group * channels..(group + 1) * channels {
            for ky in 0..self.geometry.kernel[0] {
                for kx in 0..self.geometry.kernel[1] {
                    visit(channel, ky, kx);
                }
            }
        }
    }

    /// The map row that tap `ky` of output row `oy` reads, unless it is padding.
    fn source_row(&self, oy: usize, ky: usize) -> Option<usize> {
        let g = self.geometry;
        (oy * g.stride[0] + ky * g.dilation[0]).checked_sub(g.pad[0]).filter(|&y| y < self.input.height)
    }

    /// The output columns whose tap `kx` lies in the map, and the map column that the first of them reads.
    fn inside(&self, kx: usize) -> (Range<usize>, usize) {
        let (stride, offset, pad) = (self.geometry.stride[1], kx * self.geometry.dilation[1], self.geometry.pad[1]);
        let start = pad.saturating_sub(offset).div_ceil(stride).min(self.columns);
        let end = (self.input.width + pad).saturating_sub(offset).div_ceil(stride).min(self.columns);
        let end = end.max(start);
        let first = if start == end { 0 } else { start * stride + offset - pad };
        (start..end, first)
    }
}
