//! Evaluates nodes whose inputs are all known.

use super::rewrite::drop_dead_nodes;
use super::{Error, Report};
use crate::interp;
use crate::ir::{DType, Graph, Node, Op, ValueId};
use std::sync::Arc;

/// Replaces every node of constants by its result. A `Dequantize` of a convolution's weight is left alone: it is
/// how a model says that the convolution runs on integers.
pub fn fold_constants(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    let weights = quantised_weights(graph);
    fold(graph, report, |node| !weights[node.outputs[0].index()])
}

/// [`fold_constants`] without the exception, for what the quantisation pass could not use.
pub fn fold_remaining_constants(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    fold(graph, report, |_| true)
}

fn fold(graph: &mut Graph, report: &mut Report, may_fold: impl Fn(&Node) -> bool) -> Result<(), Error> {
    let nodes = std::mem::take(&mut graph.nodes);
    for node in nodes {
        let known: Option<Vec<_>> = node.inputs.iter().map(|&i| graph.constant(i).cloned()).collect();
        let returned = node.outputs.iter().any(|o| graph.outputs.contains(o));
        let Some(inputs) = known.filter(|inputs| !inputs.is_empty() && !returned && may_fold(&node)) else {
            graph.nodes.push(node);
            continue;
        };
        let inputs: Vec<_> = inputs.iter().map(Arc::as_ref).collect();
        let types: Vec<_> = node.outputs.iter().map(|&o| graph.ty(o).clone()).collect();
        let results = interp::eval_node(&node.op, &inputs, &types)
            .map_err(|source| Error::Evaluate { node: node.name.clone(), source: source.into() })?;
        for (output, tensor) in node.outputs.iter().zip(results) {
            graph.values[output.index()].constant = Some(Arc::new(tensor));
        }
        report.folded_constants += 1;
    }
    drop_dead_nodes(graph);
    Ok(())
}

/// For every value, whether it is the dequantised 8-bit constant some convolution takes as its weight.
fn quantised_weights(graph: &Graph) -> Vec<bool> {
    let mut is_weight = vec![false; graph.values.len()];
    for node in &graph.nodes {
        if matches!(node.op, Op::Conv(_)) {
            is_weight[node.inputs[1].index()] = true;
        }
    }
    let mut dequantised = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let from_bytes = |v: ValueId| matches!(graph.ty(v).dtype, DType::I8 | DType::U8);
        if matches!(node.op, Op::Dequantize(_)) && from_bytes(node.inputs[0]) {
            dequantised[node.outputs[0].index()] = is_weight[node.outputs[0].index()];
        }
    }
    dequantised
}
