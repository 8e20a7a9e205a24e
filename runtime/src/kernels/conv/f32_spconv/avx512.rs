//! The table kernel with AVX-512: tiles four times as wide, 24 accumulators, six row vectors, one weight; and half of
//! that for what is left of a run.

use super::{GROUP, Group, TILE, Table};
use core::arch::x86_64::*;

/// Vectors that make two base tiles.
const PAIR: usize = 3;

/// Accumulates as many tiles as whole passes compute, and returns how many.
///
/// # Safety
/// As for [`super::run`]; the machine must have AVX-512F.
#[target_feature(enable = "avx512f")]
pub unsafe fn run(
    table: &Table,
    group: &Group,
    x: *const u8,
    accumulators: *mut f32,
    stride: usize,
    tiles: usize,
) -> usize {
    let wide = tiles / 4 * 4;
    let done = tiles / 2 * 2;
    // SAFETY: forwarded.
    unsafe {
        passes::<{ 2 * PAIR }>(table, group, x, accumulators, stride, wide / 4);
        let (x, to) = (x.add(wide * TILE * 4), accumulators.add(wide * TILE));
        passes::<PAIR>(table, group, x, to, stride, (done - wide) / 2);
    }
    done
}

/// Accumulates passes of `V` vectors of 16 pixels.
///
/// # Safety
/// As for [`run`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn passes<const V: usize>(
    table: &Table,
    group: &Group,
    x: *const u8,
    accumulators: *mut f32,
    stride: usize,
    passes: usize,
) {
    let segments = table.segments(group);
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`.
    unsafe {
        for pass in 0..passes {
            let x = x.add(pass * V * 64);
            let mut offset = table.offsets.as_ptr().add(group.offset as usize);
            let mut weight = table.weights.as_ptr().add(group.weight as usize).cast::<f32>();
            let mut sums = [[_mm512_setzero_ps(); V]; GROUP];
            for segment in segments {
                macro_rules! bucket {
                    ($($mask:literal)*) => {
                        match segment.mask {
                            $($mask => for _ in 0..segment.count {
                                let row = x.offset(*offset as isize).cast::<f32>();
                                offset = offset.add(1);
                                let v: [__m512; V] = core::array::from_fn(|t| _mm512_loadu_ps(row.add(t * 16)));
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
                            for t in 0..V {
                                sums[$j][t] = _mm512_fmadd_ps(w, $v[t], sums[$j][t]);
                            }
                        }
                    };
                }
                bucket!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            }
            for (j, sums) in sums.iter().enumerate().take(group.outputs.len()) {
                let to = accumulators.add(j * stride + pass * V * 16);
                for (t, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(to.add(t * 16), *sum);
                }
            }
        }
    }
}
