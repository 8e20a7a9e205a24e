//! `u8s8_spconv_4x32`: sparse or dense `u8 x s8` accumulation, up to 4 outputs by 32 pixels a tile.
//!
//! Without dot products, by shared pairs:
//!
//! Two input rows that the same outputs use are interleaved once, byte by byte; every such output then multiplies
//! and adds the pair with one `vpmaddubsw` per sixteen pixels. Sums stay in 16 bits as long as that is exact: the
//! packer ends a segment before the positive weights of any output in it add up to more than 127 or the negative
//! ones to less than -128, so a sum that starts the segment in 0..=255 ends it in -32640..=32640. After a segment
//! the high byte moves to a second 16-bit sum and the low byte stays. When that second sum could overflow the
//! segment says `spill`, and both move to the 32-bit accumulators in memory.
//!
//! With them (AVX-512 VNNI), by shared quads: four rows are interleaved once, and every output adds the products of
//! four rows to 32-bit sums with one `vpdpbusd` per sixteen pixels, two tiles at a time. The quads have a packing of
//! their own, `Conv::quads`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use super::table::{Group, Table};
use crate::simd::Isa;

/// Pixels of a tile: one vector of 32 bytes.
pub const TILE: usize = 32;
/// Largest group of the table kernel.
pub const GROUP: usize = 4;
/// Largest sum of positive weights in a segment, for every output.
pub const SEGMENT_POSITIVE: i32 = 127;
/// Largest magnitude of the sum of negative weights in a segment, for every output.
pub const SEGMENT_NEGATIVE: i32 = 128;
/// Largest sum of weights of one sign between spills: the second 16-bit sum gains at most `255 * sum / 256 + 1`
/// per segment, and a segment's share is bounded by its weights.
pub const SPILL_WEIGHTS: i32 = 32_000;

/// Accumulates `tiles` tiles of a group.
///
/// # Safety
/// `x` points to the first input pixel; the offsets of the table and `tiles * TILE` pixels from each must be readable;
/// `accumulators` holds `group.outputs.len()` rows of `stride >= tiles * TILE` elements, an even number of tiles; the
/// machine has `isa`, and `table` is the one that [`Conv::table`](super::Conv::table) gives for it.
pub unsafe fn run(
    isa: Isa,
    table: &Table,
    group: &Group,
    x: *const u8,
    accumulators: *mut i32,
    stride: usize,
    tiles: usize,
) {
    // SAFETY: forwarded.
    unsafe {
        match isa {
            Isa::Portable => portable(table, group, x, accumulators, stride, tiles),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => match group.unrolled {
                Some(kernel) => {
                    kernel(x, accumulators.cast(), table.weights.as_ptr().add(group.weight as usize).cast(), tiles);
                }
                None => avx2::run(table, group, x, accumulators, stride, tiles),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                avx512::run(table, group, x, accumulators, stride, tiles);
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable(table, group, x, accumulators, stride, tiles),
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn portable(table: &Table, group: &Group, x: *const u8, accumulators: *mut i32, stride: usize, tiles: usize) {
    let pixels = tiles * TILE;
    // SAFETY: by the contract of `run`.
    unsafe {
        for j in 0..group.outputs.len() {
            std::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels).fill(0);
        }
        let mut offset = group.offset as usize;
        let mut weight = group.weight as usize;
        for segment in table.segments(group) {
            for _ in 0..segment.count {
                let row = |o: i32| std::slice::from_raw_parts(x.offset(o as isize), pixels);
                let (a, b) = (row(table.offsets[offset]), row(table.offsets[offset + 1]));
                offset += 2;
                let mut mask = segment.mask;
                while mask != 0 {
                    let j = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let word = table.weights[weight];
                    weight += 1;
                    let (wa, wb) = (i32::from(word as i8), i32::from((word >> 8) as i8));
                    let sums = std::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels);
                    for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                        *sum += wa * i32::from(a) + wb * i32::from(b);
                    }
                }
            }
        }
    }
}
