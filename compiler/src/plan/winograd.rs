//! Which `f32` convolutions are computed by Winograd's minimal filtering, and how they are cut.

use super::blocking::shared_evenly;
use super::kernel::{Candidate, Choice, KernelUse};
use peristyle_runtime::kernels::conv::f32_winograd::{GROUP, LANES, POINTS, TILE, WINDOW};
use peristyle_runtime::kernels::conv::{Arithmetic, Blocking, MAX_GROUP, Winograd};

/// Most tiles of a unit, unless a row has more: its data and sums share a third-level cache with other threads'.
const TILES: usize = 112;
/// Channels and outputs from which the transforms cost less than the products they save.
const CHANNELS: usize = 16;
/// Input channels up to which rounding errors, which grow with their square root, stay within half of what layers are
/// tested with: measured 2.5e-6 of the largest result with 256.
const MOST_CHANNELS: usize = 1024;
/// Products per cycle at points, of nonzeros in panels, and of dense panels.
const RATES: [f64; 3] = [12.0, 9.8, 12.0];
/// Cycles to transform a pixel of a channel, and to take one of an output back and through the epilogue.
const TRANSFORM: f64 = 1.7;
/// Tiles whose products take as long as reading the weights they are multiplied with.
const WEIGHTS: f64 = 2.0;

/// The choice for a layer, if it is to be computed by points.
pub(super) fn choose(candidate: &Candidate, winograd: KernelUse) -> Option<Choice> {
    let possible = candidate.arithmetic == Arithmetic::F32
        && candidate.window == [WINDOW; 2]
        && candidate.stride == [1; 2]
        && candidate.dilation == [1; 2]
        && candidate.channel_groups == 1
        && candidate.inputs <= MOST_CHANNELS
        && candidate.pad.iter().all(|&pad| pad < WINDOW);
    let chosen = match winograd {
        KernelUse::Never => false,
        KernelUse::Faster => {
            candidate.inputs.min(candidate.outputs) >= CHANNELS && by_points(candidate) < direct(candidate)
        }
        KernelUse::Possible => true,
    };
    if !possible || !chosen {
        return None;
    }
    let (winograd, blocking) = cut(candidate);
    Some(Choice {
        arithmetic: candidate.arithmetic,
        group: GROUP,
        unrolled: false,
        blocking,
        packed: false,
        panels: None,
        winograd: Some(winograd),
        reason: format!(
            "3x3 windows of stride 1: a tile of 4x4 pixels takes {:.2} products a pixel at its 36 points, and {:.2} with nonzeros",
            POINTS as f64 / (TILE * TILE) as f64,
            candidate.sparsity.density() * (WINDOW * WINDOW) as f64
        ),
    })
}

/// Cycles of the layer by points: a matrix product over whole vectors of tiles, and the transforms.
fn by_points(candidate: &Candidate) -> f64 {
    let tiles: usize = candidate.size.iter().map(|n| n.div_ceil(TILE)).product();
    unit_cost(candidate, tiles, candidate.outputs)
}

/// As [`by_points`], of kernels that multiply rows by weights.
fn direct(candidate: &Candidate) -> f64 {
    let products = (candidate.rows * candidate.outputs * candidate.pixels) as f64;
    (products * candidate.sparsity.density() / RATES[1]).min(products / RATES[2])
}

/// Cycles of a unit of so many tiles and outputs.
fn unit_cost(candidate: &Candidate, tiles: usize, outputs: usize) -> f64 {
    let products = (POINTS * candidate.inputs * outputs) as f64;
    let transforms = (tiles * TILE * TILE * (candidate.inputs + outputs)) as f64;
    products * (tiles.next_multiple_of(LANES) as f64 + WEIGHTS) / RATES[0] + transforms * TRANSFORM
}

fn cut(candidate: &Candidate) -> (Winograd, Blocking) {
    let [down, across] = candidate.size.map(|n| n.div_ceil(TILE));
    let cost = |&(tile_rows, blocks): &(usize, usize)| {
        let outputs = candidate.outputs.div_ceil(blocks);
        let unit = |first: usize| unit_cost(candidate, (down - first).min(tile_rows) * across, outputs) as usize;
        let units = (0..down).step_by(tile_rows).flat_map(|first| (0..blocks).map(move |_| unit(first)));
        shared_evenly(&units.collect::<Vec<usize>>())
    };
    let rows = 1..=down.min((TILES / across).max(1));
    let cuts = rows.flat_map(|tile_rows| [1, 2, 4].map(|blocks| (tile_rows, blocks)));
    let (tile_rows, blocks) = cuts.min_by_key(cost).expect("a layer has a row of tiles");
    let outputs = candidate.outputs.div_ceil(blocks).next_multiple_of(MAX_GROUP);
    let tile = candidate.arithmetic.tile();
    let chunk_tiles = (tile_rows * TILE * candidate.input_row).div_ceil(tile).next_multiple_of(4);
    let winograd = Winograd { tile_rows, pad: candidate.pad };
    (winograd, Blocking { chunk_tiles, pass_tiles: 2, outputs, prefetch: false })
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{Pattern, Sparsity};
    use super::*;

    fn candidate(inputs: usize, outputs: usize, size: [usize; 2], nonzeros: f64) -> Candidate {
        let weights = inputs * outputs * 9;
        let nnz = (weights as f64 * nonzeros) as usize;
        Candidate {
            arithmetic: Arithmetic::F32,
            sparsity: Sparsity { weights, nnz, blocks: weights / 4, pattern: Pattern::Unstructured },
            inputs,
            outputs,
            pixels: size[0] * size[1],
            size,
            input_row: size[1] + 1,
            window: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [1, 1],
            lines: inputs * 3,
            rows: inputs * 9,
            channel_groups: 1,
        }
    }

    #[test]
    fn dense_windows_are_computed_by_points_and_sparse_ones_are_not() {
        let chosen = |c: &Candidate| choose(c, KernelUse::Faster).is_some();
        for (channels, size) in [(32, 160), (64, 80), (128, 40), (256, 20)] {
            assert!(chosen(&candidate(channels, channels, [size, size], 1.0)), "{channels} dense");
            assert!(!chosen(&candidate(channels, channels, [size, size], 0.1)), "{channels} sparse");
        }
        let dense = candidate(128, 128, [40, 40], 1.0);
        assert!(!chosen(&Candidate { stride: [2, 2], ..dense }));
        assert!(!chosen(&Candidate { dilation: [2, 2], ..dense }));
        assert!(!chosen(&Candidate { window: [5, 5], ..dense }));
        assert!(!chosen(&Candidate { channel_groups: 2, ..dense }));
        assert!(!chosen(&Candidate { arithmetic: Arithmetic::U8S8, ..dense }));
        assert!(!chosen(&candidate(4096, 128, [40, 40], 1.0)), "too many channels for the error bound");
    }

    #[test]
    fn units_hold_their_rows_and_two_threads_share_them() {
        for (channels, size) in [(32, [160, 160]), (64, [80, 80]), (128, [40, 40]), (256, [20, 20]), (24, [7, 1000])] {
            let candidate = candidate(channels, channels, size, 1.0);
            let (winograd, blocking) = cut(&candidate);
            assert!(blocking.is_sane());
            let held = blocking.chunk_tiles * Arithmetic::F32.tile();
            assert!(winograd.tile_rows * TILE * candidate.input_row <= held, "{channels}");
            let chunks = size[0].div_ceil(TILE).div_ceil(winograd.tile_rows);
            assert!(chunks * channels.div_ceil(blocking.outputs) >= 2, "{channels}");
        }
    }
}
