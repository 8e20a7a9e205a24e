//! Dot products of quads with AVX-512 VNNI.

use super::{GROUP, Group, TILE, Table};
use core::arch::x86_64::*;

/// Tiles that one pass computes.
const WIDE: usize = 2;

/// Accumulates `tiles` tiles, rounded up to whole passes: the last may read a tile more and write it.
///
/// # Safety
/// As for [`super::run`]; the machine must have AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn run(table: &Table, group: &Group, x: *const u8, accumulators: *mut i32, stride: usize, tiles: usize) {
    let segments = table.segments(group);
    let zero = _mm512_setzero_si512();
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`.
    unsafe {
        for pass in 0..tiles.div_ceil(WIDE) {
            let x = x.add(pass * WIDE * TILE);
            let mut offset = table.offsets.as_ptr().add(group.offset as usize);
            let mut weight = table.weights.as_ptr().add(group.weight as usize);
            let mut sums = [[zero; 4]; GROUP];
            for segment in segments {
                macro_rules! bucket {
                    ($($mask:literal)*) => {
                        match segment.mask {
                            $($mask => for _ in 0..segment.count {
                                let row = |i: usize| _mm512_loadu_si512(x.offset(*offset.add(i) as isize).cast());
                                let v = interleave([row(0), row(1), row(2), row(3)]);
                                offset = offset.add(4);
                                bucket!(@output $mask, 0, v);
                                bucket!(@output $mask, 1, v);
                                bucket!(@output $mask, 2, v);
                                bucket!(@output $mask, 3, v);
                            },)*
                            _ => unreachable!("masks of a group of {GROUP} have {GROUP} bits"),
                        }
                    };
                    (@output $mask:literal, $j:literal, $v:ident) => {
                        if $mask & (1 << $j) != 0 {
                            let w = _mm512_set1_epi32(*weight as i32);
                            weight = weight.add(1);
                            for t in 0..4 {
                                sums[$j][t] = _mm512_dpbusd_epi32(sums[$j][t], $v[t], w);
                            }
                        }
                    };
                }
                bucket!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            }
            for (j, &sums) in sums.iter().enumerate().take(group.outputs.len()) {
                store(accumulators.add(j * stride + pass * WIDE * TILE), sums);
            }
        }
    }
}

/// Four rows of 64 pixels as 64 groups of four bytes; pixels `16 l + 4 t` to `16 l + 4 t + 3` are in 128-bit lane `l` of
/// vector `t`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

/// Writes sums in the order of [`interleave`] as 64 consecutive pixels: a transpose of 128-bit lanes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(to: *mut i32, [a, b, c, d]: [__m512i; 4]) {
    let (ab, cd) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
    let (ab_high, cd_high) = (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
    let rows = [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ];
    for (t, row) in rows.into_iter().enumerate() {
        // SAFETY: the caller's row has 64 pixels at `to`.
        unsafe { _mm512_storeu_si512(to.add(t * 16).cast(), row) };
    }
}
