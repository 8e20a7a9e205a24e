//! `f32_spconv_4x24`: sparse or dense `f32` accumulation, up to 4 outputs by 24 pixels a tile.
//!
//! Twelve accumulators, three loaded input vectors and one broadcast weight fill the sixteen AVX2 registers; every
//! input vector is loaded once for up to four outputs.

use super::table::{Group, Table};
use crate::simd::Isa;

/// Pixels of a tile: three vectors of eight.
pub const TILE: usize = 24;
/// Largest group.
pub const GROUP: usize = 4;

/// Accumulates `tiles` tiles of a group.
///
/// # Safety
/// `x` points to the first input pixel; the offsets of the table and `tiles * TILE` pixels from each must be readable;
/// `accumulators` holds `group.outputs.len()` rows of `stride >= tiles * TILE` elements; the machine has `isa`.
pub unsafe fn run(
    isa: Isa,
    table: &Table,
    group: &Group,
    x: *const u8,
    accumulators: *mut f32,
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
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 => portable(table, group, x, accumulators, stride, tiles),
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn portable(table: &Table, group: &Group, x: *const u8, accumulators: *mut f32, stride: usize, tiles: usize) {
    let pixels = tiles * TILE;
    // SAFETY: by the contract of `run`.
    unsafe {
        for j in 0..group.outputs.len() {
            std::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels).fill(0.0);
        }
        let mut offset = group.offset as usize;
        let mut weight = group.weight as usize;
        for segment in table.segments(group) {
            for _ in 0..segment.count {
                let row = std::slice::from_raw_parts(x.offset(table.offsets[offset] as isize).cast::<f32>(), pixels);
                offset += 1;
                let mut mask = segment.mask;
                while mask != 0 {
                    let j = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let w = f32::from_bits(table.weights[weight]);
                    weight += 1;
                    let sums = std::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels);
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += w * x;
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{GROUP, Group, TILE, Table};
    use std::arch::x86_64::*;

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
}
