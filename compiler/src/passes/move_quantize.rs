//! Moves `Quantize` up to the producers of `f32` maps and `Dequantize` down to their readers, so that everything
//! between runs on bytes. All moves are exact: quantising is elementwise and monotone.

use super::rewrite::{Uses, redirect, until_stable};
use super::{Error, Report};
use crate::ir::{DType, Graph, Node, Op, Quantization, Type, ValueId};

/// Moves quantisation toward the convolutions and cancels `Quantize` of `Dequantize` with equal parameters.
pub fn move_quantize(graph: &mut Graph, _: &mut Report) -> Result<(), Error> {
    until_stable(graph, |graph, uses, n| {
        Ok(cancel(graph, uses, n) || lower_dequantize(graph, uses, n) || raise_quantize(graph, uses, n))
    })?;
    Ok(())
}

/// Whether `op` only selects or moves elements of feature maps, so that it commutes with monotone elementwise functions.
pub(super) fn selects_elements(op: &Op) -> bool {
    matches!(
        op,
        Op::Concat { .. }
            | Op::Slice { .. }
            | Op::ResizeNearest { .. }
            | Op::MaxPool(_)
            | Op::Reshape
            | Op::Transpose { .. }
    )
}

/// `Quantize(Dequantize(x))` with equal parameters is `x`: the two roundings of the way there and back are far
/// smaller than half a step.
fn cancel(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let node = &graph.nodes[n];
    let Op::Quantize(outer) = &node.op else { return false };
    let Some(producer) = uses.producer(node.inputs[0]) else { return false };
    let Op::Dequantize(inner) = &graph.nodes[producer].op else { return false };
    let (x, y) = (graph.nodes[producer].inputs[0], node.outputs[0]);
    outer == inner && redirect(graph, uses, y, x)
}

/// Replaces `op(Dequantize(a), Dequantize(b), ...)` by `Dequantize(op(a, b, ...))`.
fn lower_dequantize(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let node = &graph.nodes[n];
    // Only toward convolutions, which read maps of four axes: the decode of a detection head starts at the f32 head.
    if !selects_elements(&node.op) || graph.ty(node.outputs[0]).shape.len() != 4 {
        return false;
    }
    let mut parameters: Option<&Quantization> = None;
    let mut inputs = Vec::new();
    for &input in &node.inputs {
        let Some(producer) = uses.producer(input) else { return false };
        let Op::Dequantize(q) = &graph.nodes[producer].op else { return false };
        if q.as_per_tensor().is_none() || parameters.is_some_and(|p| p != q) {
            return false;
        }
        parameters = Some(q);
        inputs.push(graph.nodes[producer].inputs[0]);
    }
    let Some(parameters) = parameters.cloned() else { return false };
    if parameters.dtype == DType::I32 {
        return false;
    }
    let output = node.outputs[0];
    let ty = Type::new(parameters.dtype, graph.ty(output).shape.clone());
    let name = graph.value(output).name.clone();
    let moved = graph.add_value(name.clone(), ty);
    graph.nodes[n].inputs = inputs;
    graph.nodes[n].outputs = vec![moved];
    let dequantize = Node { name, op: Op::Dequantize(parameters), inputs: vec![moved], outputs: vec![output] };
    graph.nodes.push(dequantize);
    true
}

/// Replaces `Quantize(op(a, b, ...))` by `op(Quantize(a), Quantize(b), ...)` when every reader of the `op` quantises.
fn raise_quantize(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let node = &graph.nodes[n];
    if !selects_elements(&node.op) || graph.ty(node.outputs[0]).dtype != DType::F32 {
        return false;
    }
    let output = node.outputs[0];
    let readers = uses.consumers(output);
    let all_quantize =
        readers.iter().all(|&r| matches!(&graph.nodes[r].op, Op::Quantize(q) if q.as_per_tensor().is_some()));
    if readers.is_empty() || uses.is_output(output) || !all_quantize {
        return false;
    }
    let (name, op, inputs) = (node.name.clone(), node.op.clone(), node.inputs.clone());
    let mut quantised: Vec<(Quantization, Vec<ValueId>)> = Vec::new();
    for &reader in readers {
        let Op::Quantize(q) = graph.nodes[reader].op.clone() else { unreachable!("all readers quantise") };
        let operands = match quantised.iter().find(|(seen, _)| *seen == q) {
            Some((_, operands)) => operands.clone(),
            None => {
                let operands: Vec<_> = inputs.iter().map(|&i| quantize(graph, uses, i, &q)).collect();
                quantised.push((q, operands.clone()));
                operands
            }
        };
        graph.nodes[reader].name = name.clone();
        graph.nodes[reader].op = op.clone();
        graph.nodes[reader].inputs = operands;
    }
    true
}

/// The value of `input` quantised by `q`: an existing one when there is one, so that maps which feed several
/// operators are quantised once.
fn quantize(graph: &mut Graph, uses: &Uses, input: ValueId, q: &Quantization) -> ValueId {
    let existing =
        uses.consumers(input).iter().find(|&&r| matches!(&graph.nodes[r].op, Op::Quantize(other) if other == q));
    if let Some(&reader) = existing {
        return graph.nodes[reader].outputs[0];
    }
    let ty = Type::new(q.dtype, graph.ty(input).shape.clone());
    let name = format!("{}.quantized", graph.value(input).name);
    graph.add_node(name, Op::Quantize(q.clone()), vec![input], ty)
}
