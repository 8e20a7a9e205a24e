//! Panels with AVX2.
//!
//! Loops count: what a closure computes may be compiled without the instruction set, with its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{Cursor, PASS, PITCH, PanelTile, Pass, Segment, f32_spconv};
use crate::kernels::conv::f32_tile::add_rows;
use crate::simd::{prefetch_second_level, prefetch_to_write};
use core::arch::x86_64::*;

const TILE: usize = f32_spconv::TILE;

/// # Safety
/// As for [`super::pack`]; the machine must have AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn pack(offsets: &[i32], x: *const u8, to: *mut f32) {
    let mut to = to;
    for &offset in offsets {
        // SAFETY: forwarded.
        unsafe {
            let row = x.offset(offset as isize).cast::<f32>();
            for t in 0..PASS / 8 {
                _mm256_store_ps(to.add(t * 8), _mm256_loadu_ps(row.add(t * 8)));
            }
            to = to.add(PASS);
        }
    }
}

/// Asks for pixels of the next pass. They come from far, and while a group is multiplied they cost least.
#[inline(always)]
pub(super) fn ask_for_next(pass: &Pass<'_>, lines: Option<&[i32]>) {
    for &line in lines.unwrap_or_default() {
        prefetch_second_level(pass.x.wrapping_offset(line as isize));
    }
}

/// Asks for the accumulators of the group after `g`, of `outputs` outputs, when they are added to.
#[inline(always)]
fn ask_for_sums(pass: &Pass<'_>, g: usize, outputs: usize) {
    if pass.add {
        for j in 0..outputs {
            let row = pass.accumulators.wrapping_add(((g + 1) * outputs + j) * pass.stride);
            for line in (0..PITCH).step_by(64) {
                prefetch_to_write(row.cast::<u8>().wrapping_add(line));
            }
        }
    }
}

/// # Safety
/// As for [`super::run_pass`].
pub unsafe fn sparse(pass: &Pass<'_>) -> Cursor {
    const OUTPUTS: usize = PanelTile::Sparse2x48.group();
    let mut at = pass.tables;
    let mut lines = pass.lines_beside();
    let pitch = pass.stride * size_of::<f32>();
    for g in 0..pass.groups.len() {
        ask_for_next(pass, lines.next());
        ask_for_sums(pass, g, OUTPUTS);
        // SAFETY: by the contract: entries of all segments lie in the tables, rows of the block in the panel, and as many
        // outputs as groups have in the accumulators, which have room for those that the last one lacks.
        unsafe {
            let segments = pass.segments_of(g).as_ptr();
            let to = pass.accumulators.add(g * OUTPUTS * pass.stride);
            let add = usize::from(pass.add);
            at = steps(segments, at.offset, at.weight, pass.panel, to, pitch, pass.tiles, add);
        }
    }
    at
}

const _: () = assert!(PITCH == 192 && TILE == 24 && size_of::<Segment>() == 4);

/// Sums of a group, `pitch` bytes from one output to the next, by `tiles` tiles, added to what is there unless `add` is 0.
///
/// # Safety
/// As for [`sparse`]; there is a tile.
#[allow(clippy::too_many_arguments)]
#[unsafe(naked)]
unsafe extern "sysv64" fn steps(
    segments: *const Segment,
    offsets: *const u16,
    weights: *const f32,
    panel: *const f32,
    sums: *mut f32,
    pitch: usize,
    tiles: usize,
    add: usize,
) -> Cursor {
    core::arch::naked_asm!(include_str!("steps.s"), options(att_syntax, raw))
}

/// # Safety
/// As for [`super::run_pass`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dense(pass: &Pass<'_>) -> Cursor {
    const OUTPUTS: usize = PanelTile::Dense4x24.group();
    let Cursor { offset, weight: mut weights } = pass.tables;
    let mut lines = pass.lines_beside();
    for (g, group) in pass.groups.iter().enumerate() {
        ask_for_next(pass, lines.next());
        ask_for_sums(pass, g, OUTPUTS);
        // SAFETY: by the contract: a block has a weight for every row and output.
        unsafe {
            let to = pass.accumulators.add(g * OUTPUTS * pass.stride);
            for tile in 0..pass.tiles {
                let (panel, to) = (pass.panel.add(tile * TILE), to.add(tile * TILE));
                match group.outputs.len() {
                    1 => dense_tile::<1>(pass, weights, panel, to),
                    2 => dense_tile::<2>(pass, weights, panel, to),
                    3 => dense_tile::<3>(pass, weights, panel, to),
                    _ => dense_tile::<4>(pass, weights, panel, to),
                }
            }
            weights = weights.add(pass.rows * group.outputs.len());
        }
    }
    Cursor { offset, weight: weights }
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
        if pass.add {
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
