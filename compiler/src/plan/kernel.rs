//! What a convolution's zeros look like, and which kernel computes it.

use crate::ir::{Conv, Data, Tensor};
use peristyle_runtime::kernels::conv::family::find;
use peristyle_runtime::kernels::conv::{Arithmetic, Blocking, f32_spconv, u8s8_spconv};
use peristyle_runtime::simd::Isa;
use std::fmt;

/// Where the zeros of a weight tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No zeros to speak of (fewer than 5 %).
    Dense,
    /// Blocks of four consecutive input channels are zero together.
    Block4,
    /// Anywhere.
    Unstructured,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pattern::Dense => "dense",
            Pattern::Block4 => "1x4 blocks of input channels",
            Pattern::Unstructured => "unstructured",
        })
    }
}

/// Census of a weight tensor `[out, in / group, kh, kw]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparsity {
    /// Elements.
    pub weights: usize,
    /// Elements that are not zero.
    pub nnz: usize,
    /// Where the zeros are.
    pub pattern: Pattern,
}

impl Sparsity {
    /// Counts the zeros of a constant `f32` or `i8` tensor.
    pub fn of(tensor: &Tensor) -> Sparsity {
        let nonzero: Vec<bool> = match &tensor.data {
            Data::F32(v) => v.iter().map(|&w| w != 0.0).collect(),
            Data::I8(v) => v.iter().map(|&w| w != 0).collect(),
            _ => unreachable!("weights are f32 or i8"),
        };
        let nnz = nonzero.iter().filter(|&&n| n).count();
        let zeros = nonzero.len() - nnz;
        let pattern = if zeros * 20 < nonzero.len() {
            Pattern::Dense
        } else if zeros_in_blocks(tensor, &nonzero) * 10 >= zeros * 8 {
            Pattern::Block4
        } else {
            Pattern::Unstructured
        };
        Sparsity { weights: nonzero.len(), nnz, pattern }
    }

    /// Share of elements that are not zero.
    pub fn density(&self) -> f64 {
        self.nnz as f64 / self.weights.max(1) as f64
    }
}

/// Zeros that lie in blocks of four consecutive input channels with no nonzero. Zero when random zeros would
/// fill blocks by chance.
fn zeros_in_blocks(tensor: &Tensor, nonzero: &[bool]) -> usize {
    let [out, inputs, kh, kw] = tensor.shape[..] else { return 0 };
    let nnz = nonzero.iter().filter(|&&n| n).count();
    // Above 94 % zeros most random blocks of four are empty too, and the pattern says nothing.
    if inputs % 4 != 0 || nnz * 16 < nonzero.len() {
        return 0;
    }
    let taps = kh * kw;
    let mut zeros = 0;
    for o in 0..out {
        for block in 0..inputs / 4 {
            for tap in 0..taps {
                let at = |i: usize| (o * inputs + block * 4 + i) * taps + tap;
                if (0..4).all(|i| !nonzero[at(i)]) {
                    zeros += 4;
                }
            }
        }
    }
    zeros
}

/// The kernel chosen for a convolution, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Arithmetic.
    pub arithmetic: Arithmetic,
    /// Outputs per group.
    pub group: usize,
    /// Whether the nonzeros are unrolled into straight-line code.
    pub unrolled: bool,
    /// How the work is cut for the caches.
    pub blocking: Blocking,
    /// Whether the input rows of a pass are copied side by side first.
    pub packed: bool,
    /// One sentence for the emitted documentation.
    pub reason: String,
}

impl Choice {
    /// Name of the kernel for AVX2; the other instruction sets have tables only.
    pub fn name(&self) -> &'static str {
        find(Isa::Avx2, self.arithmetic, self.unrolled).name
    }

    /// Name of the kernel for AVX-512 with VNNI.
    pub fn wide_name(&self) -> &'static str {
        find(Isa::Avx512, self.arithmetic, self.unrolled).name
    }
}

/// What the choice is made from.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Arithmetic.
    pub arithmetic: Arithmetic,
    /// The zeros.
    pub sparsity: Sparsity,
    /// Input channels of an output.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Output pixels.
    pub pixels: usize,
    /// Rows of pixels that one output pixel's window reaches: input channels, kernel rows, and phases of its columns.
    pub lines: usize,
    /// Input rows of an output: input channels times window.
    pub rows: usize,
}

impl Candidate {
    /// Describes a convolution.
    pub fn new(conv: &Conv, weights: &Tensor, pixels: usize) -> Candidate {
        let arithmetic = if conv.quant.is_some() { Arithmetic::U8S8 } else { Arithmetic::F32 };
        let [outputs, inputs, kh, kw] = weights.shape[..] else { unreachable!("weights have four axes (invariant 4)") };
        let lines = inputs * kh * kw.min(conv.geometry.stride[1]);
        Candidate {
            arithmetic,
            sparsity: Sparsity::of(weights),
            inputs,
            outputs,
            pixels,
            lines,
            rows: inputs * kh * kw,
        }
    }

