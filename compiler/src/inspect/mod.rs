//! What is known of a compiled model before it is built: every layer's zeros, kernel and predicted time, and totals.
//!
//! An [`Inspection`] is data; [`table`], [`json`] and [`page`] show it. [`impose`] answers what other weights would buy.

mod against;
pub mod json;
pub mod page;
mod page_chart;
mod pairing;
pub mod table;
mod what_if;

pub use against::{Against, against};
pub use pairing::{Pair, pairs};
pub use what_if::{WhatIf, impose};

use crate::ir::Graph;
use crate::plan::cost::{self, Cpu, Prediction, build, size};
use crate::plan::kernel::Pattern;
use crate::plan::{ChannelZeros, Note, Plan};
use peristyle_runtime::engine::{Kind, Layer};
use std::collections::BTreeMap;

/// What a model says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// File name, or what the inspected variation is.
    pub name: String,
    /// Bytes of its file and of those beside it that hold data of it.
    pub bytes: u64,
    /// SHA-256 of the same, hexadecimal.
    pub sha256: String,
}

/// Bytes of the constants of a graph.
pub fn constant_bytes(graph: &Graph) -> u64 {
    let constants = graph.values.iter().filter_map(|value| value.constant.as_ref());
    constants.map(|tensor| (tensor.ty().len() * tensor.ty().dtype.size()) as u64).sum()
}

/// Numbers of a convolution's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantisation {
    /// `f32`.
    Float,
    /// `i8` with one scale.
    PerTensor,
    /// `i8` with a scale for every output.
    PerChannel,
}

impl Quantisation {
    /// As reports spell it.
    pub fn name(self) -> &'static str {
        match self {
            Quantisation::Float => "f32",
            Quantisation::PerTensor => "int8 per tensor",
            Quantisation::PerChannel => "int8 per channel",
        }
    }
}

/// The weights of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// All of them.
    pub count: u64,
    /// Those that are not zero.
    pub nonzeros: u64,
    /// Where the zeros are: `dense`, `1x4`, `channel`, `none`.
    pub pattern: &'static str,
    /// Their numbers.
    pub quantisation: Quantisation,
    /// Outputs, inputs of an output, height and width.
    pub shape: [usize; 4],
}

impl Weights {
    /// Share of zeros.
    pub fn sparsity(&self) -> f64 {
        1.0 - self.nonzeros as f64 / self.count.max(1) as f64
    }
}

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRow {
    /// The start of its module's name in the emitted crate.
    pub module: String,
    /// Name in the model.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Shape of its first output.
    pub output: Vec<usize>,
    /// Height, width and steps of its window.
    pub window: Option<[usize; 4]>,
    /// Of a convolution.
    pub weights: Option<Weights>,
    /// The kernel that computes it.
    pub kernel: String,
    /// Why this kernel; empty where there is no choice.
    pub reason: String,
    /// Multiply-accumulates of the dense layer, and those of nonzeros.
    pub macs: (u64, u64),
    /// Predicted time of an image.
    pub milliseconds: f64,
    /// Bytes of straight-line code and of tables.
    pub size: size::LayerSize,
}

impl LayerRow {
    /// Its name without what says nothing: `model.6.m.0.cv2` of `/model.6/m/m.0/cv2/conv/Conv_quant`.
    pub fn short_name(&self) -> String {
        let mut words: Vec<&str> = self.name.split('/').filter(|word| !word.is_empty()).collect();
        while words.len() > 1 && words.last().is_some_and(|word| word.starts_with("Conv") || *word == "conv") {
            words.pop();
        }
        let repeats = |word: &str, next: Option<&&str>| {
            next.is_some_and(|next| next.strip_prefix(word).is_some_and(|rest| rest.starts_with('.')))
        };
        let kept = words.iter().enumerate().filter(|(at, word)| !repeats(word, words.get(at + 1)));
        kept.map(|(_, word)| *word).collect::<Vec<_>>().join(".")
    }
}

/// Sums over all layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Layers.
    pub layers: usize,
    /// Weights and biases of convolutions.
    pub parameters: u64,
    /// Weights, and those that are not zero.
    pub weights: (u64, u64),
    /// Weights that are integers.
    pub quantised: u64,
    /// Multiply-accumulates of the dense network, and those of nonzeros.
    pub macs: (u64, u64),
    /// Bytes of the working memory of one image.
    pub arena_bytes: usize,
    /// Bytes of straight-line code and of tables.
    pub size: size::LayerSize,
    /// Predicted bytes of the binary.
    pub binary_bytes: usize,
    /// Predicted seconds to compile and build it.
    pub build: build::BuildTime,
    /// Predicted time of an image.
    pub milliseconds: f64,
}

impl Totals {
    /// Share of zeros among the weights.
    pub fn sparsity(&self) -> f64 {
        1.0 - self.weights.1 as f64 / self.weights.0.max(1) as f64
    }

