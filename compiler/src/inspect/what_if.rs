//! Other weights for a graph: sparser, in blocks, quantised.

use crate::ir::{Conv, ConvQuant, DType, Data, Graph, Op, Quantization, Tensor, Type, ValueId};
use std::collections::BTreeMap;

/// What to impose on the weights of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WhatIf {
    /// Share of the weights of every convolution that are zero, unless more are already.
    pub sparsity: Option<f64>,
    /// Consecutive input channels that are zero together.
    pub block: Option<usize>,
    /// Whether convolutions run on integers.
    pub int8: bool,
}

impl WhatIf {
    /// Whether nothing is asked.
    pub fn is_nothing(&self) -> bool {
        *self == WhatIf::default()
    }

    /// In words: `sparsity 0.8 in blocks of 4, int8`.
    pub fn describe(&self) -> String {
        let mut words = Vec::new();
        match (self.sparsity, self.block) {
            (Some(sparsity), Some(block)) => words.push(format!("sparsity {sparsity} in blocks of {block}")),
            (Some(sparsity), None) => words.push(format!("sparsity {sparsity}")),
            (None, Some(block)) => words.push(format!("the zeros there are, in blocks of {block}")),
            (None, None) => {}
        }
        if self.int8 {
            words.push("int8".to_string());
        }
        words.join(", ")
    }
}

