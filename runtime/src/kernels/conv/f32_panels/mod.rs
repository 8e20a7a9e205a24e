//! `f32` convolution from panels of packed rows.
//!
//! The rows that a convolution multiplies are taken in blocks. A *panel* holds the pixels of one pass of the rows of one
//! block, aligned and side by side, small enough to stay in the first-level cache while every group of the unit adds its
//! products with them to its accumulators, which wait in scratch for the next block. Every loaded vector then lies within
//! one cache line, and what streams from the second-level cache is the table: a few bytes per nonzero and pass.
//!
//! - `f32_panels_2x48`, sparse: two outputs share the loads of the rows that both use. Per block a group has three
//!   segments: rows of the first output, of the second, and of both, however many each has.
//! - `f32_panels_4x24`, dense: four outputs by three vectors; every row is used by all, so only weights are read.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::table::{Group, Segment, Table};
use super::{Arithmetic, Conv, epilogue, f32_spconv, u8s8_panels};
use crate::simd::Isa;
use core::ops::Range;

/// Tiles of a pass: 48 pixels.
pub const PASS_TILES: usize = 2;
/// Pixels of a pass, and elements between the rows of a panel.
pub const PASS: usize = PASS_TILES * f32_spconv::TILE;
/// Outputs of a group of a sparse layer.
pub const SPARSE_GROUP: usize = 2;
/// Outputs of a group of a dense layer.
pub const DENSE_GROUP: usize = 4;

/// How a convolution is computed from panels.
///
/// The rows of [`Conv::packed`] are taken in blocks, and every group of [`Conv::table`] has its segments by block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panels {
    /// Rows of a block; the last one may have fewer.
    pub rows: usize,
    /// Whether every output uses every row: then a group has one segment per block, and otherwise [`SEGMENTS`].
    pub dense: bool,
}

/// Segments of a block of a sparse group: rows of the first output, of the second, of both.
pub const SEGMENTS: usize = 3;

/// First offset and first weight word of a group in the block that is computed.
type Cursor = [u32; 2];

/// What a kernel computes: one block of rows for one pass of pixels and all groups of a unit.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Pass<'a> {
    table: &'a Table,
    groups: &'a [Group],
    /// One per group.
    cursors: &'a [Cursor],
    block: usize,
    /// Rows of the block.
    rows: usize,
    /// The packed rows of the block.
    panel: *const f32,
    /// From the panel to where the first row of all blocks would be, in bytes.
    base: usize,
    /// Accumulators of the first output; those of the outputs of all groups follow, `stride` elements apart.
    accumulators: *mut f32,
    stride: usize,
    /// Tiles, at most [`PASS_TILES`].
    tiles: usize,
}

impl Panels {
    /// Outputs of a group; the last one may have fewer.
    pub const fn group(&self) -> usize {
        if self.dense { DENSE_GROUP } else { SPARSE_GROUP }
    }

    const fn segments(&self) -> usize {
        if self.dense { 1 } else { SEGMENTS }
    }

    /// Bytes of scratch behind the accumulators: a panel and the cursors.
    pub(super) const fn scratch_bytes(&self, conv: &Conv) -> usize {
        if matches!(conv.arithmetic, Arithmetic::U8S8) {
            return u8s8_panels::scratch_bytes(self);
        }
        self.rows * PASS * 4 + conv.blocking.outputs / self.group() * size_of::<Cursor>()
    }

