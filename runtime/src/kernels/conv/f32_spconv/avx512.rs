//! The table kernel with AVX-512: tiles four times as wide, 24 accumulators, six row vectors, one weight.

use super::{GROUP, Group, TILE, Table};
use std::arch::x86_64::*;

/// Base tiles that one pass of the wide loop computes.
pub const WIDE: usize = 4;

/// Accumulates whole wide tiles.
///
/// # Safety
/// As for [`super::run`] with `wide_tiles * WIDE` tiles; the machine must have AVX-512F.
#[target_feature(enable = "avx512f")]
pub unsafe fn run(
    table: &Table,
    group: &Group,
    x: *const u8,
    accumulators: *mut f32,
    stride: usize,
    wide_tiles: usize,
) {
    let segments = table.segments(group);
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`.
    unsafe {
        for tile in 0..wide_tiles {
            let x = x.add(tile * WIDE * TILE * 4);
            let mut offset = table.offsets.as_ptr().add(group.offset as usize);
            let mut weight = table.weights.as_ptr().add(group.weight as usize).cast::<f32>();
            let mut sums = [[_mm512_setzero_ps(); 6]; GROUP];
            for segment in segments {
                macro_rules! bucket {
                    ($($mask:literal)*) => {
                        match segment.mask {
                            $($mask => for _ in 0..segment.count {
                                let row = x.offset(*offset as isize).cast::<f32>();
                                offset = offset.add(1);
                                let v = [
                                    _mm512_loadu_ps(row),
                                    _mm512_loadu_ps(row.add(16)),
                                    _mm512_loadu_ps(row.add(32)),
                                    _mm512_loadu_ps(row.add(48)),
                                    _mm512_loadu_ps(row.add(64)),
                                    _mm512_loadu_ps(row.add(80)),
                                ];
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
                            let w = _mm512_set1_ps(*weight);
                            weight = weight.add(1);
                            for t in 0..6 {
                                sums[$j][t] = _mm512_fmadd_ps(w, $v[t], sums[$j][t]);
                            }
                        }
                    };
                }
                bucket!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            }
            for (j, sums) in sums.iter().enumerate().take(group.outputs.len()) {
                let to = accumulators.add(j * stride + tile * WIDE * TILE);
                for (t, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(to.add(t * 16), *sum);
                }
            }
        }
    }
}