/// Imposes weights on a graph that went through all passes, which then have to run again: the zeros of some channels may
/// make up whole ones, and quantisations are to be joined with what computes their inputs.
///
/// The smallest magnitudes become zero, of blocks the smallest sums. Integers are rounded to 127 steps of the largest weight
/// of an output, and every map that convolutions read gets one scale: times depend on neither.
pub fn impose(graph: &mut Graph, what_if: &WhatIf) {
    let mut bytes: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        if let Op::Conv(conv) = &mut node.op {
            let weight = graph.constant(node.inputs[1]).expect("weights are constants (invariant 6)");
            let mut tensor = weight.as_ref().clone();
            prune(&mut tensor, what_if);
            if what_if.int8 && conv.quant.is_none() {
                let x = node.inputs[0];
                let scale = map_scale(bytes.len());
                node.inputs[0] = *bytes.entry(x).or_insert_with(|| {
                    let q = Quantization { scale: vec![scale], zero: vec![ZERO], axis: 0, dtype: DType::U8 };
                    let y = Type::new(DType::U8, graph.ty(x).shape.clone());
                    let name = graph.value(x).name.clone();
                    let y = graph.add_value(name.clone(), y);
                    nodes.push(crate::ir::Node { name, op: Op::Quantize(q), inputs: vec![x], outputs: vec![y] });
                    y
                });
                quantise(conv, &mut tensor, scale);
            }
            let name = graph.value(node.inputs[1]).name.clone();
            node.inputs[1] = graph.add_constant(name, tensor);
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
}

/// Zero point of quantised maps: as far below zero as SiLU reaches.
const ZERO: i32 = 9;

/// Scales that differ from map to map, as measured ones do.
fn map_scale(index: usize) -> f32 {
    (1.0 + index as f32 / 1024.0) / 32.0
}

fn quantise(conv: &mut Conv, tensor: &mut Tensor, x_scale: f32) {
    let outputs = tensor.shape[0];
    let w = tensor.as_f32().expect("float convolutions have f32 weights");
    let mut scale = Vec::with_capacity(outputs);
    let mut integers = Vec::with_capacity(w.len());
    for row in w.chunks((w.len() / outputs.max(1)).max(1)) {
        let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
        let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        // What is not zero stays so: the question is what these zeros buy, not what rounding adds.
        let round = |w: f32| match (w / step).round().clamp(-127.0, 127.0) as i8 {
            0 if w > 0.0 => 1,
            0 if w < 0.0 => -1,
            rounded => rounded,
        };
        integers.extend(row.iter().copied().map(round));
        scale.push(step * x_scale);
    }
    *tensor = Tensor::new(tensor.shape.clone(), Data::I8(integers));
    conv.quant = Some(ConvQuant { x_zero: ZERO as u8, scale, acc_bias: vec![0; outputs] });
}

/// Zeroes the smallest weights of a tensor `[out, in, kh, kw]`.
fn prune(tensor: &mut Tensor, what_if: &WhatIf) {
    let [outputs, inputs, ref window @ ..] = tensor.shape[..] else { return };
    let taps: usize = window.iter().product();
    let magnitudes: Vec<f32> = match &tensor.data {
        Data::F32(v) => v.iter().map(|w| w.abs()).collect(),
        Data::I8(v) => v.iter().map(|w| f32::from(w.unsigned_abs())).collect(),
        _ => return,
    };
    let zeros = magnitudes.iter().filter(|&&m| m == 0.0).count();
    let there = zeros as f64 / magnitudes.len().max(1) as f64;
    let (Some(wanted), size) = (what_if.sparsity.or(what_if.block.map(|_| there)), what_if.block.unwrap_or(1)) else {
        return;
    };
    // Channels that do not come in whole blocks have no blocks.
    let size = if inputs % size == 0 { size } else { 1 };
    let count = outputs * (inputs / size) * taps;
    let element = |block: usize, i: usize| {
        let (output, rest) = (block / (inputs / size * taps), block % (inputs / size * taps));
        (output * inputs + rest / taps * size + i) * taps + rest % taps
    };
    let sum = |block: usize| (0..size).map(|i| magnitudes[element(block, i)]).sum::<f32>();
    let sums: Vec<f32> = (0..count).map(sum).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| sums[a].total_cmp(&sums[b]).then(a.cmp(&b)));
    let full = order.split_off((wanted * count as f64).round() as usize);
    let elements = |blocks: Vec<usize>| blocks.into_iter().flat_map(|block| (0..size).map(move |i| element(block, i)));
    // Zeros outside of empty blocks would be none of these blocks' pattern.
    let full = elements(if size > 1 { full } else { Vec::new() });
    let least = magnitudes.iter().copied().filter(|&m| m > 0.0).fold(f32::INFINITY, f32::min).min(1.0);
    match &mut tensor.data {
        Data::F32(v) => {
            elements(order).for_each(|at| v[at] = 0.0);
            full.for_each(|at| v[at] = if v[at] == 0.0 { least } else { v[at] });
        }
        Data::I8(v) => {
            elements(order).for_each(|at| v[at] = 0);
            full.for_each(|at| v[at] = if v[at] == 0 { 1 } else { v[at] });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor() -> Tensor {
        // Magnitudes all different, in an order that is none of the axes'.
        let w = (0..8 * 8 * 9).map(|k| ((k * 211 % 576) as f32 + 1.0) * if k % 2 == 0 { 1.0 } else { -1.0 });
        Tensor::f32([8, 8, 3, 3], w.collect())
    }

    #[test]
    fn the_smallest_weights_become_zero() {
        let mut pruned = tensor();
        prune(&mut pruned, &WhatIf { sparsity: Some(0.75), ..WhatIf::default() });
        let (before, after) = (tensor(), pruned);
        let (before, after) = (before.as_f32().expect("floats"), after.as_f32().expect("floats"));
        assert_eq!(after.iter().filter(|w| **w == 0.0).count(), 432);
        for (b, a) in before.iter().zip(after) {
            assert_eq!(*a, if b.abs() > 432.0 { *b } else { 0.0 });
        }
    }

    #[test]
    fn blocks_are_zero_together_or_not_at_all() {
        let mut pruned = tensor();
        prune(&mut pruned, &WhatIf { sparsity: Some(0.5), block: Some(4), ..WhatIf::default() });
        let w = pruned.as_f32().expect("floats");
        let mut empty = 0;
        for (output, block, tap) in (0..8).flat_map(|o| (0..2).flat_map(move |b| (0..9).map(move |t| (o, b, t)))) {
            let zeros = (0..4).filter(|i| w[(output * 8 + block * 4 + i) * 9 + tap] == 0.0).count();
            assert!(zeros == 0 || zeros == 4);
            empty += zeros / 4;
        }
        assert_eq!(empty, 72);
        let mut again = pruned.clone();
        prune(&mut again, &WhatIf { block: Some(4), ..WhatIf::default() });
        assert_eq!(again, pruned, "the zeros there are lie in blocks already");
    }

    #[test]
    fn zeros_are_never_taken_back() {
        let mut pruned = tensor();
        prune(&mut pruned, &WhatIf { sparsity: Some(0.75), ..WhatIf::default() });
        let sparse = pruned.clone();
        prune(&mut pruned, &WhatIf { sparsity: Some(0.25), ..WhatIf::default() });
        assert_eq!(pruned, sparse);
    }

    #[test]
    fn integers_keep_every_nonzero() {
        let mut conv = Conv {
            geometry: crate::ir::ConvGeometry {
                kernel: [3, 3],
                stride: [1; 2],
                pad: [1; 4],
                dilation: [1; 2],
                group: 1,
            },
            quant: None,
            epilogue: crate::ir::Epilogue::default(),
        };
        let mut tensor = Tensor::f32([2, 1, 1, 2], vec![1000.0, 0.001, -0.001, 0.0]);
        quantise(&mut conv, &mut tensor, 0.5);
        assert_eq!(tensor.as_i8(), Some(&[127, 1, -127, 0][..]));
        assert_eq!(conv.quant.expect("quantised").scale.len(), 2);
    }
}
