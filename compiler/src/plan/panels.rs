//! Which convolutions are computed from panels, and how they are cut.

use super::blocking::shared_evenly;
use super::kernel::{Candidate, Choice, KernelUse};
use peristyle_runtime::kernels::conv::f32_panels::{PASS, PASS_TILES};
use peristyle_runtime::kernels::conv::u8s8_panels::{self, QUAD};
use peristyle_runtime::kernels::conv::{Arithmetic, Blocking, MAX_GROUP, PanelTile, Panels};

/// Quads of a panel: it and what streams past it share the first-level cache, and whole ones are whole long blocks.
const QUADS: usize = 96;
/// What 64 pixels cost, in cycles: a quad of an output, packing a quad, and an output of a panel; a nonzero in pairs.
const QUAD_CYCLES: f64 = 6.7;
const PACK_CYCLES: f64 = 16.0;
const OUTPUT_CYCLES: f64 = 12.0;
const PAIRED_CYCLES: f64 = 2.5;
/// Rows of a panel: it and what streams past it share the first-level cache.
const ROWS: usize = 128;
/// Density from which multiplying by zeros costs less than skipping them.
const DENSE: f64 = 0.85;
/// Products that a packed row should serve for every pixel, or copying it costs more than it saves.
const REUSE: f64 = 12.0;
/// As `REUSE`, for dense layers, whose tables are short.
const DENSE_REUSE: f64 = 24.0;
/// Pixels that a layer should have, or most of a pass is empty.
const PIXELS: usize = PASS / 2;
/// Most outputs of a unit: a block of their weights stays in the second-level cache from one pass to the next.
const OUTPUTS: usize = 128;
/// As `OUTPUTS`, for sparse layers of numbers, where copying a row costs most beside the products with it.
const SPARSE_OUTPUTS: usize = 256;
/// Accumulators of a unit. They wait in the third-level cache and stream; what they cost there is less than what longer
/// units save, which read a block of tables from far less often and repeat its loops until their ends are foreseen.
const ACCUMULATORS: usize = 1920 * OUTPUTS;
/// Most and fewest pixels of a unit.
const PIXELS_OF_UNIT: [usize; 2] = [6400, 192];
/// Tiles that a unit costs beside its own.
const UNIT: usize = 8;
/// Bytes of input from which a pass asks for that of the next.
const LARGE_BYTES: usize = 512 << 10;

/// The choice for a layer, if it is one for panels.
pub(super) fn choose(candidate: &Candidate, panels: KernelUse) -> Option<Choice> {
    let possible = candidate.channel_groups == 1 && candidate.sparsity.nnz > 0;
    if !possible || panels == KernelUse::Never {
        return None;
    }
    match candidate.arithmetic {
        Arithmetic::F32 => floats(candidate, panels == KernelUse::Possible),
        Arithmetic::U8S8 => bytes(candidate, panels == KernelUse::Possible),
    }
}

fn bytes(candidate: &Candidate, always: bool) -> Option<Choice> {
    let (rows, sparsity) = (candidate.rows as f64, candidate.sparsity);
    let quads = sparsity.blocks as f64 * QUAD_CYCLES;
    let packing = rows / QUAD as f64 * PACK_CYCLES * candidate.outputs.div_ceil(OUTPUTS) as f64;
    let panels = candidate.rows.div_ceil(QUADS * QUAD) * candidate.outputs;
    let pairs = sparsity.nnz as f64 * PAIRED_CYCLES;
    let faster = quads + packing + panels as f64 * OUTPUT_CYCLES < pairs && candidate.pixels >= u8s8_panels::PASS;
    if !always && !faster {
        return None;
    }
    let full = sparsity.nnz as f64 / (sparsity.blocks * QUAD) as f64;
    let reason = if sparsity.density() >= DENSE {
        "dense: panels of packed quads stay in the first-level cache for all outputs".to_string()
    } else {
        format!(
            "sparse, but {:.0} % of the weights are not zero in those blocks of four that are multiplied: panels of packed \
             quads stay in the first-level cache for all outputs",
            full * 100.0
        )
    };
    Some(Choice {
        arithmetic: candidate.arithmetic,
        group: u8s8_panels::GROUP,
        unrolled: false,
        blocking: Blocking {
            pass_tiles: u8s8_panels::PASS_TILES,
            prefetch: false,
            ..cut(candidate, PanelTile::Quads1x64)
        },
        packed: true,
        panels: Some(Panels { rows: QUADS * QUAD, tile: PanelTile::Quads1x64 }),
        winograd: None,
        reason,
    })
}

