//! The table kernel with AVX-512BW: tiles twice as wide, low and high sums all in registers.

use super::{GROUP, Group, TILE, Table};
use std::arch::x86_64::*;

/// Base tiles that one pass of the wide loop computes.
pub const WIDE: usize = 2;

/// Accumulates whole wide tiles.
///
/// # Safety
/// As for [`super::run`] with `wide_tiles * WIDE` tiles; the machine must have AVX-512F and AVX-512BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn run(
    table: &Table,
    group: &Group,
    x: *const u8,
    accumulators: *mut i32,
    stride: usize,
    wide_tiles: usize,
) {
    let segments = table.segments(group);
    let zero = _mm512_setzero_si512();
    let low_byte = _mm512_set1_epi16(255);
    let outputs = group.outputs.len();
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`.
    unsafe {
        for tile in 0..wide_tiles {
            let x = x.add(tile * WIDE * TILE);
            let to = accumulators.add(tile * WIDE * TILE);
            let mut offset = table.offsets.as_ptr().add(group.offset as usize);
            let mut weight = table.weights.as_ptr().add(group.weight as usize);
            let mut low = [[zero; 2]; GROUP];
            let mut high = [[zero; 2]; GROUP];
            let mut spilled = false;
            for segment in segments {
                macro_rules! bucket {
                    ($($mask:literal)*) => {
                        match segment.mask {
                            $($mask => {
                                for _ in 0..segment.count {
                                    let a = _mm512_loadu_si512(x.offset(*offset as isize).cast());
                                    let b = _mm512_loadu_si512(x.offset(*offset.add(1) as isize).cast());
                                    offset = offset.add(2);
                                    let v = [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)];
                                    bucket!(@output $mask, 0, v);
                                    bucket!(@output $mask, 1, v);
                                    bucket!(@output $mask, 2, v);
                                    bucket!(@output $mask, 3, v);
                                }
                                bucket!(@carry $mask, 0);
                                bucket!(@carry $mask, 1);
                                bucket!(@carry $mask, 2);
                                bucket!(@carry $mask, 3);
                            },)*
                            _ => unreachable!("masks of a group of {GROUP} have {GROUP} bits"),
                        }
                    };
                    (@output $mask:literal, $j:literal, $v:ident) => {
                        if $mask & (1 << $j) != 0 {
                            let w = _mm512_set1_epi32(*weight as i32);
                            weight = weight.add(1);
                            low[$j][0] = _mm512_add_epi16(low[$j][0], _mm512_maddubs_epi16($v[0], w));
                            low[$j][1] = _mm512_add_epi16(low[$j][1], _mm512_maddubs_epi16($v[1], w));
                        }
                    };
                    (@carry $mask:literal, $j:literal) => {
                        if $mask & (1 << $j) != 0 {
                            high[$j][0] = _mm512_add_epi16(high[$j][0], _mm512_srai_epi16::<8>(low[$j][0]));
                            high[$j][1] = _mm512_add_epi16(high[$j][1], _mm512_srai_epi16::<8>(low[$j][1]));
                            low[$j][0] = _mm512_and_si512(low[$j][0], low_byte);
                            low[$j][1] = _mm512_and_si512(low[$j][1], low_byte);
                        }
                    };
                }
                bucket!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
                if segment.spill != 0 {
                    for j in 0..outputs {
                        store(to.add(j * stride), low[j], high[j], spilled);
                        low[j] = [zero; 2];
                        high[j] = [zero; 2];
                    }
                    spilled = true;
                }
            }
            for j in 0..outputs {
                store(to.add(j * stride), low[j], high[j], spilled);
            }
        }
    }
}

/// Writes, or adds, `high * 256 + low` of 64 pixels. `low` must be in 0..=255.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn store(to: *mut i32, low: [__m512i; 2], high: [__m512i; 2], add: bool) {
    // Interleaving rows put pixels 16 l to 16 l + 7 of every lane l in the first vector, the other eight in the second.
    let wide = |half: usize| {
        let l = _mm512_slli_epi16::<8>(low[half]);
        [
            _mm512_srai_epi32::<8>(_mm512_unpacklo_epi16(l, high[half])),
            _mm512_srai_epi32::<8>(_mm512_unpackhi_epi16(l, high[half])),
        ]
    };
    let ([a, b], [c, d]) = (wide(0), wide(1));
    // A transpose of 128-bit lanes puts the pixels in order.
    let (ab, cd) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d));
    let (ab_high, cd_high) = (_mm512_shuffle_i32x4::<0xee>(a, b), _mm512_shuffle_i32x4::<0xee>(c, d));
    let rows = [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ];
    for (t, mut row) in rows.into_iter().enumerate() {
        // SAFETY: the caller's row has 64 pixels at `to`.
        unsafe {
            let at = to.add(t * 16).cast::<__m512i>();
            if add {
                row = _mm512_add_epi32(row, _mm512_loadu_si512(at));
            }
            _mm512_storeu_si512(at, row);
        }
    }
}
