//! Stores every quantised feature map as `u8`, so that there is one kind of quantised convolution.

use super::move_quantize::selects_elements;
use super::{Error, Report};
use crate::ir::{DType, Data, Graph, Op, Tensor, ValueId};
use std::sync::Arc;

/// How far `u8` values lie above the `i8` values they replace.
const OFFSET: i32 = 128;

/// Replaces `i8` maps by `u8` maps that hold 128 more, with zero points moved along, wherever all producers and
/// readers allow it: `Quantize`, `Dequantize`, `ConvInteger`, and operators that only move elements.
pub fn unsigned_maps(graph: &mut Graph, _: &mut Report) -> Result<(), Error> {
    let regions = connected_maps(graph);
    let mut convertible = vec![true; graph.values.len()];
    let mut has_quantize = vec![false; graph.values.len()];
    for &v in graph.inputs.iter().chain(&graph.outputs) {
        convertible[regions[v.index()]] = false;
    }
    for node in &graph.nodes {
        for (i, &input) in node.inputs.iter().enumerate() {
            let readable = match node.op {
                Op::Dequantize(_) => true,
                Op::ConvInteger { .. } => i == 0,
                ref op => selects_elements(op),
            };
            convertible[regions[input.index()]] &= readable;
        }
        for &output in &node.outputs {
            let quantises = matches!(node.op, Op::Quantize(_));
            has_quantize[regions[output.index()]] |= quantises;
            convertible[regions[output.index()]] &= quantises || selects_elements(&node.op);
        }
    }
    let converted: Vec<bool> = (0..graph.values.len())
        .map(|i| graph.values[i].ty.dtype == DType::I8 && convertible[regions[i]] && has_quantize[regions[i]])
        .collect();
    convert(graph, &converted);
    Ok(())
}

/// For every value, the smallest index among the values that must have the same element type.
fn connected_maps(graph: &Graph) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..graph.values.len()).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    for node in graph.nodes.iter().filter(|node| selects_elements(&node.op)) {
        let first = root(&mut parent, node.outputs[0].index());
        for &input in &node.inputs {
            let other = root(&mut parent, input.index());
            let first = root(&mut parent, first);
            parent[first.max(other)] = first.min(other);
        }
    }
    (0..parent.len()).map(|i| root(&mut parent, i)).collect()
}

fn convert(graph: &mut Graph, converted: &[bool]) {
    let is_converted = |v: ValueId| converted[v.index()];
    for node in &mut graph.nodes {
        let first = node.inputs.first().copied();
        match &mut node.op {
            Op::Quantize(q) if is_converted(node.outputs[0]) => {
                q.dtype = DType::U8;
                q.zero.iter_mut().for_each(|z| *z += OFFSET);
            }
            Op::Dequantize(q) if first.is_some_and(is_converted) => {
                q.dtype = DType::U8;
                q.zero.iter_mut().for_each(|z| *z += OFFSET);
            }
            Op::ConvInteger { x_zero, .. } if first.is_some_and(is_converted) => *x_zero += OFFSET,
            _ => {}
        }
    }
    for (value, _) in graph.values.iter_mut().zip(converted).filter(|(_, converted)| **converted) {
        value.ty.dtype = DType::U8;
        if let Some(elements) = value.constant.as_ref().and_then(|t| t.as_i8()) {
            let shifted = elements.iter().map(|&x| (i32::from(x) + OFFSET) as u8).collect();
            value.constant = Some(Arc::new(Tensor::new(value.ty.shape.clone(), Data::U8(shifted))));
        }
    }
}