    /// Whether the rows of a pass are copied side by side.
    ///
    /// That takes less of the first-level cache when a stride parts the columns of a window, which then shares no cache
    /// lines with its neighbours; and fewer pages, when every channel has some of its own, than the processor knows the
    /// addresses of. It wants enough nonzeros to pay for the copy.
    fn packs(&self) -> bool {
        let strided = self.rows > self.inputs && self.rows < 2 * self.lines;
        let pages = self.inputs * (self.pixels * self.element()).min(PAGE) / PAGE;
        let spread = self.rows == self.inputs && pages >= SPREAD_PAGES;
        (strided || spread) && self.sparsity.density() > 0.15
    }

    /// Bytes of an input element.
    fn element(&self) -> usize {
        match self.arithmetic {
            Arithmetic::F32 => 4,
            Arithmetic::U8S8 => 1,
        }
    }

    /// Bytes of straight-line code that unrolling costs.
    pub fn code_bytes(&self) -> usize {
        self.sparsity.nnz
            * match self.arithmetic {
                Arithmetic::F32 => 37,
                Arithmetic::U8S8 => 23,
            }
    }
}

/// Pixels of a unit of work; not a power of two, or the accumulators of all outputs would share cache sets.
const CHUNK_PIXELS: usize = 1920;
/// Bytes of input that a pass may read and find in the first-level cache again.
const PASS_BYTES: usize = 32 << 10;
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
/// Units that a layer should have at least, so that threads share it evenly.
const UNITS: usize = 8;

/// Cuts a convolution for the caches.
fn blocking(candidate: &Candidate, group: usize) -> Blocking {
    let tile = candidate.arithmetic.tile();
    let chunk_tiles = CHUNK_PIXELS / tile / 4 * 4;
    // Wide kernels compute two or four tiles at once.
    let least = match candidate.arithmetic {
        Arithmetic::F32 => 4,
        Arithmetic::U8S8 => 2,
    };
    let bytes = |tiles: usize| {
        let line = tiles * tile * candidate.element();
        if candidate.packs() { candidate.rows * line } else { candidate.lines * (line + 64) }
    };
    let longest = (least..=chunk_tiles)
        .step_by(least)
        .take_while(|&tiles| bytes(tiles) <= PASS_BYTES && tiles * tile * candidate.element() <= PASS_TAIL);
    // Beyond the cache a long pass reads the tables less often.
    let short = if candidate.packs() || bytes(least) <= SHORT_PASS_BYTES { least } else { chunk_tiles };
    let pass_tiles = longest.last().unwrap_or(short);
    let all = candidate.outputs.div_ceil(group);
    let input = candidate.inputs * candidate.pixels * candidate.element();
    let prefetch = (candidate.rows == candidate.inputs || candidate.packs()) && input > LARGE_BYTES;
    // Packed rows serve many groups, and then a smaller chunk keeps their accumulators in cache.
    let (mut groups, chunk_tiles) = if candidate.packs() {
        let groups = all.min(4 * BLOCK_GROUPS);
        (groups, (CHUNK_PIXELS * BLOCK_GROUPS / groups / tile / 4 * 4).min(chunk_tiles))
    } else {
        (all.min(BLOCK_GROUPS), chunk_tiles)
    };
    let chunks = candidate.pixels.div_ceil(chunk_tiles * tile);
    while groups > 1 && chunks * all.div_ceil(groups) < UNITS {
        groups = groups.div_ceil(2);
    }
    let pass_tiles = pass_tiles.min(chunk_tiles);
    Blocking { chunk_tiles, pass_tiles, groups, prefetch }
}

/// Chooses a kernel for every convolution. Unrolled code goes where a byte of it serves most pixels, up to
/// `code_budget` bytes in all.
pub fn choose(candidates: &[Candidate], code_budget: usize) -> Vec<Choice> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(candidates[i].pixels), i));
    let mut budget = code_budget;
    let mut unrolled = vec![false; candidates.len()];
    for i in order {
        let candidate = &candidates[i];
        if candidate.sparsity.pattern != Pattern::Dense && candidate.code_bytes() <= budget {
            budget -= candidate.code_bytes();
            unrolled[i] = true;
        }
    }
    let choice = |(candidate, &unrolled): (&Candidate, &bool)| {
        let group = match candidate.arithmetic {
            Arithmetic::F32 => f32_spconv::GROUP,
            Arithmetic::U8S8 => u8s8_spconv::GROUP,
        };
        let reason = match (candidate.sparsity.pattern, unrolled) {
            (Pattern::Dense, _) => {
                "dense: every group has one mask, and a loop over it is as fast as straight-line code"
            }
            (_, true) => "sparse, and its straight-line code fits the code budget",
            (_, false) => "sparse, but its straight-line code does not fit the code budget",
        };
        Choice {
            arithmetic: candidate.arithmetic,
            group,
            unrolled,
            // A multiple of four: wide kernels compute two or four tiles at once.
            blocking: blocking(candidate, group),
            packed: candidate.packs(),
            reason: reason.to_string(),
        }
    };
    candidates.iter().zip(&unrolled).map(choice).collect()
}
