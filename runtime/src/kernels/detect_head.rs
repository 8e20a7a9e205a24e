//! Decode of anchor-based detection heads.

#[cfg(target_arch = "x86_64")]
mod blocks;

use super::map::Map;
use super::strided::View;
use crate::engine::Buffers;
use crate::simd::{Isa, math, per_isa, prefetch, transpose4};
use alloc::borrow::Cow;

/// Columns, and outputs of a column, decoded at a time.
const BLOCK: usize = 16;

/// Raw head maps to rows of `[x, y, w, h, objectness, classes...]`.
///
/// With `s = sigmoid(raw)`: `x = (s0 * 2 + (column - 0.5)) * stride`, `y` likewise with the row,
/// `w = (s2 * 2) * (s2 * 2) * anchor.w`, `h` likewise, every other output `s`.
#[derive(Clone, Debug)]
pub struct DetectHead {
    /// Numbers per row.
    pub outputs: usize,
    /// Scales, in the order of the rows.
    pub levels: Cow<'static, [Level]>,
    /// Contiguous `f32[rows, outputs]`, ordered by level, anchor, row, column.
    pub y: View,
}

/// One scale of a head.
#[derive(Clone, Debug)]
pub struct Level {
    /// `f32[anchors * outputs, h, w]`
    pub map: Map,
    /// Pixels of the network input per cell.
    pub stride: f32,
    /// Width and height of every anchor, in pixels of the network input.
    pub anchors: Cow<'static, [[f32; 2]]>,
}

impl DetectHead {
    /// Units of work: one per level, anchor and row of cells.
    pub fn units(&self) -> usize {
        self.levels.iter().map(|l| l.anchors.len() * l.map.height).sum()
    }
}

/// The cells of one unit.
struct Cells<'a> {
    level: &'a Level,
    anchor: usize,
    /// Row of the map.
    y: usize,
    /// Row of the output that the first cell fills.
    row: usize,
}

impl DetectHead {
    /// Computes one unit.
    ///
    /// # Safety
    /// The maps and the view must lie inside `buffers`, no two threads may compute the same unit at once, and the
    /// machine must have `isa`.
    pub unsafe fn run_unit(&self, isa: Isa, buffers: &Buffers<'_>, unit: usize) {
        let cells = self.cells(unit);
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni | Isa::Avx512
                    if self.outputs.min(cells.level.map.width) >= blocks::LANES && !cells.level.map.is_split() =>
                {
                    self.run_blocks(isa, buffers, &cells);
                }
                _ => self.run_plain(isa, buffers, &cells),
            }
        }
    }

    /// Units go from the top of all maps to their bottom, so that a share of them reads that share of every map.
    fn cells(&self, unit: usize) -> Cells<'_> {
        let bands = self.levels.iter().map(|l| l.map.height).min().expect("a head has levels");
        let top = |level: &Level, band: usize| level.map.height * band / bands;
        let before = |band: usize| self.levels.iter().map(|l| l.anchors.len() * top(l, band)).sum::<usize>();
        let band = (0..bands).rev().find(|&band| before(band) <= unit).expect("nothing is before the first band");
        let mut unit = unit - before(band);
        let mut first_row = 0;
        for level in self.levels.iter() {
            let Level { map, anchors, .. } = level;
            let first = top(level, band);
            let height = top(level, band + 1) - first;
            if unit < anchors.len() * height {
                let (anchor, y) = (unit / height, first + unit % height);
                return Cells { level, anchor, y, row: first_row + (anchor * map.height + y) * map.width };
            }
            unit -= anchors.len() * height;
            first_row += anchors.len() * map.height * map.width;
        }
        unreachable!("a unit is below `units()`")
    }
}

per_isa! {
    impl DetectHead {
        /// As [`DetectHead::run_unit`], by the definition.
        ///
        /// # Safety
        /// As for [`DetectHead::run_unit`].
        unsafe fn run_plain(&self, buffers: &Buffers<'_>, cells: &Cells<'_>) => run_with
    }
}

impl DetectHead {
    #[inline(always)]
    unsafe fn run_with(&self, buffers: &Buffers<'_>, cells: &Cells<'_>) {
        let Cells { level, anchor, y, row: first_row } = *cells;
        let map = &level.map;
        let [anchor_width, anchor_height] = level.anchors[anchor];
        let stride = level.stride;
        // SAFETY: channels and rows lie inside the map, rows of the output inside the view.
        unsafe {
            let out = buffers.base(&self.y.base).add(self.y.offset).cast::<f32>();
            let out = out.add(first_row * self.outputs);
            let raw = map.ptr::<f32>(buffers.arena).cast_const();
            for first in (0..self.outputs).step_by(BLOCK) {
                let outputs = BLOCK.min(self.outputs - first);
                let row = |k: usize, x: usize| raw.wrapping_add(map.index(anchor * self.outputs + first + k, y, x));
                for x in (0..map.width).step_by(BLOCK) {
                    let columns = BLOCK.min(map.width - x);
                    // The channels of a block are far apart: only asking early for the next block's hides the way.
                    for k in outputs..(2 * outputs).min(self.outputs - first) {
                        prefetch(row(k, x).cast());
                    }
                    let mut block = [[0f32; BLOCK]; BLOCK];
                    for (k, v) in block.iter_mut().enumerate().take(outputs) {
                        // Whole blocks are read; past the row's end the arena goes on, and those columns are not stored.
                        *v = row(k, x).cast::<[f32; BLOCK]>().read_unaligned();
                        v.iter_mut().for_each(|v| *v = math::sigmoid(*v));
                        match first + k {
                            0 => v.iter_mut().enumerate().for_each(|(i, v)| {
                                *v = (*v * 2.0 + ((x + i) as f32 - 0.5)) * stride;
                            }),
                            1 => v.iter_mut().for_each(|v| *v = (*v * 2.0 + (y as f32 - 0.5)) * stride),
                            2 => v.iter_mut().for_each(|v| *v = (*v * 2.0) * (*v * 2.0) * anchor_width),
                            3 => v.iter_mut().for_each(|v| *v = (*v * 2.0) * (*v * 2.0) * anchor_height),
                            _ => {}
                        }
                    }
                    let to = out.add(x * self.outputs + first);
                    store_transposed(&block, outputs, columns, to, self.outputs);
                }
            }
        }
    }
}

/// Writes `block[k][i]` to `to[i * stride + k]` for `k < outputs` and `i < columns`.
///
/// # Safety
/// Those places must be writable.
#[inline(always)]
unsafe fn store_transposed(block: &[[f32; BLOCK]; BLOCK], outputs: usize, columns: usize, to: *mut f32, stride: usize) {
    for i in (0..columns).step_by(4) {
        for k in (0..outputs).step_by(4) {
            let quad = |row: usize| [block[row][i], block[row][i + 1], block[row][i + 2], block[row][i + 3]];
            let columns_of_quad = transpose4([quad(k), quad(k + 1), quad(k + 2), quad(k + 3)]);
            for (at, column) in columns_of_quad.iter().enumerate().take(columns - i) {
                // SAFETY: by the contract.
                unsafe {
                    let to = to.add((i + at) * stride + k);
                    if k + 4 <= outputs {
                        to.cast::<[f32; 4]>().write_unaligned(*column);
                    } else {
                        (0..outputs - k).for_each(|o| to.add(o).write(column[o]));
                    }
                }
            }
        }
    }
}
