//! `f32` convolution from panels of packed rows.
//!
//! The rows that a convolution multiplies are taken in blocks. A *panel* holds the pixels of one pass of the rows of one
//! block, aligned and side by side, small enough to stay in the first-level cache while every group of the unit adds its
//! products with them to its accumulators, which wait in scratch for the next block. Every loaded vector then lies within
//! one cache line, and what streams from the second-level cache is the table: a few bytes per nonzero and pass.
//!
//! - `f32_panels_2x48`, sparse: two outputs share the loads of the rows that both use. A row that one output uses is bound
//!   by loads, a vector for every product, so a step takes four such rows, two of either output, whose weights and offsets
//!   are loaded at once, and with them a row that both use, which is bound by products.
//! - `f32_panels_4x24`, dense: four outputs by three vectors; every row is used by all, so only weights are read.
//!
//! Tables are streams: segments, offsets and weights of all groups of a unit follow each other block by block, as the
//! kernels read them. Every block of a group has a segment for each kind of step ([`PanelTile::steps`]), whose count is that
//! of the steps. A group names the first of its segments, offsets (which take half a word) and weights in the first
//! block; where the others are follows from the counts.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::table::{Group, STEPS_OF_TWO, Segment};
use super::{Conv, MAX_GROUP, epilogue, f32_spconv, u8s8_panels};
use crate::simd::Isa;
use core::ops::Range;

/// Tiles of a pass: 48 pixels.
pub const PASS_TILES: usize = 2;
/// Pixels of a pass, and elements between the rows of a panel.
pub const PASS: usize = PASS_TILES * f32_spconv::TILE;
/// Bytes between the rows of a panel.
pub const PITCH: usize = PASS * size_of::<f32>();

/// What a kernel of panels computes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanelTile {
    /// One output by 64 pixels of bytes, or two with dot products; see [`u8s8_panels`].
    Quads1x64,
    /// Four outputs by 24 pixels that use every row.
    Dense4x24,
    /// Two outputs by 48 pixels that use some rows.
    Sparse2x48,
}

impl PanelTile {
    /// Outputs of a group; the last one may have fewer.
    pub const fn group(self) -> usize {
        match self {
            PanelTile::Sparse2x48 => 2,
            PanelTile::Quads1x64 | PanelTile::Dense4x24 => MAX_GROUP,
        }
    }

    /// Kinds of steps, in the order of the segments of a block: the outputs that use each row of a step, a bit each. Outputs
    /// that a dense group lacks have no weights; in the other groups every bit has one.
    pub const fn steps(self) -> &'static [&'static [u8]] {
        match self {
            PanelTile::Quads1x64 => &[],
            PanelTile::Dense4x24 => &[&[15]],
            PanelTile::Sparse2x48 => &STEPS_OF_TWO,
        }
    }
}

/// How a convolution is computed from panels: the rows of [`Conv::packed`] are taken in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panels {
    /// Rows of a block; the last one may have fewer.
    pub rows: usize,
    /// What is computed at once.
    pub tile: PanelTile,
}

/// Where the tables of a block start.
#[derive(Clone, Copy)]
struct Start {
    segment: usize,
    /// In offsets of two bytes.
    offset: usize,
    weight: usize,
}

impl Start {
    /// Where those of a unit start.
    fn of(groups: &[Group]) -> Start {
        let first = &groups[0];
        Start { segment: first.segments.0 as usize, offset: first.offset as usize, weight: first.weight as usize }
    }
}

/// Where kernels are in the tables, which they read in order.
#[derive(Clone, Copy)]
#[repr(C)]
struct Cursor {
    /// Byte offsets of rows in the panel, two bytes each; none for a dense layer.
    offset: *const u16,
    weight: *const f32,
}

/// What a kernel computes: one block of rows for one pass of pixels and all groups of a unit.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Pass<'a> {
    tile: PanelTile,
    groups: &'a [Group],
    /// Those of the block, group by group.
    segments: &'a [Segment],
    /// Where the tables of the block start.
    tables: Cursor,
    /// Rows of the block.
    rows: usize,
    /// The packed rows of the block.
    panel: *const f32,
    /// Accumulators of the first output; those of the outputs of all groups follow, `stride` elements apart.
    accumulators: *mut f32,
    stride: usize,
    /// Tiles, at most [`PASS_TILES`].
    tiles: usize,
    /// Whether the accumulators are added to.
    add: bool,
    /// The first pixel.
    x: *const u8,
    /// Where the pixels of the pass after this one are that should be asked for, from there.
    lines: &'a [i32],
}

