//! Sums of pairs with AVX2.

use super::{Group, PAIR_SEGMENTS, PAIRS_TILES, TILE, Table};
use crate::kernels::conv::table::Segment;

/// Accumulates `tiles` tiles, rounded up to whole passes: the last may read a tile more and write it.
///
/// # Safety
/// As for [`super::run`]; the machine must have AVX2.
pub unsafe fn run(table: &Table, group: &Group, x: *const u8, accumulators: *mut i32, stride: usize, tiles: usize) {
    let passes = tiles.div_ceil(PAIRS_TILES);
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets`, `PAIRS_AHEAD` others behind
    // the last of the table, and in `weights`; every part has all its segments.
    unsafe {
        let mut offsets = table.offsets.as_ptr().add(group.offset as usize);
        let mut weights = table.weights.as_ptr().add(group.weight as usize).cast::<[i8; 2]>();
        let mut parts = table.segments(group).chunks_exact(PAIR_SEGMENTS).enumerate();
        while let Some((index, part)) = parts.next() {
            sums_2x64(part.as_ptr(), x, accumulators, stride * 4, passes, index, offsets, weights);
            // Nearly every group has one part, and adding up what it took would be for nothing.
            if parts.len() == 0 {
                return;
            }
            offsets = offsets.add(part.iter().map(|s| s.entries() * 2).sum());
            weights = weights.add(part.iter().map(Segment::slots).sum());
        }
    }
}

const _: () = assert!(TILE * PAIRS_TILES == 64 && size_of::<Segment>() == 4);

/// Sums of the pairs of one part, for two rows of sums `stride` bytes apart, added to what is there unless `add` is 0.
///
/// # Safety
/// As for [`run`]; `passes` is positive.
#[unsafe(naked)]
#[allow(clippy::too_many_arguments)]
unsafe extern "sysv64" fn sums_2x64(
    segments: *const Segment,
    x: *const u8,
    sums: *mut i32,
    stride: usize,
    passes: usize,
    add: usize,
    offsets: *const i32,
    weights: *const [i8; 2],
) {
    core::arch::naked_asm!(include_str!("pairs.s"), options(att_syntax, raw))
}
