//! Removes nodes nothing depends on and computes equal nodes once.

use super::rewrite::drop_dead_nodes;
use super::{Error, Report};
use crate::ir::{Data, Graph, Node, Tensor, ValueId};
use std::collections::BTreeMap;

/// Removes the nodes no output depends on.
pub fn drop_dead(graph: &mut Graph, _: &mut Report) -> Result<(), Error> {
    drop_dead_nodes(graph);
    Ok(())
}

/// Lets nodes with the same operator, inputs and result types share one result.
pub fn share_equal(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    share_equal_constants(graph);
    let mut seen: BTreeMap<Vec<ValueId>, Vec<Node>> = BTreeMap::new();
    let mut n = 0;
    while n < graph.nodes.len() {
        let node = &graph.nodes[n];
        let twin = seen.get(&node.inputs).and_then(|candidates| candidates.iter().find(|c| is_twin(graph, c, node)));
        if let Some(twin) = twin {
            let pairs: Vec<_> = node.outputs.iter().copied().zip(twin.outputs.iter().copied()).collect();
            graph.nodes.remove(n);
            for (duplicate, original) in pairs {
                if graph.outputs.contains(&duplicate) {
                    graph.values[original.index()].name = graph.value(duplicate).name.clone();
                }
                graph.replace_uses(duplicate, original);
            }
            report.shared_nodes += 1;
        } else {
            seen.entry(node.inputs.clone()).or_default().push(node.clone());
            n += 1;
        }
    }
    Ok(())
}

fn is_twin(graph: &Graph, a: &Node, b: &Node) -> bool {
    let same_types = a.outputs.len() == b.outputs.len()
        && a.outputs.iter().zip(&b.outputs).all(|(&x, &y)| graph.ty(x) == graph.ty(y));
    // Two outputs of the graph must stay two values.
    let both_returned =
        a.outputs.iter().any(|o| graph.outputs.contains(o)) && b.outputs.iter().any(|o| graph.outputs.contains(o));
    a.op == b.op && same_types && !both_returned
}

/// Equality of every bit: `0.0` is not `-0.0`.
fn is_identical(a: &Tensor, b: &Tensor) -> bool {
    match (&a.data, &b.data) {
        (Data::F32(x), Data::F32(y)) => x.iter().map(|v| v.to_bits()).eq(y.iter().map(|v| v.to_bits())),
        (x, y) => x == y,
    }
}

/// Small constants (scales, shapes, scalars) recur under many names; equal ones must be one value for equal nodes
/// to be recognised.
fn share_equal_constants(graph: &mut Graph) {
    const LARGEST: usize = 64;
    let mut originals: BTreeMap<Vec<usize>, Vec<ValueId>> = BTreeMap::new();
    let mut original_of: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    for (i, value) in graph.values.iter().enumerate() {
        let Some(tensor) = value.constant.as_ref().filter(|t| t.len() <= LARGEST) else { continue };
        let same_shape = originals.entry(tensor.shape.clone()).or_default();
        match same_shape.iter().find(|v| graph.constant(**v).is_some_and(|t| is_identical(t, tensor))) {
            Some(&original) => original_of[i] = original,
            None => same_shape.push(ValueId(i as u32)),
        }
    }
    for node in &mut graph.nodes {
        for input in &mut node.inputs {
            *input = original_of[input.index()];
        }
    }
}
