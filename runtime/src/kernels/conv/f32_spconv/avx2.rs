//! The table kernel with AVX2.

use super::{GROUP, Group, TILE, Table};
use core::arch::x86_64::*;

/// # Safety
/// As for [`super::run`]; the machine must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run(table: &Table, group: &Group, x: *const u8, accumulators: *mut f32, stride: usize, tiles: usize) {
    let segments = table.segments(group);
    // SAFETY: by the contract of `run`; entries of the group's segments lie in `offsets` and `weights`.
    unsafe {
        for tile in 0..tiles {
            let x = x.add(tile * TILE * 4);
            let mut offset = table.offsets.as_ptr().add(group.offset as usize);
            let mut weight = table.weights.as_ptr().add(group.weight as usize).cast::<f32>();
            let mut sums = [[_mm256_setzero_ps(); 3]; GROUP];
            for segment in segments {
                macro_rules! bucket {
                    ($($mask:literal)*) => {
                        match segment.mask {
                            $($mask => for _ in 0..segment.count {
                                let row = x.offset(*offset as isize).cast::<f32>();
                                offset = offset.add(1);
                                let v = [_mm256_loadu_ps(row), _mm256_loadu_ps(row.add(8)), _mm256_loadu_ps(row.add(16))];
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
                            let w = _mm256_broadcast_ss(&*weight);
                            weight = weight.add(1);
                            sums[$j][0] = _mm256_fmadd_ps(w, $v[0], sums[$j][0]);
                            sums[$j][1] = _mm256_fmadd_ps(w, $v[1], sums[$j][1]);
                            sums[$j][2] = _mm256_fmadd_ps(w, $v[2], sums[$j][2]);
                        }
                    };
                }
                bucket!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            }
            for (j, sums) in sums.iter().enumerate().take(group.outputs.len()) {
                let to = accumulators.add(j * stride + tile * TILE);
                _mm256_storeu_ps(to, sums[0]);
                _mm256_storeu_ps(to.add(8), sums[1]);
                _mm256_storeu_ps(to.add(16), sums[2]);
            }
        }
    }
}