impl Pass<'_> {
    /// The segments of a group.
    ///
    /// # Safety
    /// There is such a group.
    #[inline(always)]
    unsafe fn segments_of(&self, g: usize) -> &[Segment] {
        let count = self.tile.steps().len();
        // SAFETY: by the contract.
        unsafe { self.segments.get_unchecked(g * count..(g + 1) * count) }
    }

    /// What is asked for beside each group: where lines of the next pass are, from the first pixel.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn lines_beside(&self) -> core::slice::Chunks<'_, i32> {
        self.lines.chunks(self.lines.len().div_ceil(self.groups.len()).max(1))
    }
}

/// Most cache lines that a row of a pass lies in.
const LINES: usize = PITCH / 64 + 1;

/// Notes where the cache lines of the pass after that at `x` are, from `x` on, and returns how many. Offsets ascend: of rows
/// that share their lines, as the taps of a window do, the last one is enough, for this pass reads the first line of the
/// others.
fn lines_of_next(offsets: &[i32], x: *const u8, lines: &mut [[i32; LINES]]) -> usize {
    const LINE: i32 = 64;
    let lines = lines.as_flattened_mut();
    let mut count = 0;
    for (k, &offset) in offsets.iter().enumerate() {
        if offsets.get(k + 1).is_some_and(|next| next.wrapping_sub(offset) < LINE) {
            continue;
        }
        let before = (x.addr() as i32).wrapping_add(offset).rem_euclid(LINE);
        for at in (PITCH as i32 - before..2 * PITCH as i32).step_by(LINE as usize) {
            lines[count] = offset.wrapping_add(at);
            count += 1;
        }
    }
    count
}

impl Panels {
    /// Bytes of scratch behind the accumulators: a panel, and where the next one comes from.
    pub(super) const fn scratch_bytes(&self) -> usize {
        match self.tile {
            PanelTile::Quads1x64 => u8s8_panels::scratch_bytes(self),
            _ => self.rows * (PITCH + size_of::<[i32; LINES]>()),
        }
    }

    /// Groups of a unit.
    const fn unit(&self, conv: &Conv) -> usize {
        conv.blocking.outputs / self.tile.group()
    }

