//! Which `f32` convolutions are computed from panels, and how they are cut.

use super::blocking::shared_evenly;
use super::kernel::{Candidate, Choice};
use peristyle_runtime::kernels::conv::f32_panels::{PASS, PASS_TILES};
use peristyle_runtime::kernels::conv::{Arithmetic, Blocking, MAX_GROUP, Panels};

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
/// Accumulators of a unit: half of a second-level cache.
const ACCUMULATORS: usize = 480 * OUTPUTS;
/// Most and fewest tiles of a unit.
const TILES: [usize; 2] = [80, 8];
/// Tiles that a unit costs beside its own.
const UNIT: usize = 1;
/// Bytes of input from which a pass asks for that of the next.
const LARGE_BYTES: usize = 512 << 10;

/// Which layers are computed from panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanelUse {
    /// None.
    Never,
    /// Those for which panels are faster than other kernels.
    Faster,
    /// All that can be.
    Possible,
}

/// The choice for a layer, if it is one for panels.
pub(super) fn choose(candidate: &Candidate, panels: PanelUse) -> Option<Choice> {
    let density = candidate.sparsity.density();
    let reuse = density * candidate.outputs as f64;
    let possible =
        candidate.arithmetic == Arithmetic::F32 && candidate.channel_groups == 1 && candidate.sparsity.nnz > 0;
    let chosen = match panels {
        PanelUse::Never => false,
        PanelUse::Faster => reuse >= if density >= DENSE { DENSE_REUSE } else { REUSE } && candidate.pixels >= PIXELS,
        PanelUse::Possible => true,
    };
    if !possible || !chosen {
        return None;
    }
    let panels = Panels { rows: ROWS, dense: density >= DENSE };
    let reason = if panels.dense {
        "dense: panels of packed rows stay in the first-level cache for all outputs".to_string()
    } else {
        format!(
            "sparse: panels of packed rows stay in the first-level cache, and each row serves {reuse:.0} products a pixel"
        )
    };
    Some(Choice {
        arithmetic: candidate.arithmetic,
        group: panels.group(),
        unrolled: false,
        blocking: cut(candidate, panels.group()),
        packed: true,
        panels: Some(panels),
        winograd: None,
        reason,
    })
}

fn cut(candidate: &Candidate, group: usize) -> Blocking {
    let tile = candidate.arithmetic.tile();
    let all = candidate.outputs.div_ceil(group);
    let blocks = candidate.outputs.div_ceil(OUTPUTS);
    let groups = all.div_ceil(blocks);
    let [most, fewest] = TILES;
    let most = (ACCUMULATORS / (groups * group) / tile / PASS_TILES * PASS_TILES).clamp(fewest, most);
    let tiles = (candidate.size[0] * candidate.input_row).div_ceil(tile);
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