    /// What keeps kernels from reading the tables of a layer, whose indices are known to lie within them.
    pub(crate) fn fault(&self, conv: &Conv) -> Option<&'static str> {
        if conv.arithmetic == Arithmetic::U8S8 {
            return u8s8_panels::fault(self, conv);
        }
        let rows = conv.packed.len();
        if self.rows == 0 || rows == 0 || self.rows > 1 << 16 || conv.blocking.pass_tiles != PASS_TILES {
            return Some("its panels have no rows");
        }
        let pitch = conv.pass_bytes();
        for (g, group) in conv.table.groups.iter().enumerate() {
            let whole = g + 1 == conv.table.groups.len() || group.outputs.len() == self.group();
            let segments = conv.table.segments(group);
            if !whole
                || group.outputs.len() > self.group()
                || segments.len() != rows.div_ceil(self.rows) * self.segments()
            {
                return Some("a group has other segments than its panels");
            }
            let mut at = group.offset as usize;
            for (block, segments) in segments.chunks(self.segments()).enumerate() {
                let range = block * self.rows..rows.min((block + 1) * self.rows);
                for (kind, segment) in segments.iter().enumerate() {
                    let count = usize::from(segment.count);
                    let mask = if self.dense { (1 << group.outputs.len()) - 1 } else { kind + 1 };
                    let offsets = &conv.table.offsets[at..at + count];
                    at += count;
                    let inside = |&offset: &i32| {
                        offset >= 0
                            && (offset as usize).is_multiple_of(pitch)
                            && range.contains(&(offset as usize / pitch))
                    };
                    let all = !self.dense || count == range.len();
                    if !all || (count > 0 && usize::from(segment.mask) != mask) || !offsets.iter().all(inside) {
                        return Some("a segment has rows of another panel");
                    }
                }
            }
        }
        None
    }

    /// Computes one unit.
    ///
    /// # Safety
    /// As for [`Conv::run_unit`].
    pub(super) unsafe fn run_unit(
        &self,
        conv: &Conv,
        isa: Isa,
        arena: *mut u8,
        scratch: *mut u8,
        rows: &Range<usize>,
        unit: usize,
    ) {
        if conv.arithmetic == Arithmetic::U8S8 {
            // SAFETY: forwarded.
            return unsafe { u8s8_panels::run_unit(self, conv, isa, arena, scratch, rows, unit) };
        }
        let (begin, end, tiles) = conv.run(rows);
        let table = &conv.table;
        let (chunk, groups) = conv.part(table, unit);
        let tile = f32_spconv::TILE;
        let first = begin + chunk * conv.blocking.chunk_tiles * tile;
        let count = conv.blocking.chunk_tiles.min(tiles - chunk * conv.blocking.chunk_tiles);
        let stride = conv.accumulator_stride();
        let bytes_per_group = stride * self.group() * 4;
        // SAFETY: as in `Conv::run_unit`; the scratch holds a panel and a cursor for every group behind the accumulators.
        unsafe {
            let x = arena.add(conv.input.offset + first * 4).cast_const();
            let panel = scratch.add(conv.packed_at());
            let cursors =
                core::slice::from_raw_parts_mut(panel.add(self.rows * PASS * 4).cast::<Cursor>(), groups.len());
            cursors.iter_mut().zip(groups).for_each(|(cursor, group)| *cursor = [group.offset, group.weight]);
            for (block, offsets) in conv.packed.chunks(self.rows).enumerate() {
                for pass in (0..count).step_by(PASS_TILES) {
                    let tiles = PASS_TILES.min(count - pass);
                    pack(isa, offsets, x.add(pass * tile * 4), panel.cast(), conv.blocking.prefetch);
                    let pass = Pass {
                        table,
                        groups,
                        cursors,
                        block,
                        rows: offsets.len(),
                        panel: panel.cast_const().cast(),
                        base: block * self.rows * PASS * 4,
                        accumulators: scratch.cast::<f32>().add(pass * tile),
                        stride,
                        tiles,
                    };
                    self.run_pass(isa, &pass);
                }
                for (cursor, group) in cursors.iter_mut().zip(groups) {
                    for segment in self.block_segments(table, group, block) {
                        cursor[0] += u32::from(segment.count);
                        cursor[1] += u32::from(segment.count) * segment.mask.count_ones();
                    }
                }
            }
            let last = end.min(first + count * tile);
            let bytes = scratch.add(groups.len() * bytes_per_group);
            let sums = epilogue::Sums { groups, next: None, accumulators: scratch, pitch: bytes_per_group, bytes };
            conv.epilogue.run(isa, conv, &sums, arena, first..last);
        }
    }

    #[inline(always)]
    fn block_segments<'a>(&self, table: &'a Table, group: &Group, block: usize) -> &'a [Segment] {
        let first = group.segments.0 as usize + block * self.segments();
        &table.segments[first..first + self.segments()]
    }

    /// # Safety
    /// The pass lies within the scratch and the table, and the machine has `isa`.
    unsafe fn run_pass(&self, isa: Isa, pass: &Pass<'_>) {
        // SAFETY: forwarded.
        unsafe {
            match (isa, self.dense) {
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, false) => avx2::sparse(pass),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, true) => avx2::dense(pass),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512, false) => avx512::sparse(pass),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512, true) => avx512::dense(pass),
                _ => portable::run(self, pass),
            }
        }
    }
}

/// Copies the pixels of a pass at `x` of every row side by side, and may ask for those of the next pass.
///
/// # Safety
/// A pass from every offset must be readable, and `to` have room for all, aligned to a cache line.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
unsafe fn pack(isa: Isa, offsets: &[i32], x: *const u8, to: *mut f32, ask_for_next: bool) {
    // SAFETY: forwarded.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => avx2::pack(offsets, x, to, ask_for_next),
            _ => {
                for (k, &offset) in offsets.iter().enumerate() {
                    let row = x.offset(offset as isize).cast::<[f32; PASS]>();
                    to.add(k * PASS).cast::<[f32; PASS]>().write(row.read_unaligned());
                }
            }
        }
    }
}
