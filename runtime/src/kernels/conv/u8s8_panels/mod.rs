//! `u8s8_panels`: `u8 x s8` convolution from panels of packed quads, dense or with few zeros within blocks.
//!
//! The rows that a convolution multiplies are taken in *quads*: for four input channels of one tap, the bytes of a pixel
//! stand side by side in a 32-bit word. A *panel* holds the pixels of one pass of so many quads that it stays in the
//! first-level cache while every output of the unit adds its products with them to its sums, which wait in scratch for
//! the next panel. Interleaving is paid once for all outputs, every vector that a kernel loads lies within a cache line,
//! and an output reads those quads only that it has weights for: no masks, and no offsets but a byte for every quad.
//!
//! Without dot products a quad is one `vpmaddubsw` for eight pixels, which leaves the sums of two pairs. They are added
//! in 16 bits over a *block* of up to 16 quads, whose exactness the packer proves from the weights: in a block, the
//! positive weights of either pair add up to [`BLOCK_SUM`] at most, and so do the magnitudes of the negative ones, so
//! that no sum of bytes times weights leaves 16 bits. Then both sums of a word are added to the 32-bit sum of its pixel.
//!
//! A block is a record of words: the four weights of every quad, then which quads of the panel these are. The quads of a
//! *run* follow each other, and the number of the first one takes a word; of other blocks every number takes a byte.
//! Runs are a tenth faster, and what an output has no weights for is multiplied by zeros. The records of all outputs
//! of a unit follow each other panel by panel, in an order in which few outputs have other counts of blocks than the one
//! before: a processor foresees the ends of loops that are as long as the last time.
//!
//! With dot products blocks do not matter, for the products of a quad are added to 32-bit sums. Those of 256 bits
//! (AVX-VNNI) walk the same records. For those of 512 bits (AVX-512 VNNI) loads do matter: a vector is a load and a product.
//! There two outputs share the loads of the quads that both use, from tables of their own: [`dots`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
pub mod dots;
mod portable;

use super::table::{Group, STEPS_OF_TWO, Segment, Table};
use super::{Conv, MAX_GROUP, Panels, epilogue, u8s8_spconv};
use crate::simd::Isa;
use alloc::vec::Vec;
use core::ops::Range;

/// Tiles of a pass.
pub const PASS_TILES: usize = 2;
/// Pixels of a pass.
pub const PASS: usize = PASS_TILES * u8s8_spconv::TILE;
/// Rows of a quad.
pub const QUAD: usize = 4;
/// Bytes of a quad in a panel.
const QUAD_BYTES: usize = QUAD * PASS;
/// Outputs of a group; they share nothing but a call of the epilogue. Pairs are taken from a unit, not from its groups.
pub const GROUP: usize = MAX_GROUP;
/// Kinds of blocks, for the segments of an output in order: quads, and whether they are a run.
pub const BLOCKS: [(usize, bool); 7] =
    [(16, true), (12, true), (8, true), (16, false), (12, false), (8, false), (4, false)];
/// Most quads of a panel: they are numbered in a byte.
pub const MAX_QUADS: usize = 256;
/// Most outputs of a unit: their places are numbered in a byte.
pub const MAX_UNIT: usize = 256;
/// Largest sum of the positive weights of one pair of a quad over a block, and of the magnitudes of its negative ones:
/// 255 times as much is a 16-bit number.
pub const BLOCK_SUM: i32 = 128;

/// Words of a block's record.
pub const fn record_words(quads: usize, run: bool) -> usize {
    quads + if run { 1 } else { quads / 4 }
}

/// What a kernel computes: one panel for one pass of pixels and the outputs of a unit.
struct Pass<'a> {
    /// Those of the unit's outputs, [`BLOCKS`] for each, whose masks are the place of the output among the sums; or those of
    /// its pairs of outputs, [`STEPS_OF_TWO`] for each.
    segments: &'a [Segment],
    /// The records of the first of them, which those of the others follow.
    weights: *const u32,
    /// The packed quads, aligned to a cache line.
    panel: *const u8,
    /// Sums of the output in the first place; those of the others follow, `stride` elements apart.
    sums: *mut i32,
    stride: usize,
    /// Whether what is there is added to.
    add: bool,
}

/// First and last output of a unit's groups.
fn outputs(table: &Table, groups: &[Group]) -> Range<usize> {
    let first = groups.first().map_or(0, |group| usize::from(group.outputs[0]));
    first..(first + groups.len() * GROUP).min(count(table))
}

/// Outputs of all groups.
fn count(table: &Table) -> usize {
    table.groups.iter().map(|group| group.outputs.len()).sum()
}

/// Whether the outputs of all groups are in order.
fn in_order(table: &Table) -> bool {
    table.groups.iter().flat_map(|group| group.outputs.iter()).zip(0u16..).all(|(&o, at)| o == at)
}

