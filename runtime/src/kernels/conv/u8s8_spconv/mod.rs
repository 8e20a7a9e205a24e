//! `u8s8_spconv`: sparse or dense `u8 x s8` accumulation.
//!
//! Without dot products, by *pairs* (`2x64`): two input rows are interleaved once, byte by byte; the outputs that use
//! them then multiply and add the pair with one `vpmaddubsw` per sixteen pixels. Pairs come in blocks of 8, 4 or 2 of
//! equal mask, so that every loop but the one over blocks is straight-line code. The sums of a block are exact in 16
//! bits: the packer bounds the positive weights of an output in a block by 127 and the negative ones by -128. After a
//! block the sum itself is added to a second 16-bit sum that may wrap, and its high byte to a third: as a high byte
//! falls short of the 256th part of its sum by less than one, the three parts give the exact 32-bit sum of up to 256
//! blocks. More of them are separate *parts*, added in memory.
//!
//! Straight-line code (`4x32`) holds its offsets, shares a pair among up to four outputs, and ends a block of each
//! output just before its sum could leave 16 bits.
//!
//! With dot products in 256 bits (AVX-VNNI), two pairs of a block are interleaved once more, and every output adds the
//! products of their four rows to 32-bit sums with one `vpdpbusd` per eight pixels. Blocks have no ends there.
//!
//! With dot products in 512 bits (AVX-512 VNNI), by *quads*: four rows are interleaved once, and every output adds the
//! products of four rows to 32-bit sums with one `vpdpbusd` per sixteen pixels, two tiles at a time.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;

use super::table::{Group, Table};
use crate::simd::Isa;

/// Pixels of a tile: one vector of 32 bytes.
pub const TILE: usize = 32;
/// Outputs of a group of straight-line code or quads.
pub const GROUP: usize = 4;
/// Rows of a pair.
pub const PAIR: usize = 2;
/// Rows of a quad.
pub const QUAD: usize = 4;
/// Outputs of a group of pairs.
pub const PAIRS_GROUP: usize = 2;
/// Tiles that the kernel of pairs computes at once.
pub const PAIRS_TILES: usize = 2;
/// Pairs whose offsets the kernel reads before their turn, and past the last pair of a table.
pub const PAIRS_AHEAD: usize = 2;
/// Pairs of a block, for the segments of a mask in order: even numbers, since weights stand for two pairs at a time.
pub const PAIR_BLOCKS: [usize; 3] = [8, 4, 2];
/// Masks of pairs in the order of a part's segments; each has one segment per size of block.
pub const PAIR_MASKS: [u8; 3] = [3, 1, 2];
/// Segments of a part.
pub const PAIR_SEGMENTS: usize = PAIR_BLOCKS.len() * PAIR_MASKS.len();
/// Most blocks of an output in a part: their high bytes add up to 16 bits, and what these leave out to less than 2^16.
pub const PART_BLOCKS: usize = 250;
/// Largest sum of positive weights in a block, for every output.
pub const BLOCK_POSITIVE: i32 = 127;
/// Largest magnitude of the sum of negative weights in a block, for every output.
pub const BLOCK_NEGATIVE: i32 = 128;

/// Accumulates `tiles` tiles of a group.
///
/// # Safety
/// `x` points to the first input pixel; the offsets of the table and `tiles * TILE` pixels from each must be readable;
/// `accumulators` holds `table.group` rows of `stride >= tiles * TILE` elements, an even number of tiles; the
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
            Isa::AvxVnni => avx_vnni::run(table, group, x, accumulators, stride, tiles),
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
            core::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels).fill(0);
        }
        let mut offset = group.offset as usize;
        let mut weight = group.weight as usize;
        for segment in table.segments(group) {
            for _ in 0..segment.entries() / (QUAD / PAIR) {
                let row = |i: usize| core::slice::from_raw_parts(x.offset(table.offsets[offset + i] as isize), pixels);
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                offset += QUAD;
                for j in (0..table.group).filter(|j| segment.mask >> j & 1 != 0) {
                    let weights = table.weights[weight].to_ne_bytes().map(|w| i32::from(w as i8));
                    weight += 1;
                    let sums = core::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels);
                    for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                        let x = [a, b, c, d].map(i32::from);
                        *sum += weights[0] * x[0] + weights[1] * x[1] + weights[2] * x[2] + weights[3] * x[3];
                    }
                }
            }
        }
    }
}
