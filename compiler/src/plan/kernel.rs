//! What a convolution's zeros look like, and which kernel computes it.

use crate::ir::{Conv, Data, Tensor};
use peristyle_runtime::kernels::conv::{Arithmetic, f32_spconv, u8s8_spconv};
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
    /// Input-row tiles whose accumulators stay in scratch until the epilogue.
    pub chunk_tiles: usize,
    /// One sentence for the emitted documentation.
    pub reason: String,
}

impl Choice {
    /// Name of the kernel: element types, family, tile.
    pub fn name(&self) -> String {
        let family = match self.arithmetic {
            Arithmetic::F32 => "f32_spconv",
            Arithmetic::U8S8 => "u8s8_spconv",
        };
        let form = if self.unrolled { "unrolled" } else { "table" };
        format!("{family}_{}x{}_{form}", self.group, self.arithmetic.tile())
    }
}

/// What the choice is made from.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Arithmetic.
    pub arithmetic: Arithmetic,
    /// The zeros.
    pub sparsity: Sparsity,
    /// Output pixels.
    pub pixels: usize,
}

impl Candidate {
    /// Describes a convolution.
    pub fn new(conv: &Conv, weights: &Tensor, pixels: usize) -> Candidate {
        let arithmetic = if conv.quant.is_some() { Arithmetic::U8S8 } else { Arithmetic::F32 };
        Candidate { arithmetic, sparsity: Sparsity::of(weights), pixels }
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

/// Accumulator rows of a unit of work stay within this many bytes, half of the smallest L1 data cache in use.
const SCRATCH_BYTES: usize = 16 << 10;

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
        let tile = candidate.arithmetic.tile();
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
            chunk_tiles: SCRATCH_BYTES / (group * tile * 4) / 4 * 4,
            reason: reason.to_string(),
        }
    };
    candidates.iter().zip(&unrolled).map(choice).collect()
}
