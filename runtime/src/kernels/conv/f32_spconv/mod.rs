//! `f32_spconv_4x24`: sparse or dense `f32` accumulation, up to 4 outputs by 24 pixels a tile.
//!
//! Twelve accumulators, three loaded input vectors and one broadcast weight fill the sixteen AVX2 registers; every
//! input vector is loaded once for up to four outputs.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

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
            Isa::Avx2 | Isa::AvxVnni => match group.unrolled {
                Some(kernel) => {
                    kernel(x, accumulators.cast(), table.weights.as_ptr().add(group.weight as usize).cast(), tiles);
                }
                None => avx2::run(table, group, x, accumulators, stride, tiles),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                let done = avx512::run(table, group, x, accumulators, stride, tiles);
                avx2::run(table, group, x.add(done * TILE * 4), accumulators.add(done * TILE), stride, tiles - done);
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable(table, group, x, accumulators, stride, tiles),
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
            core::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels).fill(0.0);
        }
        let mut offset = group.offset as usize;
        let mut weight = group.weight as usize;
        for segment in table.segments(group) {
            for _ in 0..segment.count {
                let row = core::slice::from_raw_parts(x.offset(table.offsets[offset] as isize).cast::<f32>(), pixels);
                offset += 1;
                let mut mask = segment.mask;
                while mask != 0 {
                    let j = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    let w = f32::from_bits(table.weights[weight]);
                    weight += 1;
                    let sums = core::slice::from_raw_parts_mut(accumulators.add(j * stride), pixels);
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += w * x;
                    }
                }
            }
        }
    }
}
