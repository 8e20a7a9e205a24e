//! Panels with AVX-512: the whole pass at once. What is left of a run is computed with AVX2.
//!
//! Loops count: what a closure computes may be compiled without the instruction set, with its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{DENSE_GROUP, PASS, PASS_TILES, Pass, SEGMENTS, SPARSE_GROUP, avx2};
use core::arch::x86_64::*;

/// Vectors of a pass.
const V: usize = PASS / 16;

/// # Safety
/// As for [`super::Panels::run_pass`]; the layer is sparse.
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn sparse(pass: &Pass<'_>) {
    if pass.tiles < PASS_TILES {
        // SAFETY: forwarded.
        return unsafe { avx2::sparse(pass) };
    }
    let panel = pass.panel.cast::<u8>().wrapping_sub(pass.base);
    for (g, (group, &[offset, weight])) in pass.groups.iter().zip(pass.cursors).enumerate() {
        let first = group.segments.0 as usize + pass.block * SEGMENTS;
        // SAFETY: as in `avx2::sparse`.
        unsafe {
            let segments = pass.table.segments.get_unchecked(first..first + SEGMENTS);
            let counts = [segments[0].count, segments[1].count, segments[2].count];
            let mut offset = pass.table.offsets.as_ptr().add(offset as usize);
            let mut weight = pass.table.weights.as_ptr().add(weight as usize).cast::<f32>();
            let to = pass.accumulators.add(g * SPARSE_GROUP * pass.stride);
            let to = [to, to.add((group.outputs.len() - 1) * pass.stride)];
            // Rows add to two sets of sums in turn, or the three sums of one output would wait for each other.
            let mut sums = [[[_mm512_setzero_ps(); V]; SPARSE_GROUP]; 2];
            if pass.block > 0 {
                for j in 0..SPARSE_GROUP {
                    for t in 0..V {
                        sums[0][j][t] = _mm512_loadu_ps(to[j].add(t * 16));
                    }
                }
            }
            macro_rules! add {
                ($set:literal, $($j:literal)*) => {{
                    let row = panel.wrapping_add(*offset as usize).cast::<f32>();
                    let x = [_mm512_load_ps(row), _mm512_load_ps(row.add(16)), _mm512_load_ps(row.add(32))];
                    $({
                        let w = _mm512_set1_ps(*weight);
                        for t in 0..V {
                            sums[$set][$j][t] = _mm512_fmadd_ps(w, x[t], sums[$set][$j][t]);
                        }
                        weight = weight.add(1);
                    })*
                    offset = offset.add(1);
                }};
            }
            macro_rules! segment {
                ($s:literal, $($j:literal)*) => {
                    for _ in 0..counts[$s] / 2 {
                        add!(0, $($j)*);
                        add!(1, $($j)*);
                    }
                    if counts[$s] % 2 > 0 {
                        add!(0, $($j)*);
                    }
                };
            }
            segment!(0, 0);
            segment!(1, 1);
            segment!(2, 0 1);
            for j in (0..SPARSE_GROUP).rev() {
                for t in 0..V {
                    _mm512_storeu_ps(to[j].add(t * 16), _mm512_add_ps(sums[0][j][t], sums[1][j][t]));
                }
            }
        }
    }
}

/// # Safety
/// As for [`super::Panels::run_pass`]; the layer is dense.
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn dense(pass: &Pass<'_>) {
    if pass.tiles < PASS_TILES {
        // SAFETY: forwarded.
        return unsafe { avx2::dense(pass) };
    }
    for (g, (group, &[_, weight])) in pass.groups.iter().zip(pass.cursors).enumerate() {
        // SAFETY: as in `avx2::dense`.
        unsafe {
            let weights = pass.table.weights.as_ptr().add(weight as usize).cast::<f32>();
            let to = pass.accumulators.add(g * DENSE_GROUP * pass.stride);
            match group.outputs.len() {
                1 => dense_pass::<1>(pass, weights, to),
                2 => dense_pass::<2>(pass, weights, to),
                3 => dense_pass::<3>(pass, weights, to),
                _ => dense_pass::<4>(pass, weights, to),
            }
        }
    }
}

/// `G` outputs by a whole pass.
///
/// # Safety
/// As for [`dense`].
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn dense_pass<const G: usize>(pass: &Pass<'_>, weights: *const f32, to: *mut f32) {
    // SAFETY: forwarded.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); V]; G];
        if pass.block > 0 {
            for j in 0..G {
                for t in 0..V {
                    sums[j][t] = _mm512_loadu_ps(to.add(j * pass.stride + t * 16));
                }
            }
        }
        let (mut weights, mut panel) = (weights, pass.panel);
        for _ in 0..pass.rows {
            let x = [_mm512_load_ps(panel), _mm512_load_ps(panel.add(16)), _mm512_load_ps(panel.add(32))];
            for j in 0..G {
                let w = _mm512_set1_ps(*weights.add(j));
                for t in 0..V {
                    sums[j][t] = _mm512_fmadd_ps(w, x[t], sums[j][t]);
                }
            }
            panel = panel.add(PASS);
            weights = weights.add(G);
        }
        for j in 0..G {
            for t in 0..V {
                _mm512_storeu_ps(to.add(j * pass.stride + t * 16), sums[j][t]);
            }
        }
    }
}
