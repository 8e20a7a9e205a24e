//! Decode of anchor-based detection heads.

use super::map::Map;
use super::strided::View;
use crate::engine::Buffers;
use crate::simd::{Isa, math};
use std::borrow::Cow;

/// Columns decoded at a time.
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

    /// Computes one unit.
    ///
    /// # Safety
    /// The maps and the view must lie inside `buffers`, no two threads may compute the same unit at once, and the
    /// machine must have `isa`.
    pub unsafe fn run_unit(&self, isa: Isa, buffers: &Buffers<'_>, unit: usize) {
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => self.run_avx2(buffers, unit),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => self.run_avx512(buffers, unit),
                _ => self.run_with(buffers, unit),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_avx2(&self, buffers: &Buffers<'_>, unit: usize) {
        // SAFETY: forwarded.
        unsafe { self.run_with(buffers, unit) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn run_avx512(&self, buffers: &Buffers<'_>, unit: usize) {
        // SAFETY: forwarded.
        unsafe { self.run_with(buffers, unit) }
    }

    #[inline(always)]
    unsafe fn run_with(&self, buffers: &Buffers<'_>, mut unit: usize) {
        let mut first_row = 0;
        let mut levels = self.levels.iter();
        let level = loop {
            let level = levels.next().expect("unit is below units()");
            let units = level.anchors.len() * level.map.height;
            if unit < units {
                break level;
            }
            unit -= units;
            first_row += units * level.map.width;
        };
        let map = &level.map;
        let (anchor, y) = (unit / map.height, unit % map.height);
        let [anchor_width, anchor_height] = level.anchors[anchor];
        let stride = level.stride;
        // SAFETY: channels and rows lie inside the map, rows of the output inside the view.
        unsafe {
            let out = buffers.base(&self.y.base).add(self.y.offset).cast::<f32>();
            let out = out.add((first_row + unit * map.width) * self.outputs);
            let raw = map.ptr::<f32>(buffers.arena).cast_const();
            let mut x = 0;
            while x < map.width {
                let count = BLOCK.min(map.width - x);
                for k in 0..self.outputs {
                    let mut v = [0f32; BLOCK];
                    let row = raw.add(map.index(anchor * self.outputs + k, y, x));
                    v[..count].copy_from_slice(std::slice::from_raw_parts(row, count));
                    v.iter_mut().for_each(|v| *v = math::sigmoid(*v));
                    match k {
                        0 => v.iter_mut().enumerate().for_each(|(i, v)| {
                            *v = (*v * 2.0 + ((x + i) as f32 - 0.5)) * stride;
                        }),
                        1 => v.iter_mut().for_each(|v| *v = (*v * 2.0 + (y as f32 - 0.5)) * stride),
                        2 => v.iter_mut().for_each(|v| *v = (*v * 2.0) * (*v * 2.0) * anchor_width),
                        3 => v.iter_mut().for_each(|v| *v = (*v * 2.0) * (*v * 2.0) * anchor_height),
                        _ => {}
                    }
                    for (i, v) in v.iter().enumerate().take(count) {
                        out.add((x + i) * self.outputs + k).write(*v);
                    }
                }
                x += count;
            }
        }
    }
}
