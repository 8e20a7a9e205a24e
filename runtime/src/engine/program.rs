//! A compiled model as data: layers, their order, and the arena they share.

use super::info::LayerInfo;
use super::spec::ModelSpec;
use crate::kernels::conv::family;
use crate::kernels::conv::{Arithmetic, Conv};
use crate::kernels::detect_head::DetectHead;
use crate::kernels::map::Map;
use crate::kernels::pool::{AveragePool, MaxPool, Resize};
use crate::kernels::strided::{Binary, MatMul, Softmax, Unary};
use crate::kernels::transfer::{CopyMap, LoadInput};
use crate::simd::Isa;
use alloc::borrow::Cow;
use core::ops::Range;

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Program {
    /// What the model says about itself.
    pub spec: &'static ModelSpec,
    /// Bytes of the arena, the tail that tiles may read included.
    pub arena_bytes: usize,
    /// Layers, by index.
    pub layers: Cow<'static, [&'static Layer]>,
    /// The order of the work.
    pub schedule: Cow<'static, [Step]>,
    /// What its layers must compute, as [`Golden::encode`](super::golden::Golden::encode) gives it; empty when nobody
    /// asked.
    pub golden: &'static [u8],
}

impl Program {
    /// The best instruction set that every layer has its tables for.
    pub fn widest_isa(&self) -> Isa {
        self.layers.iter().map(|layer| layer.widest_isa()).min().unwrap_or(Isa::Avx512)
    }
}

/// A part of a layer: some of its output rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Index of the layer.
    pub layer: u32,
    /// First output row.
    pub first: u32,
    /// One past the last output row. Layers without rows have exactly the row 0.
    pub end: u32,
    /// What it waits for.
    pub needs: Needs,
}

/// What a step needs of the step before it. The steps before that one are complete when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// All of it.
    All,
    /// Both are convolutions, and the step reads, through windows, what the one before writes: that at the output pixel
    /// `(y, x)` covers the rows from `y * stride - top` to `y * stride + bottom`. When outputs of both are equally wide
    /// and `stride` is 1, it covers the columns from `x - left` to `x + right`; it reaches no farther left of the map than
    /// `left`, and no farther right of it than `right`.
    Window {
        /// Rows from the window of an output pixel to that of the pixel below.
        stride: u32,
        /// Top, left, bottom, right.
        reach: [u32; 4],
    },
    /// Nothing: neither reads nor writes what the other one writes.
    Nothing,
}

impl Step {
    /// A step that needs all of the step before it.
    pub const fn new(layer: u32, first: u32, end: u32) -> Step {
        Step { layer, first, end, needs: Needs::All }
    }

    /// Output rows of the step.
    pub const fn rows(&self) -> Range<usize> {
        self.first as usize..self.end as usize
    }

    /// The step, when it reads the step before it through windows.
    #[must_use]
    pub const fn through(self, stride: u32, reach: [u32; 4]) -> Step {
        Step { needs: Needs::Window { stride, reach }, ..self }
    }

    /// The step, when it needs nothing of the step before it.
    #[must_use]
    pub const fn beside(self) -> Step {
        Step { needs: Needs::Nothing, ..self }
    }
}

/// A layer of a compiled model.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Name of the node in the source model.
    pub name: Cow<'static, str>,
    /// Maps whose padding must be written before the layer's consumers read it.
    pub pads: Cow<'static, [Map]>,
    /// What profiles and reports say about it.
    pub info: LayerInfo,
    /// What is computed.
    pub kind: Kind,
}

impl Layer {
    /// The best instruction set that it has its tables for: integer layers that are compiled for machines without AVX-512
    /// lack those for its dot products.
    pub fn widest_isa(&self) -> Isa {
        match &self.kind {
            Kind::Conv(conv) if conv.arithmetic == Arithmetic::U8S8 && conv.quads.is_none() => Isa::AvxVnni,
            _ => Isa::Avx512,
        }
    }
}

/// What a layer computes. Most layers are convolutions, and all are statics: a box around the largest would save nothing.
#[derive(Clone, Debug)]
#[allow(missing_docs, clippy::large_enum_variant)]
pub enum Kind {
    LoadInput(LoadInput),
    CopyMap(CopyMap),
    Conv(Conv),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    Resize(Resize),
    Unary(Unary),
    Binary(Binary),
    Softmax(Softmax),
    MatMul(MatMul),
    DetectHead(DetectHead),
}

impl Layer {
    /// Name of the kernel that runs this layer on a machine with `isa`.
    pub fn kernel(&self, isa: Isa) -> &str {
        match &self.kind {
            Kind::Conv(conv) => conv.kernel(isa).name,
            _ => &self.info.kernel,
        }
    }

    /// Why this kernel runs on a machine with `isa`; empty where there is no choice.
    pub fn reason(&self, isa: Isa) -> &str {
        let planned = &self.info.reason;
        match &self.kind {
            Kind::Conv(conv) => {
                let special = conv.panels.is_some() || conv.winograd.is_some();
                family::reason(isa, conv.arithmetic, special, planned)
            }
            _ => planned,
        }
    }
}

impl Kind {
    /// Name of the kernel family.
    pub const fn family(&self) -> &'static str {
        match self {
            Kind::LoadInput(_) => "load_input",
            Kind::CopyMap(_) => "copy_map",
            Kind::Conv(_) => "conv",
            Kind::MaxPool(_) => "max_pool",
            Kind::AveragePool(_) => "average_pool",
            Kind::Resize(_) => "resize",
            Kind::Unary(_) => "unary",
            Kind::Binary(_) => "binary",
            Kind::Softmax(_) => "softmax",
            Kind::MatMul(_) => "matmul",
            Kind::DetectHead(_) => "detect_head",
        }
    }

    /// Units of work in the output rows `rows`, which threads share.
    pub fn units(&self, isa: Isa, rows: &Range<usize>) -> usize {
        match self {
            Kind::Conv(conv) => conv.units(isa, rows),
            Kind::LoadInput(load) => load.units(rows),
            Kind::CopyMap(copy) => copy.to.channels,
            Kind::MaxPool(pool) => pool.output.channels,
            Kind::AveragePool(pool) => pool.output.channels,
            Kind::Resize(resize) => resize.output.channels,
            Kind::Unary(unary) => unary.units(),
            Kind::Binary(binary) => binary.units(),
            Kind::Softmax(_) => 1,
            Kind::MatMul(product) => product.units(),
            Kind::DetectHead(head) => head.units(),
        }
    }

    /// Bytes of scratch one thread needs.
    pub fn scratch_bytes(&self) -> usize {
        match self {
            Kind::Conv(conv) => conv.scratch_bytes(),
            Kind::MaxPool(pool) => pool.scratch_bytes(),
            _ => 0,
        }
    }
}