    /// Predicted images per second.
    pub fn images_per_second(&self) -> f64 {
        1e3 / self.milliseconds.max(1e-9)
    }
}

/// All that is known of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The model.
    pub model: Model,
    /// What times are predicted for.
    pub cpu: Cpu,
    /// Threads that compute an image together.
    pub threads: usize,
    /// In the order of the work.
    pub layers: Vec<LayerRow>,
    /// Sums.
    pub totals: Totals,
}

impl Inspection {
    /// Inspects a plan. `channels` tells of the channels that were removed before it was made.
    pub fn new(
        model: Model,
        plan: &Plan,
        channels: &BTreeMap<String, ChannelZeros>,
        cpu: &Cpu,
        threads: usize,
    ) -> Inspection {
        let prediction = Prediction::new(plan, cpu, threads);
        let sizes = size::of(plan);
        let isa = cost::isa(plan, cpu);
        let row = |index: usize| {
            let (layer, note) = (&plan.layers[index], &plan.notes[index]);
            LayerRow {
                module: format!("l{index:03}"),
                name: layer.name.to_string(),
                op: layer.info.op.to_string(),
                output: layer.info.outputs.first().map_or(Vec::new(), |shape| shape.to_vec()),
                window: layer.info.window.map(|w| [w.size[0], w.size[1], w.stride[0], w.stride[1]]),
                weights: weights(layer, note, channels),
                kernel: cost::kernel(plan, index, isa)
                    .map_or_else(|| layer.info.kernel.to_string(), |kernel| kernel.name.to_string()),
                reason: note.conv.as_ref().map_or_else(String::new, |conv| conv.choice.reason(isa).to_string()),
                macs: layer.info.macs,
                milliseconds: prediction.layers[index].seconds * 1e3,
                size: sizes[index],
            }
        };
        let layers: Vec<LayerRow> = (0..plan.layers.len()).map(row).collect();
        let totals = totals(plan, &layers, prediction.seconds());
        Inspection { model, cpu: *cpu, threads, layers, totals }
    }

    /// Layers and predicted milliseconds of every kernel, the longest first.
    pub fn by_kernel(&self) -> Vec<(&str, usize, f64)> {
        let mut kernels: Vec<(&str, usize, f64)> = Vec::new();
        for layer in &self.layers {
            match kernels.iter_mut().find(|kernel| kernel.0 == layer.kernel) {
                Some(kernel) => (kernel.1, kernel.2) = (kernel.1 + 1, kernel.2 + layer.milliseconds),
                None => kernels.push((&layer.kernel, 1, layer.milliseconds)),
            }
        }
        kernels.sort_by(|a, b| b.2.total_cmp(&a.2));
        kernels
    }
}

fn weights(layer: &Layer, note: &Note, channels: &BTreeMap<String, ChannelZeros>) -> Option<Weights> {
    let (Kind::Conv(kernel), Some(conv)) = (&layer.kind, &note.conv) else { return None };
    let removed = channels.get(&*layer.name).is_some_and(ChannelZeros::is_pattern);
    let pattern = match conv.sparsity.pattern {
        _ if removed => "channel",
        Pattern::Dense => "dense",
        Pattern::Block4 => "1x4",
        Pattern::Unstructured => "none",
    };
    let scale = &kernel.epilogue.scale;
    let quantisation = match scale.first() {
        None => Quantisation::Float,
        Some(first) if scale.iter().all(|s| s == first) => Quantisation::PerTensor,
        Some(_) => Quantisation::PerChannel,
    };
    let outputs = kernel.epilogue.bias.len();
    let [height, width] = layer.info.window.map_or([1, 1], |window| window.size);
    let inputs = conv.sparsity.weights / (outputs * height * width).max(1);
    Some(Weights {
        count: conv.sparsity.weights as u64,
        nonzeros: conv.sparsity.nnz as u64,
        pattern,
        quantisation,
        shape: [outputs, inputs, height, width],
    })
}

fn totals(plan: &Plan, layers: &[LayerRow], seconds: f64) -> Totals {
    let convs = || layers.iter().filter_map(|layer| layer.weights.as_ref());
    let biases: usize = convs().map(|weights| weights.shape[0]).sum();
    let quantised = convs().filter(|w| w.quantisation != Quantisation::Float).map(|w| w.count).sum();
    let weights = plan.weights();
    let size = size::total(plan);
    Totals {
        layers: layers.len(),
        parameters: weights.0 + biases as u64,
        weights,
        quantised,
        macs: layers.iter().fold((0, 0), |sum, layer| (sum.0 + layer.macs.0, sum.1 + layer.macs.1)),
        arena_bytes: plan.arena_bytes,
        size,
        binary_bytes: build::binary_bytes(plan, size),
        build: build::BuildTime::of(plan, size),
        milliseconds: seconds * 1e3,
    }
}
