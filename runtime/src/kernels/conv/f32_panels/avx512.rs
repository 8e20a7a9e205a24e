//! Panels with AVX-512: the whole pass at once. What is left of a run is computed with AVX2.
//!
//! A vector takes a load for as long as a product, so loads bind wherever a step has more of them: most weights are loaded
//! by fours and spread in registers.
//!
//! Loops count: what a closure computes may be compiled without the instruction set, with its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{Cursor, PASS, PASS_TILES, PanelTile, Pass, avx2};
use crate::kernels::conv::wide::broadcast4;
use core::arch::x86_64::*;

/// Vectors of a pass.
const V: usize = PASS / 16;

/// What the sums of `G` outputs are added to.
///
/// # Safety
/// The accumulators of the outputs lie at `to`, and the machine has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn begin<const G: usize>(pass: &Pass<'_>, to: *const f32) -> [[__m512; V]; G] {
    let mut sums = [[_mm512_setzero_ps(); V]; G];
    if pass.add {
        for j in 0..G {
            for t in 0..V {
                // SAFETY: by the contract.
                sums[j][t] = unsafe { _mm512_loadu_ps(to.add(j * pass.stride + t * 16)) };
            }
        }
    }
    sums
}

/// Stores the sums of `G` outputs.
///
/// # Safety
/// As for [`begin`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn end<const G: usize>(pass: &Pass<'_>, to: *mut f32, sums: &[[__m512; V]; G]) {
    for j in 0..G {
        for t in 0..V {
            // SAFETY: by the contract.
            unsafe { _mm512_storeu_ps(to.add(j * pass.stride + t * 16), sums[j][t]) };
        }
    }
}

/// # Safety
/// As for [`super::run_pass`].
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn sparse(pass: &Pass<'_>) -> Cursor {
    if pass.tiles < PASS_TILES {
        // SAFETY: forwarded.
        return unsafe { avx2::sparse(pass) };
    }
    const OUTPUTS: usize = PanelTile::Sparse2x48.group();
    let Cursor { mut offset, mut weight } = pass.tables;
    let panel = pass.panel.cast::<u8>();
    let mut lines = pass.lines_beside();
    for g in 0..pass.groups.len() {
        avx2::ask_for_next(pass, lines.next());
        // SAFETY: as in `avx2::sparse`.
        unsafe {
            let segments = pass.segments_of(g);
            let to = pass.accumulators.add(g * OUTPUTS * pass.stride);
            // Rows add to two sets of sums in turn, or the three sums of one output would wait for each other.
            let mut sums = [begin(pass, to), [[_mm512_setzero_ps(); V]; OUTPUTS]];
            // Two rows of either output.
            macro_rules! two_of_each {
                () => {
                    let four = broadcast4(weight);
                    let offsets = offset.cast::<u64>().read_unaligned();
                    two_of_each!(four offsets: [0 0 0] [1 0 1] [2 1 0] [3 1 1]);
                    offset = offset.add(4);
                    weight = weight.add(4);
                };
                ($four:ident $offsets:ident: $([$k:literal $set:literal $j:literal])*) => {$(
                    let row = panel.add(($offsets >> (16 * $k)) as usize & 0xffff).cast::<f32>();
                    let w = _mm512_permute_ps::<{ $k * 0x55 }>($four);
                    for t in 0..V {
                        let x = _mm512_load_ps(row.add(t * 16));
                        sums[$set][$j][t] = _mm512_fmadd_ps(w, x, sums[$set][$j][t]);
                    }
                )*};
            }
            // A row of both outputs, for a set of their sums, with weights from these quarters of four.
            macro_rules! both {
                ($set:literal: $four:ident $first:literal) => {
                    let row = panel.add(usize::from(*offset)).cast::<f32>();
                    offset = offset.add(1);
                    let w = [
                        _mm512_permute_ps::<{ $first * 0x55 }>($four),
                        _mm512_permute_ps::<{ ($first + 1) * 0x55 }>($four),
                    ];
                    for t in 0..V {
                        let x = _mm512_load_ps(row.add(t * 16));
                        for j in 0..OUTPUTS {
                            sums[$set][j][t] = _mm512_fmadd_ps(w[j], x, sums[$set][j][t]);
                        }
                    }
                };
            }
            // A row of these outputs.
            macro_rules! row {
                ($($j:literal)*) => {
                    let row = panel.add(usize::from(*offset)).cast::<f32>();
                    let x = [_mm512_load_ps(row), _mm512_load_ps(row.add(16)), _mm512_load_ps(row.add(32))];
                    offset = offset.add(1);
                    $(
                        let w = _mm512_set1_ps(*weight);
                        weight = weight.add(1);
                        for t in 0..V {
                            sums[0][$j][t] = _mm512_fmadd_ps(w, x[t], sums[0][$j][t]);
                        }
                    )*
                };
            }
            for _ in 0..segments[0].count {
                let last = broadcast4(weight.add(2));
                two_of_each!();
                both!(0: last 2);
                weight = weight.add(2);
            }
            for _ in 0..segments[1].count {
                two_of_each!();
            }
            for _ in 0..segments[2].count {
                row!(0);
            }
            for _ in 0..segments[3].count {
                row!(1);
            }
            for _ in 0..segments[4].count {
                let four = broadcast4(weight);
                both!(0: four 0);
                both!(1: four 2);
                weight = weight.add(4);
            }
            for _ in 0..segments[5].count {
                row!(0 1);
            }
            let [mut sums, more] = sums;
            for j in 0..OUTPUTS {
                for t in 0..V {
                    sums[j][t] = _mm512_add_ps(sums[j][t], more[j][t]);
                }
            }
            end(pass, to, &sums);
        }
    }
    Cursor { offset, weight }
}

/// # Safety
/// As for [`super::run_pass`].
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn dense(pass: &Pass<'_>) -> Cursor {
    if pass.tiles < PASS_TILES {
        // SAFETY: forwarded.
        return unsafe { avx2::dense(pass) };
    }
    let Cursor { offset, weight: mut weights } = pass.tables;
    let mut lines = pass.lines_beside();
    for (g, group) in pass.groups.iter().enumerate() {
        avx2::ask_for_next(pass, lines.next());
        // SAFETY: as in `avx2::dense`.
        unsafe {
            let to = pass.accumulators.add(g * PanelTile::Dense4x24.group() * pass.stride);
            match group.outputs.len() {
                1 => dense_pass::<1>(pass, weights, to),
                2 => dense_pass::<2>(pass, weights, to),
                3 => dense_pass::<3>(pass, weights, to),
                _ => dense_pass::<4>(pass, weights, to),
            }
            weights = weights.add(pass.rows * group.outputs.len());
        }
    }
    Cursor { offset, weight: weights }
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
        let mut sums: [[__m512; V]; G] = begin(pass, to);
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
        end(pass, to, &sums);
    }
}
