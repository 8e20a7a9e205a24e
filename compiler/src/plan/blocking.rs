//! How a convolution is cut for the caches.
//!
//! The numbers were measured on networks of the YOLOv5 family; `cargo bench -p peristyle-benches --bench network`
//! shows what a change of one of them does.

use super::kernel::Candidate;
use peristyle_runtime::engine::share;
use peristyle_runtime::kernels::conv::family::widest;
use peristyle_runtime::kernels::conv::{Arithmetic, Blocking};

/// Most pixels of a unit of work.
const CHUNK_PIXELS: usize = 1920;
/// Pixels of a map from which on units of integers have twice as many.
const LARGE_MAP: usize = 25_600;
/// Tiles of a chunk are a multiple of this.
const CHUNK_STEP: usize = 4;
/// Bytes of input that a pass may read and find in the first-level cache again.
const PASS_BYTES: usize = 40 << 10;
/// Bytes of the input of the shortest pass beyond which the first-level cache keeps nothing of it.
const SHORT_PASS_BYTES: usize = 96 << 10;
/// Most bytes of a row of a pass: the last pass may read that much past the last pixel.
const PASS_TAIL: usize = 2048;
/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages, of a window of one pixel, beyond which reading them in turn misses the first-level address cache.
const SPREAD_PAGES: usize = 96;
/// Input beyond which a map does not wait in the second-level cache.
const LARGE_BYTES: usize = 1 << 20;
/// Most groups of a unit: their accumulators take a quarter of a second-level cache.
const BLOCK_GROUPS: usize = 8;
/// What a unit costs beside its tiles, in tiles.
const UNIT_TILES: usize = 1;
/// Units that a layer should have at least, so that threads share it evenly.
const UNITS: usize = 8;

/// Whether the rows of a pass are copied side by side.
///
/// That takes less of the first-level cache when a stride parts the columns of a window, which then shares no cache
/// lines with its neighbours; and fewer pages, when every channel has some of its own, than the processor knows the
/// addresses of. It wants enough nonzeros to pay for the copy.
pub fn packs(candidate: &Candidate) -> bool {
    let strided = candidate.rows > candidate.inputs && candidate.rows < 2 * candidate.lines;
    let pages = candidate.inputs * (candidate.pixels * candidate.element()).min(PAGE) / PAGE;
    let spread = candidate.rows == candidate.inputs && pages >= SPREAD_PAGES;
    (strided || spread) && candidate.sparsity.density() > 0.15
}

/// What units of these costs cost teams of one, two and four threads, which begin with shares of their own and then take
/// those of others: the time until the last one is done, times the threads, in all.
pub fn shared_evenly(units: &[usize]) -> usize {
    let team = |threads: usize| {
        let mut shares: Vec<_> = (0..threads).map(|member| share(units.len(), member, threads)).collect();
        let mut busy = vec![0; threads];
        for _ in units {
            let member = (0..threads).min_by_key(|&member| busy[member]).expect("a team has threads");
            let unit = (member..threads).chain(0..member).find_map(|owner| shares[owner].next());
            busy[member] += units[unit.expect("as many turns as units")];
        }
        threads * busy.into_iter().max().expect("a team has threads")
    };
    [1, 2, 4].into_iter().map(team).sum()
}

/// Cuts a convolution for the caches.
pub fn cut(candidate: &Candidate, group: usize) -> Blocking {
    let tile = candidate.arithmetic.tile();
    let long = candidate.arithmetic == Arithmetic::U8S8 && candidate.pixels >= LARGE_MAP;
    let chunk_tiles = if long { 2 } else { 1 } * CHUNK_PIXELS / tile / CHUNK_STEP * CHUNK_STEP;
    let least = widest(candidate.arithmetic);
    let bytes = |tiles: usize| {
        let line = tiles * tile * candidate.element();
        if packs(candidate) { candidate.rows * line } else { candidate.lines * (line + 64) }
    };
    // A window over a map that is read in place slides: of every channel it reads each row again as the one above, long
    // before the cache has forgotten it, and long passes keep the code and the tables of a group in cache too.
    let slides = candidate.rows > candidate.inputs && !packs(candidate);
    let longest = (least..=chunk_tiles)
        .step_by(least)
        .take_while(|&tiles| bytes(tiles) <= PASS_BYTES && tiles * tile * candidate.element() <= PASS_TAIL);
    // Beyond the cache a long pass reads the tables less often.
    let short = if packs(candidate) || bytes(least) <= SHORT_PASS_BYTES { least } else { chunk_tiles };
    let integer = candidate.arithmetic == Arithmetic::U8S8;
    let pass_tiles = if slides && integer { chunk_tiles } else { longest.last().unwrap_or(short) };
    let all = candidate.outputs.div_ceil(group);
    let input = candidate.inputs * candidate.pixels * candidate.element();
    let prefetch = (candidate.rows == candidate.inputs || packs(candidate)) && input > LARGE_BYTES;
    // Packed rows serve many groups, and then a smaller chunk keeps their accumulators in cache.
    let (mut groups, chunk_tiles) = if packs(candidate) {
        let groups = all.min(4 * BLOCK_GROUPS);
        (groups, (CHUNK_PIXELS * BLOCK_GROUPS / groups).div_ceil(tile).min(chunk_tiles))
    } else {
        (all.min(BLOCK_GROUPS), chunk_tiles)
    };
    let chunks = candidate.pixels.div_ceil(chunk_tiles * tile);
    while groups > 1 && chunks * all.div_ceil(groups) < UNITS {
        groups = groups.div_ceil(2);
    }
    let chunk_tiles = chunk(candidate.pixels.div_ceil(tile), all.div_ceil(groups), chunk_tiles);
    let passes = chunk_tiles.div_ceil(pass_tiles);
    let pass_tiles = chunk_tiles.div_ceil(passes).next_multiple_of(least);
    Blocking { chunk_tiles, pass_tiles, outputs: groups * group, prefetch }
}

/// Tiles of a chunk, `most` or somewhat fewer, that threads share evenly.
fn chunk(tiles: usize, blocks: usize, most: usize) -> usize {
    let cost = |&chunk: &usize| {
        let unit = |first: usize| (tiles - first).min(chunk) + UNIT_TILES;
        let units = (0..tiles).step_by(chunk).flat_map(|first| (0..blocks).map(move |_| unit(first)));
        shared_evenly(&units.collect::<Vec<usize>>())
    };
    let most = most.next_multiple_of(CHUNK_STEP);
    let fewest = (most / 2).next_multiple_of(CHUNK_STEP);
    // Of equal costs the first one is taken: the longest chunk.
    (fewest..=most).rev().step_by(CHUNK_STEP).min_by_key(cost).expect("there is a longest chunk")
}
