//! Dot products of two pairs at a time, in 256 bits.
//!
//! Loops count: what iterators compute may have its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{Group, PAIR_BLOCKS, PAIR_SEGMENTS, PAIRS_GROUP, PAIRS_TILES, QUAD, TILE, Table};
use crate::simd::has;
use core::arch::x86_64::*;
use core::mem::MaybeUninit;

/// Vectors of the sums of a tile.
const VECTORS: usize = TILE / 8;

/// Accumulates `tiles` tiles, rounded up to whole passes: the last may read a tile more and write it.
///
/// # Safety
/// As for [`super::run`]; the machine must have AVX2 and dot products in 256 bits.
pub unsafe fn run(table: &Table, group: &Group, x: *const u8, accumulators: *mut i32, stride: usize, tiles: usize) {
    // SAFETY: forwarded; what has the instruction set has either encoding.
    unsafe {
        if has!("avxvnni") {
            vex::run(table, group, x, accumulators, stride, tiles);
        } else {
            evex::run(table, group, x, accumulators, stride, tiles);
        }
    }
}

/// Runs `$quad` for the quads of a mask, whose first segment is `$first`, with `$words` weights each.
macro_rules! blocks {
    ($part:ident $first:tt $quad:ident $offset:ident $weight:ident $words:literal) => {
        for _ in 0..$part[$first].count {
            $quad!(0);
            $quad!(1);
            $quad!(2);
            $quad!(3);
            $offset = $offset.add(4 * QUAD);
            $weight = $weight.add(4 * $words);
        }
        for _ in 0..$part[$first + 1].count {
            $quad!(0);
            $quad!(1);
            $offset = $offset.add(2 * QUAD);
            $weight = $weight.add(2 * $words);
        }
        for _ in 0..$part[$first + 2].count {
            $quad!(0);
            $offset = $offset.add(QUAD);
            $weight = $weight.add($words);
        }
    };
}

/// The kernel with dot products in one of their encodings.
macro_rules! kernel {
    ($encoding:ident, $features:literal, $dot:ident) => {
        mod $encoding {
            use super::*;

            /// # Safety
            /// As for [`super::run`]; the machine must have this encoding.
            #[target_feature(enable = $features)]
            pub unsafe fn run(
                table: &Table,
                group: &Group,
                x: *const u8,
                accumulators: *mut i32,
                stride: usize,
                tiles: usize,
            ) {
                // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`, and every
                // part has all its segments.
                unsafe {
                    for pass in 0..tiles.div_ceil(PAIRS_TILES) {
                        let x = x.add(pass * PAIRS_TILES * TILE);
                        let mut offset = table.offsets.as_ptr().add(group.offset as usize);
                        let mut weight = table.weights.as_ptr().add(group.weight as usize);
                        let mut sums = MaybeUninit::<[[[__m256i; VECTORS]; PAIRS_TILES]; PAIRS_GROUP]>::uninit();
                        let sums = sums.as_mut_ptr().cast::<[[__m256i; VECTORS]; PAIRS_TILES]>();
                        let mut parts = table.segments(group).chunks_exact(PAIR_SEGMENTS).enumerate();
                        while let Some((index, part)) = parts.next() {
                            // Both outputs, a tile after the other.
                            let (first_offset, first_weight) = (offset, weight);
                            for tile in 0..PAIRS_TILES {
                                (offset, weight) = (first_offset, first_weight);
                                let (mut a, mut b) = ([_mm256_setzero_si256(); VECTORS], [_mm256_setzero_si256(); VECTORS]);
                                if index > 0 {
                                    (a, b) = ((*sums)[tile], (*sums.add(1))[tile]);
                                }
                                macro_rules! quad {
                                    ($i:literal) => {
                                        let v = interleave(x.add(tile * TILE), offset.add($i * QUAD));
                                        let w = _mm256_set1_epi32(*weight.add($i * 2) as i32);
                                        for t in 0..VECTORS {
                                            a[t] = $dot(a[t], v[t], w);
                                        }
                                        let w = _mm256_set1_epi32(*weight.add($i * 2 + 1) as i32);
                                        for t in 0..VECTORS {
                                            b[t] = $dot(b[t], v[t], w);
                                        }
                                    };
                                }
                                blocks!(part 0 quad offset weight 2);
                                (*sums)[tile] = a;
                                (*sums.add(1))[tile] = b;
                            }
                            // One of them, both tiles at once.
                            for j in 0..PAIRS_GROUP {
                                let [mut a, mut b] = *sums.add(j);
                                macro_rules! quad {
                                    ($i:literal) => {
                                        let w = _mm256_set1_epi32(*weight.add($i) as i32);
                                        let v = interleave(x, offset.add($i * QUAD));
                                        for t in 0..VECTORS {
                                            a[t] = $dot(a[t], v[t], w);
                                        }
                                        let v = interleave(x.add(TILE), offset.add($i * QUAD));
                                        for t in 0..VECTORS {
                                            b[t] = $dot(b[t], v[t], w);
                                        }
                                    };
                                }
                                let of_mask = (j + 1) * PAIR_BLOCKS.len();
                                blocks!(part of_mask quad offset weight 1);
                                if parts.len() > 0 {
                                    *sums.add(j) = [a, b];
                                    continue;
                                }
                                let to = accumulators.add(j * stride + pass * PAIRS_TILES * TILE);
                                store(to, a);
                                store(to.add(TILE), b);
                            }
                        }
                    }
                }
            }
        }
    };
}

const _: () = assert!(PAIR_BLOCKS[0] == 8 && PAIR_BLOCKS[1] == 4 && PAIR_BLOCKS[2] == 2 && PAIR_BLOCKS.len() == 3);

/// Four rows of 32 pixels as 32 groups of four bytes; pixels `16 l + 4 t` to `16 l + 4 t + 3` are in 128-bit lane `l` of
/// vector `t`.
///
/// # Safety
/// A tile is readable at `x` plus each of the four offsets; the machine has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn interleave(x: *const u8, offsets: *const i32) -> [__m256i; VECTORS] {
    // SAFETY: by the contract.
    let row = |i: usize| unsafe { _mm256_loadu_si256(x.offset(*offsets.add(i) as isize).cast()) };
    let (a, b) = (row(0), row(1));
    let (ab, ab_high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    let (c, d) = (row(2), row(3));
    let (cd, cd_high) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
    [
        _mm256_unpacklo_epi16(ab, cd),
        _mm256_unpackhi_epi16(ab, cd),
        _mm256_unpacklo_epi16(ab_high, cd_high),
        _mm256_unpackhi_epi16(ab_high, cd_high),
    ]
}

/// Writes sums in the order of [`interleave`] as 32 consecutive pixels.
///
/// # Safety
/// `to` has room for them; the machine has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(to: *mut i32, [a, b, c, d]: [__m256i; VECTORS]) {
    let to = to.cast::<__m256i>();
    // SAFETY: by the contract.
    unsafe {
        _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(a, b));
        _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x20>(c, d));
        _mm256_storeu_si256(to.add(2), _mm256_permute2x128_si256::<0x31>(a, b));
        _mm256_storeu_si256(to.add(3), _mm256_permute2x128_si256::<0x31>(c, d));
    }
}

kernel!(vex, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
kernel!(evex, "avx2,avx512f,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
