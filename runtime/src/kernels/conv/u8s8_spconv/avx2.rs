//! The table kernel with AVX2.

use super::{GROUP, Group, TILE, Table};
use std::arch::x86_64::*;

/// # Safety
/// As for [`super::run`]; the machine must have AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn run(table: &Table, group: &Group, x: *const u8, accumulators: *mut i32, stride: usize, tiles: usize) {
    let segments = table.segments(group);
    let zero = _mm256_setzero_si256();
    let low_byte = _mm256_set1_epi16(255);
    let outputs = group.outputs.len();
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`.
    unsafe {
        for tile in 0..tiles {
            let x = x.add(tile * TILE);
            let to = accumulators.add(tile * TILE);
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
                                    let a = _mm256_loadu_si256(x.offset(*offset as isize).cast());
                                    let b = _mm256_loadu_si256(x.offset(*offset.add(1) as isize).cast());
                                    offset = offset.add(2);
                                    let v = [_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)];
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
                            let w = _mm256_set1_epi32(*weight as i32);
                            weight = weight.add(1);
                            low[$j][0] = _mm256_add_epi16(low[$j][0], _mm256_maddubs_epi16($v[0], w));
                            low[$j][1] = _mm256_add_epi16(low[$j][1], _mm256_maddubs_epi16($v[1], w));
                        }
                    };
                    (@carry $mask:literal, $j:literal) => {
                        if $mask & (1 << $j) != 0 {
                            high[$j][0] = _mm256_add_epi16(high[$j][0], _mm256_srai_epi16::<8>(low[$j][0]));
                            high[$j][1] = _mm256_add_epi16(high[$j][1], _mm256_srai_epi16::<8>(low[$j][1]));
                            low[$j][0] = _mm256_and_si256(low[$j][0], low_byte);
                            low[$j][1] = _mm256_and_si256(low[$j][1], low_byte);
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

/// Writes, or adds, `high * 256 + low` of 32 pixels. `low` must be in 0..=255.
#[target_feature(enable = "avx2")]
unsafe fn store(to: *mut i32, low: [__m256i; 2], high: [__m256i; 2], add: bool) {
    for half in 0..2 {
        // Interleaving rows put pixels 0-7 and 16-23 in the first vector, 8-15 and 24-31 in the second. With the
        // low byte shifted up, `high:low << 8` is the sum times 256 as one 32-bit number.
        let l = _mm256_slli_epi16::<8>(low[half]);
        let first = _mm256_srai_epi32::<8>(_mm256_unpacklo_epi16(l, high[half]));
        let second = _mm256_srai_epi32::<8>(_mm256_unpackhi_epi16(l, high[half]));
        let parts = [
            (0, _mm256_castsi256_si128(first)),
            (4, _mm256_castsi256_si128(second)),
            (16, _mm256_extracti128_si256::<1>(first)),
            (20, _mm256_extracti128_si256::<1>(second)),
        ];
        for (pixel, mut part) in parts {
            // SAFETY: the caller's row has 32 pixels at `to`.
            unsafe {
                let at = to.add(pixel + half * 8).cast::<__m128i>();
                if add {
                    part = _mm_add_epi32(part, _mm_loadu_si128(at));
                }
                _mm_storeu_si128(at, part);
            }
        }
    }
}
