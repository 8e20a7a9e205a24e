//! Panels with AVX2.
//!
//! Loops count: what a closure computes may be compiled without the instruction set, with its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{DENSE_GROUP, PASS, Pass, SEGMENTS, SPARSE_GROUP, f32_spconv};
use crate::kernels::conv::f32_tile::add_rows;
use crate::simd::{prefetch, prefetch_second_level};
use core::arch::x86_64::*;

const TILE: usize = f32_spconv::TILE;

/// # Safety
/// As for [`super::pack`]; the machine must have AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn pack(offsets: &[i32], x: *const u8, to: *mut f32, ask_for_next: bool) {
    let mut to = to;
    for &offset in offsets {
        // SAFETY: forwarded.
        unsafe {
            let row = x.offset(offset as isize).cast::<f32>();
            if ask_for_next {
                for at in (PASS..2 * PASS).step_by(16) {
                    prefetch_second_level(row.wrapping_add(at).cast());
                }
            }
            for t in 0..PASS / 8 {
                _mm256_store_ps(to.add(t * 8), _mm256_loadu_ps(row.add(t * 8)));
            }
            to = to.add(PASS);
        }
    }
}

/// # Safety
/// As for [`super::Panels::run_pass`]; the layer is sparse.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn sparse(pass: &Pass<'_>) {
    // SAFETY: forwarded.
    unsafe {
        match pass.tiles {
            1 => sparse_vectors::<3>(pass),
            _ => sparse_vectors::<6>(pass),
        }
    }
}

/// Two outputs by `V` vectors.
///
/// # Safety
/// As for [`sparse`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn sparse_vectors<const V: usize>(pass: &Pass<'_>) {
    let panel = pass.panel.cast::<u8>().wrapping_sub(pass.base);
    for (g, (group, &[offset, weight])) in pass.groups.iter().zip(pass.cursors).enumerate() {
        let first = group.segments.0 as usize + pass.block * SEGMENTS;
        // SAFETY: by the contract: a group has its segments for every block, their entries lie in the tables, rows of
        // the block in the panel, and two outputs of `V` vectors in the accumulators.
        unsafe {
            let segments = pass.table.segments.get_unchecked(first..first + SEGMENTS);
            let counts = [segments[0].count, segments[1].count, segments[2].count];
            let mut offset = pass.table.offsets.as_ptr().add(offset as usize);
            let mut weight = pass.table.weights.as_ptr().add(weight as usize).cast::<f32>();
            if let Some(&[offset, weight]) = pass.cursors.get(g + 1) {
                prefetch(pass.table.offsets.as_ptr().wrapping_add(offset as usize).cast());
                prefetch(pass.table.weights.as_ptr().wrapping_add(weight as usize).cast());
            }
            let to = pass.accumulators.add(g * SPARSE_GROUP * pass.stride);
            let to = [to, to.add((group.outputs.len() - 1) * pass.stride)];
            let mut sums = [[_mm256_setzero_ps(); V]; SPARSE_GROUP];
            if pass.block > 0 {
                for j in 0..SPARSE_GROUP {
                    for t in 0..V {
                        sums[j][t] = _mm256_loadu_ps(to[j].add(t * 8));
                    }
                }
            }
            macro_rules! single {
                ($j:literal) => {
                    let end = offset.add(usize::from(counts[$j]));
                    while offset < end {
                        let row = panel.wrapping_add(*offset as usize).cast::<f32>();
                        let w = _mm256_broadcast_ss(&*weight);
                        for t in 0..V {
                            sums[$j][t] = _mm256_fmadd_ps(w, _mm256_load_ps(row.add(t * 8)), sums[$j][t]);
                        }
                        offset = offset.add(1);
                        weight = weight.add(1);
                    }
                };
            }
            single!(0);
            single!(1);
            let end = offset.add(usize::from(counts[2]));
            while offset < end {
                let row = panel.wrapping_add(*offset as usize).cast::<f32>();
                let w = [_mm256_broadcast_ss(&*weight), _mm256_broadcast_ss(&*weight.add(1))];
                for t in 0..V {
                    let x = _mm256_load_ps(row.add(t * 8));
                    sums[0][t] = _mm256_fmadd_ps(w[0], x, sums[0][t]);
                    sums[1][t] = _mm256_fmadd_ps(w[1], x, sums[1][t]);
                }
                offset = offset.add(1);
                weight = weight.add(2);
            }
            // A group of one output has nothing in its second, and the first is stored last.
            for j in (0..SPARSE_GROUP).rev() {
                for t in 0..V {
                    _mm256_storeu_ps(to[j].add(t * 8), sums[j][t]);
                }
            }
        }
    }
}

/// # Safety
/// As for [`super::Panels::run_pass`]; the layer is dense.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dense(pass: &Pass<'_>) {
    for (g, (group, &[_, weight])) in pass.groups.iter().zip(pass.cursors).enumerate() {
        // SAFETY: by the contract: a block has a weight for every row and output.
        unsafe {
            let weights = pass.table.weights.as_ptr().add(weight as usize).cast::<f32>();
            if let Some(&[_, weight]) = pass.cursors.get(g + 1) {
                prefetch(pass.table.weights.as_ptr().wrapping_add(weight as usize).cast());
            }
            let to = pass.accumulators.add(g * DENSE_GROUP * pass.stride);
            for tile in 0..pass.tiles {
                let (panel, to) = (pass.panel.add(tile * TILE), to.add(tile * TILE));
                match group.outputs.len() {
                    1 => dense_tile::<1>(pass, weights, panel, to),
                    2 => dense_tile::<2>(pass, weights, panel, to),
                    3 => dense_tile::<3>(pass, weights, panel, to),
                    _ => dense_tile::<4>(pass, weights, panel, to),
                }
            }
        }
    }
}

/// `G` outputs by three vectors.
///
/// # Safety
/// As for [`dense`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dense_tile<const G: usize>(pass: &Pass<'_>, weights: *const f32, panel: *const f32, to: *mut f32) {
    // SAFETY: forwarded.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); TILE / 8]; G];
        if pass.block > 0 {
            for j in 0..G {
                for t in 0..TILE / 8 {
                    sums[j][t] = _mm256_loadu_ps(to.add(j * pass.stride + t * 8));
                }
            }
        }
        if let Some(sums) = sums.first_chunk_mut() {
            add_rows(sums, weights, panel, pass.rows, PASS);
        } else {
            let (mut weights, mut panel) = (weights, panel);
            for _ in 0..pass.rows {
                let x = [_mm256_load_ps(panel), _mm256_load_ps(panel.add(8)), _mm256_load_ps(panel.add(16))];
                for j in 0..G {
                    let w = _mm256_broadcast_ss(&*weights.add(j));
                    for t in 0..TILE / 8 {
                        sums[j][t] = _mm256_fmadd_ps(w, x[t], sums[j][t]);
                    }
                }
                panel = panel.add(PASS);
                weights = weights.add(G);
            }
        }
        for j in 0..G {
            for t in 0..TILE / 8 {
                _mm256_storeu_ps(to.add(j * pass.stride + t * 8), sums[j][t]);
            }
        }
    }
}