fn floats(candidate: &Candidate, always: bool) -> Option<Choice> {
    let density = candidate.sparsity.density();
    let reuse = density * candidate.outputs as f64;
    let faster = reuse >= if density >= DENSE { DENSE_REUSE } else { REUSE } && candidate.pixels >= PIXELS;
    if !always && !faster {
        return None;
    }
    let stay = "panels of packed rows stay in the first-level cache";
    let (tile, reason) = if density >= DENSE {
        (PanelTile::Dense4x24, format!("dense: {stay} for all outputs"))
    } else {
        let served = format!("sparse: {stay}, and each row serves {reuse:.0} products a pixel");
        (PanelTile::Sparse2x48, served)
    };
    let panels = Panels { rows: ROWS, tile };
    Some(Choice {
        arithmetic: candidate.arithmetic,
        group: tile.group(),
        unrolled: false,
        blocking: cut(candidate, tile),
        packed: true,
        panels: Some(panels),
        winograd: None,
        reason,
    })
}

fn cut(candidate: &Candidate, tile: PanelTile) -> Blocking {
    let group = tile.group();
    let width = candidate.arithmetic.tile();
    let all = candidate.outputs.div_ceil(group);
    let most = if tile == PanelTile::Sparse2x48 { SPARSE_OUTPUTS } else { OUTPUTS };
    let blocks = candidate.outputs.div_ceil(most);
    let groups = all.div_ceil(blocks);
    let [most, fewest] = PIXELS_OF_UNIT.map(|pixels| pixels / width / PASS_TILES * PASS_TILES);
    let most = (ACCUMULATORS / (groups * group) / width / PASS_TILES * PASS_TILES).clamp(fewest, most);
    let tiles = (candidate.size[0] * candidate.input_row).div_ceil(width);
    let unit = |first: usize, chunk: usize| (tiles - first).min(chunk).next_multiple_of(PASS_TILES) + UNIT;
    let cost = |&chunk: &usize| {
        let units = (0..tiles).step_by(chunk).flat_map(|first| (0..blocks).map(move |_| unit(first, chunk)));
        shared_evenly(&units.collect::<Vec<usize>>())
    };
    // Of equal costs the first one is taken: the longest chunk, which reads weights least often.
    let chunks = (fewest..most + 1).step_by(PASS_TILES).rev();
    let chunk_tiles = chunks.min_by_key(cost).expect("there is a shortest chunk");
    let outputs = (groups * group).next_multiple_of(MAX_GROUP);
    let prefetch = candidate.inputs * candidate.pixels * candidate.element() > LARGE_BYTES;
    Blocking { chunk_tiles, pass_tiles: PASS_TILES, outputs, prefetch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::kernel::{Pattern, Sparsity};

    fn candidate(nnz: usize, blocks: usize, pattern: Pattern) -> Candidate {
        let (inputs, outputs, taps) = (128, 128, 9);
        Candidate {
            arithmetic: Arithmetic::U8S8,
            sparsity: Sparsity { weights: inputs * outputs * taps, nnz, blocks, pattern },
            inputs,
            outputs,
            pixels: 1600,
            size: [40, 40],
            input_row: 41,
            window: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [1, 1],
            lines: inputs * 3,
            rows: inputs * taps,
            channel_groups: 1,
        }
    }

    #[test]
    fn full_blocks_are_computed_from_panels() {
        let weights = 128 * 128 * 9;
        let dense = candidate(weights, weights / QUAD, Pattern::Dense);
        let blocks = candidate(weights / 2, weights / QUAD / 2, Pattern::Block4);
        let scattered = candidate(weights * 35 / 100, weights / QUAD * 82 / 100, Pattern::Unstructured);
        for (candidate, expected) in [(dense, true), (blocks, true), (scattered, false)] {
            assert_eq!(choose(&candidate, KernelUse::Faster).is_some(), expected, "{candidate:?}");
            assert!(choose(&candidate, KernelUse::Possible).is_some());
            assert!(choose(&candidate, KernelUse::Never).is_none());
        }
        assert!(choose(&Candidate { channel_groups: 128, ..dense }, KernelUse::Possible).is_none());
        assert!(choose(&Candidate { pixels: 1, ..dense }, KernelUse::Faster).is_none());
    }

    #[test]
    fn units_fit_the_caches_and_the_kernel() {
        for outputs in [1, 3, 64, 255, 512] {
            let candidate = Candidate { outputs, ..candidate(1000, 250, Pattern::Dense) };
            let blocking = choose(&candidate, KernelUse::Possible).expect("possible").blocking;
            assert!(blocking.is_sane() && blocking.outputs <= u8s8_panels::MAX_UNIT, "{blocking:?}");
            assert!(blocking.chunk_tiles * 32 * blocking.outputs <= ACCUMULATORS.max(192 * OUTPUTS), "{blocking:?}");
        }
    }
}
