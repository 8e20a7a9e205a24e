//! What a convolution's zeros look like, and which kernel computes it.

use super::{Options, blocking, panels, winograd};
use crate::ir::{Conv, Data, Tensor};
use peristyle_runtime::kernels::conv::family::{self, Kernel, find};
use peristyle_runtime::kernels::conv::u8s8_panels::QUAD;
use peristyle_runtime::kernels::conv::{Arithmetic, Blocking, MAX_GROUP, Panels, Winograd, f32_spconv, u8s8_spconv};
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
    /// Blocks of four input channels of an output and tap, or of four elements where channels do not come in fours, that
    /// are not all zero.
    pub blocks: usize,
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
        let blocks = blocks(tensor, &nonzero);
        // Above 94 % zeros most random blocks of four are empty too, and say nothing of a pattern.
        let telling = tensor.shape.get(1).is_some_and(|inputs| inputs % QUAD == 0) && nnz * 16 >= nonzero.len();
        let zeros_in_blocks = if telling { nonzero.len() - blocks * QUAD } else { 0 };
        let pattern = if zeros * 20 < nonzero.len() {
            Pattern::Dense
        } else if zeros_in_blocks * 10 >= zeros * 8 {
            Pattern::Block4
        } else {
            Pattern::Unstructured
        };
        Sparsity { weights: nonzero.len(), nnz, blocks, pattern }
    }

    /// Share of elements that are not zero.
    pub fn density(&self) -> f64 {
        self.nnz as f64 / self.weights.max(1) as f64
    }
}

/// Blocks of four that are not all zero: consecutive input channels of an output and tap, or else elements of an output.
fn blocks(tensor: &Tensor, nonzero: &[bool]) -> usize {
    let [out, inputs, kh, kw] = tensor.shape[..] else { return nonzero.len().div_ceil(QUAD) };
    let taps = kh * kw;
    let used = |at: &dyn Fn(usize) -> usize| (0..QUAD).any(|i| nonzero[at(i)]);
    if inputs % QUAD == 0 {
        let block = |o: usize, b: usize, tap: usize| used(&|i| (o * inputs + b * QUAD + i) * taps + tap);
        let of_output =
            |o: usize| (0..inputs / QUAD).map(|b| (0..taps).filter(|&tap| block(o, b, tap)).count()).sum::<usize>();
        (0..out).map(of_output).sum()
    } else {
        let rows = nonzero.chunks((inputs * taps).max(1));
        rows.map(|row| row.chunks(QUAD).filter(|block| block.iter().any(|&n| n)).count()).sum()
    }
}

/// Which layers take a kernel that not all can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelUse {
    /// None.
    Never,
    /// Those that it makes faster.
    Faster,
    /// All that can.
    Possible,
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
    /// How packed rows are taken in blocks, when they are.
    pub panels: Option<Panels>,
    /// How the layer is computed by points, when it is.
    pub winograd: Option<Winograd>,
    /// Why, where tables are not the only form there is.
    pub reason: String,
}

impl Choice {
    /// The kernel that machines with `isa` run.
    pub fn kernel(&self, isa: Isa) -> &'static Kernel {
        find(isa, self.arithmetic, self.unrolled, self.panels, self.winograd)
    }

    /// Why they run it.
    pub fn reason(&self, isa: Isa) -> &str {
        let special = self.panels.is_some() || self.winograd.is_some();
        family::reason(isa, self.arithmetic, special, &self.reason)
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
    /// Rows and columns of them.
    pub size: [usize; 2],
    /// Elements between rows of the input.
    pub input_row: usize,
    /// Rows and columns of a window, of its steps, and between its pixels.
    pub window: [usize; 2],
    /// As `window`.
    pub stride: [usize; 2],
    /// As `window`.
    pub dilation: [usize; 2],
    /// Rows and columns by which the first window starts before the first pixel.
    pub pad: [usize; 2],
    /// Rows of pixels that one output pixel's window reaches: input channels, kernel rows, and phases of its columns.
    pub lines: usize,
    /// Input rows of an output: input channels times window.
    pub rows: usize,
    /// Groups of channels that are convolved apart.
    pub channel_groups: usize,
}

impl Candidate {
    /// Describes a convolution.
    pub fn new(conv: &Conv, weights: &Tensor, size: [usize; 2], input_row: usize) -> Candidate {
        let arithmetic = if conv.quant.is_some() { Arithmetic::U8S8 } else { Arithmetic::F32 };
        let [outputs, inputs, kh, kw] = weights.shape[..] else { unreachable!("weights have four axes (invariant 4)") };
        let lines = inputs * kh * kw.min(conv.geometry.stride[1]);
        Candidate {
            arithmetic,
            sparsity: Sparsity::of(weights),
            inputs,
            outputs,
            pixels: size[0] * size[1],
            size,
            input_row,
            window: [kh, kw],
            stride: conv.geometry.stride,
            dilation: conv.geometry.dilation,
            pad: [conv.geometry.pad[0], conv.geometry.pad[1]],
            lines,
            rows: inputs * kh * kw,
            channel_groups: conv.geometry.group,
        }
    }

    /// Bytes of an input element.
    pub(super) fn element(&self) -> usize {
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

/// Most bytes of one group's code in a layer whose passes are too short to pay for reading it.
const SHORT_PASS_CODE: usize = 8 << 10;
/// Most bytes of one group's code that a processor keeps decoded; beyond, reading instructions binds, and tables win.
const GROUP_CODE: usize = 16 << 10;

/// Whether straight-line code is faster than tables when it costs nothing. Short passes over packed rows leave large code
/// no time to stay in cache.
fn pays_unrolled(candidate: &Candidate) -> bool {
    let group = candidate.code_bytes() / candidate.outputs.div_ceil(MAX_GROUP);
    let integer = candidate.arithmetic == Arithmetic::U8S8;
    let most = if blocking::packs(candidate) { SHORT_PASS_CODE } else { GROUP_CODE };
    candidate.sparsity.pattern != Pattern::Dense && !(integer && group > most)
}

/// Chooses a kernel for every convolution: points or panels where they pay, else unrolled code where a byte of it serves most
/// pixels, up to the code budget in all, else tables.
pub fn choose(candidates: &[Candidate], options: &Options) -> Vec<Choice> {
    let special = |c| winograd::choose(c, options.winograd).or_else(|| panels::choose(c, options.panels));
    let special: Vec<Option<Choice>> = candidates.iter().map(special).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(candidates[i].pixels), i));
    let mut budget = options.code_budget;
    let mut unrolled = vec![false; candidates.len()];
    for i in order {
        let candidate = &candidates[i];
        if pays_unrolled(candidate) && special[i].is_none() && candidate.code_bytes() <= budget {
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
            (_, false) if !pays_unrolled(candidate) => {
                "sparse, but the straight-line code of a group would not stay in cache for long enough to pay"
            }
            (_, false) => "sparse, but its straight-line code does not fit the code budget",
        };
        Choice {
            arithmetic: candidate.arithmetic,
            group,
            unrolled,
            blocking: blocking::cut(candidate, group),
            packed: blocking::packs(candidate),
            panels: None,
            winograd: None,
            reason: reason.to_string(),
        }
    };
    let tables: Vec<Choice> = candidates.iter().zip(&unrolled).map(choice).collect();
    special.into_iter().zip(tables).map(|(special, table)| special.unwrap_or(table)).collect()
}