    /// What keeps kernels from reading the tables of a layer.
    pub(crate) fn fault(&self, conv: &Conv) -> Option<&'static str> {
        if self.tile == PanelTile::Quads1x64 {
            return u8s8_panels::fault(self, conv);
        }
        let (rows, table, unit) = (conv.packed.len(), &conv.table, self.unit(conv));
        if !(1..=usize::from(u16::MAX) / PITCH).contains(&self.rows) || conv.blocking.pass_tiles != PASS_TILES {
            return Some("its panels have impossible extents");
        }
        if table.group != self.tile.group() {
            return Some("its groups are not those of its panels");
        }
        for (number, groups) in table.groups.chunks(unit).enumerate() {
            let mut start = Start::of(groups);
            let last = (number + 1) * unit >= table.groups.len();
            let whole =
                |(g, group): (usize, &Group)| group.outputs.len() == table.group || (last && g + 1 == groups.len());
            if !groups.iter().enumerate().all(whole) {
                return Some("a group lacks outputs");
            }
            for block in (0..rows).step_by(self.rows) {
                let count = groups.len() * self.tile.steps().len();
                let segments = table.segments.get(start.segment..).and_then(|segments| segments.get(..count));
                let Some(segments) = segments else { return Some("a panel lacks segments") };
                let Some(end) = self.end(start, segments) else { return Some("a segment has impossible steps") };
                let held = end.offset <= table.offsets.len() * 2 && end.weight <= table.weights.len();
                if !held {
                    return Some("a panel lacks weights");
                }
                let in_block = rows.min(block + self.rows) - block;
                let inside = |at: usize| {
                    let offset = usize::from(table.short_offset(at));
                    offset.is_multiple_of(PITCH) && offset / PITCH < in_block
                };
                let is_whole = |(group, segment): (&Group, &Segment)| {
                    segment.mask == (1 << group.outputs.len()) - 1 && usize::from(segment.count) == in_block
                };
                let whole = self.tile != PanelTile::Dense4x24 || groups.iter().zip(segments).all(is_whole);
                if !whole || !(start.offset..end.offset).all(inside) {
                    return Some("a segment has rows of another panel");
                }
                start = end;
            }
        }
        None
    }

    /// Where those behind the segments of a block do; `None` when a segment is not one of its kind of steps.
    fn end(&self, mut start: Start, segments: &[Segment]) -> Option<Start> {
        let steps = self.tile.steps();
        for (segment, rows) in segments.iter().zip(steps.iter().cycle()) {
            let known = rows.iter().fold(0, |mask, row| mask | row);
            let count = usize::from(segment.count);
            match self.tile {
                PanelTile::Dense4x24 if segment.mask & !known == 0 => {}
                _ if segment.mask == known => start.offset = start.offset.checked_add(count * rows.len())?,
                _ => return None,
            }
            let weights: u32 = rows.iter().map(|row| (row & segment.mask).count_ones()).sum();
            start.weight = start.weight.checked_add(count * weights as usize)?;
        }
        start.segment += segments.len();
        Some(start)
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
        if self.tile == PanelTile::Quads1x64 {
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
        let bytes_per_group = stride * self.tile.group() * 4;
        let start = Start::of(groups);
        let mut segments = table.segments[start.segment..].chunks(groups.len() * self.tile.steps().len());
        let mut tables = Cursor {
            offset: table.offsets.as_ptr().cast::<u16>().wrapping_add(start.offset),
            weight: table.weights.as_ptr().cast::<f32>().wrapping_add(start.weight),
        };
        // SAFETY: as in `Conv::run_unit`; the scratch holds a panel and lines behind the accumulators; `fault` knows the tables.
        unsafe {
            let x = arena.add(conv.input.offset + first * 4).cast_const();
            let panel = scratch.add(conv.packed_at());
            let lines = core::slice::from_raw_parts_mut(panel.add(self.rows * PITCH).cast::<[i32; LINES]>(), self.rows);
            for (block, offsets) in conv.packed.chunks(self.rows).enumerate() {
                let segments = segments.next().expect("tables were checked");
                let mut next = tables;
                let asked = if conv.blocking.prefetch { lines_of_next(offsets, x, lines) } else { 0 };
                for pass in (0..count).step_by(PASS_TILES) {
                    let at = x.add(pass * tile * 4);
                    pack(isa, offsets, at, panel.cast());
                    let pass = Pass {
                        tile: self.tile,
                        groups,
                        segments,
                        tables,
                        rows: offsets.len(),
                        panel: panel.cast_const().cast(),
                        accumulators: scratch.cast::<f32>().add(pass * tile),
                        stride,
                        tiles: PASS_TILES.min(count - pass),
                        add: block > 0,
                        x: at,
                        lines: &lines.as_flattened()[..asked],
                    };
                    next = run_pass(isa, &pass);
                }
                tables = next;
            }
            let last = end.min(first + count * tile);
            let bytes = scratch.add(groups.len() * bytes_per_group);
            let sums = epilogue::Sums { groups, next: None, accumulators: scratch, pitch: bytes_per_group, bytes };
            conv.epilogue.run(isa, conv, &sums, arena, first..last);
        }
    }
}

/// Computes a pass, and returns where the tables of the next block start.
///
/// # Safety
/// The pass lies within the scratch and the table, and the machine has `isa`.
unsafe fn run_pass(isa: Isa, pass: &Pass<'_>) -> Cursor {
    // SAFETY: forwarded.
    unsafe {
        match (isa, pass.tile) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2 | Isa::AvxVnni, PanelTile::Sparse2x48) => avx2::sparse(pass),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, PanelTile::Sparse2x48) => avx512::sparse(pass),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2 | Isa::AvxVnni, PanelTile::Dense4x24) => avx2::dense(pass),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, PanelTile::Dense4x24) => avx512::dense(pass),
            _ => portable::run(pass),
        }
    }
}

/// Copies the pixels of a pass at `x` of every row side by side.
///
/// # Safety
/// A pass from every offset must be readable, and `to` have room for all, aligned to a cache line.
unsafe fn pack(isa: Isa, offsets: &[i32], x: *const u8, to: *mut f32) {
    // SAFETY: forwarded.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => avx2::pack(offsets, x, to),
            _ => {
                for (k, &offset) in offsets.iter().enumerate() {
                    let row = x.offset(offset as isize).cast::<[f32; PASS]>();
                    to.add(k * PASS).cast::<[f32; PASS]>().write(row.read_unaligned());
                }
            }
        }
    }
}