/// What keeps kernels from reading the tables of a layer, whose indices are then known to lie within them.
pub(crate) fn fault(panels: &Panels, conv: &Conv) -> Option<&'static str> {
    let rows = conv.packed.len();
    let whole = |rows: usize| rows > 0 && rows.is_multiple_of(QUAD);
    if !whole(rows) || !whole(panels.rows) || panels.rows / QUAD > MAX_QUADS || conv.blocking.pass_tiles != PASS_TILES {
        return Some("its panels have no rows");
    }
    let table = &conv.table;
    let whole = table.groups.split_last().is_none_or(|(_, groups)| groups.iter().all(|g| g.outputs.len() == GROUP));
    if table.group != GROUP || !whole || !in_order(table) {
        return Some("its outputs are in another order than its panels");
    }
    let (outputs, unit) = (count(table), conv.blocking.outputs);
    if unit > MAX_UNIT {
        return Some("its units are too large for panels");
    }
    let parts = outputs * rows.div_ceil(panels.rows);
    if table.segments.len() != parts * BLOCKS.len() || table.offsets.len() != parts {
        return Some("a panel lacks segments");
    }
    for panel in table.segments.chunks((outputs * BLOCKS.len()).max(1)) {
        for unit in panel.chunks(unit * BLOCKS.len()) {
            let mut places: Vec<u8> = unit.iter().step_by(BLOCKS.len()).map(|segment| segment.mask).collect();
            places.sort_unstable();
            if !places.iter().enumerate().all(|(at, &place)| at == usize::from(place)) {
                return Some("a panel lacks an output");
            }
        }
    }
    let mut at = 0;
    for (part, segments) in table.segments.chunks(BLOCKS.len()).enumerate() {
        if table.offsets[part] as usize != at {
            return Some("the weights of an output do not follow those of the one before");
        }
        let first = part / outputs * panels.rows;
        let quads = panels.rows.min(rows - first) / QUAD;
        for (segment, (block, run)) in segments.iter().zip(BLOCKS) {
            if usize::from(segment.block) != block {
                return Some("a panel lacks segments");
            }
            for _ in 0..segment.count {
                let numbers = table.weights.get(at + block..at + record_words(block, run));
                let inside = |numbers: &[u32]| {
                    let mut bytes = numbers.iter().flat_map(|word| word.to_ne_bytes());
                    if run { numbers[0] as usize + block <= quads } else { bytes.all(|n| usize::from(n) < quads) }
                };
                if !numbers.is_some_and(inside) {
                    return Some("a block has quads of another panel");
                }
                at += record_words(block, run);
            }
        }
    }
    conv.quads.as_ref().and_then(|quads| dots::fault(panels.rows, conv, quads))
}

/// Bytes of scratch behind the accumulators: a panel.
pub(super) const fn scratch_bytes(panels: &Panels) -> usize {
    panels.rows * PASS
}

/// Computes one unit.
///
/// # Safety
/// As for [`Conv::run_unit`].
pub(super) unsafe fn run_unit(
    panels: &Panels,
    conv: &Conv,
    isa: Isa,
    arena: *mut u8,
    scratch: *mut u8,
    rows: &Range<usize>,
    unit: usize,
) {
    let (begin, end, tiles) = conv.run(rows);
    let table = &conv.table;
    let (chunk, groups) = conv.part(table, unit);
    let (outputs, all) = (outputs(table, groups), count(table));
    let tile = u8s8_spconv::TILE;
    let first = begin + chunk * conv.blocking.chunk_tiles * tile;
    let tiles = conv.blocking.chunk_tiles.min(tiles - chunk * conv.blocking.chunk_tiles);
    let stride = conv.accumulator_stride();
    // A panel has a part for every pair of outputs, or for every output.
    let pairs = conv.quads.as_ref().filter(|_| isa == Isa::Avx512);
    let parts = |outputs: usize| if pairs.is_some() { dots::pairs(outputs) } else { outputs };
    let kinds = if pairs.is_some() { STEPS_OF_TWO.len() } else { BLOCKS.len() };
    let of_panels = pairs.unwrap_or(table);
    // SAFETY: as in `Conv::run_unit`; the scratch holds a panel behind the accumulators, whose rows are whole passes, and
    // the tables are those that `fault` found right.
    unsafe {
        let x = arena.add(conv.input.offset + first).cast_const();
        let panel = scratch.add(conv.packed_at());
        for (block, offsets) in conv.packed.chunks(panels.rows).enumerate() {
            let part = block * parts(all) + parts(outputs.start);
            let segments = &of_panels.segments[part * kinds..][..parts(outputs.len()) * kinds];
            let weights = of_panels.weights.as_ptr().add(of_panels.offsets[part] as usize);
            for pass in (0..tiles).step_by(PASS_TILES) {
                pack(isa, offsets, x.add(pass * tile), panel);
                let sums = scratch.cast::<i32>().add(pass * tile);
                let pass = Pass { segments, weights, panel, sums, stride, add: block > 0 };
                run_pass(isa, pairs.is_some(), &pass);
            }
        }
        let last = end.min(first + tiles * tile);
        let bytes = scratch.add(conv.blocking.outputs * stride * 4);
        let sums = epilogue::Sums { groups, next: None, accumulators: scratch, pitch: GROUP * stride * 4, bytes };
        conv.epilogue.run(isa, conv, &sums, arena, first..last);
    }
}

/// # Safety
/// The pass lies within the scratch and the table, whose records are those of pairs if so said, which AVX-512 has; and the
/// machine has `isa`.
unsafe fn run_pass(isa: Isa, pairs: bool, pass: &Pass<'_>) {
    // SAFETY: forwarded.
    unsafe {
        match (isa, pairs) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, true) => avx512::run(pass),
            #[cfg(target_arch = "x86_64")]
            (Isa::AvxVnni | Isa::Avx512, false) => avx_vnni::run(pass),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, _) => avx2::run(pass),
            _ => portable::run(pass),
        }
    }
}

/// Interleaves the pixels of a pass at `x` of every four rows.
///
/// # Safety
/// A pass from every offset must be readable, and `to` have room for all, aligned to a cache line; the rows are whole
/// quads.
unsafe fn pack(isa: Isa, offsets: &[i32], x: *const u8, to: *mut u8) {
    // SAFETY: forwarded.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => avx2::pack(offsets, x, to),
            _ => portable::pack(offsets, x, to),
        }
    }
}
