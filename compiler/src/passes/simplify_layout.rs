//! Merges and removes operators that only move elements.

use super::rewrite::{Uses, redirect, until_stable};
use super::{Error, Report};
use crate::ir::{Activation, Graph, Node, Op};

/// Merges `Reshape` of `Reshape`, `Transpose` of `Transpose`, `Slice` of `Slice`, and removes those that change
/// nothing, as well as a `Concat` of one and a `Cast` to the same type.
pub fn simplify_layout(graph: &mut Graph, _: &mut Report) -> Result<(), Error> {
    until_stable(graph, |graph, uses, n| Ok(merge_with_producer(graph, uses, n) || remove_no_op(graph, uses, n)))?;
    Ok(())
}

fn remove_no_op(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let node = &graph.nodes[n];
    let ([input], [output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return false };
    let (input, output) = (*input, *output);
    let same_type = graph.ty(input) == graph.ty(output);
    let is_no_op = match &node.op {
        Op::Reshape | Op::Concat { .. } | Op::Cast(_) => same_type,
        Op::Activation(a) => *a == Activation::Identity,
        Op::ResizeNearest { scale } => *scale == [1, 1],
        Op::Transpose { perm } => perm.iter().enumerate().all(|(i, &p)| i == p),
        Op::Slice { starts, .. } => same_type && starts.iter().all(|&s| s == 0),
        _ => false,
    };
    is_no_op && redirect(graph, uses, output, input)
}

fn merge_with_producer(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let [input] = graph.nodes[n].inputs[..] else { return false };
    let Some(before) = uses.producer(input) else { return false };
    let Some(merged) = merged(&graph.nodes[before], &graph.nodes[n]) else { return false };
    let source = graph.nodes[before].inputs[0];
    let node = &mut graph.nodes[n];
    node.op = merged;
    node.inputs = vec![source];
    true
}

/// The operator that does what `first` and then `second` do.
fn merged(first: &Node, second: &Node) -> Option<Op> {
    match (&first.op, &second.op) {
        (Op::Reshape, Op::Reshape) => Some(Op::Reshape),
        (Op::Transpose { perm: inner }, Op::Transpose { perm: outer }) => {
            Some(Op::Transpose { perm: outer.iter().map(|&axis| inner[axis]).collect() })
        }
        (Op::Slice { starts: s0, steps: t0 }, Op::Slice { starts: s1, steps: t1 }) => Some(Op::Slice {
            starts: (0..s0.len()).map(|a| s0[a] + s1[a] * t0[a]).collect(),
            steps: (0..s0.len()).map(|a| t0[a] * t1[a]).collect(),
        }),
        _ => None,
    }
}
