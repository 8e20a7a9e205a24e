//! Leaving behind what was only needed on the way: shapes, folded constants, unread outputs.

use crate::ir::{Graph, Node, ValueId};

/// The same graph with the nodes that its outputs depend on and the values that those read or make.
pub(super) fn compacted(graph: &Graph) -> Graph {
    let mut live = vec![false; graph.values.len()];
    for id in graph.inputs.iter().chain(&graph.outputs) {
        live[id.index()] = true;
    }
    let mut kept = Vec::new();
    for node in graph.nodes.iter().rev() {
        if node.outputs.iter().any(|o| live[o.index()]) {
            node.inputs.iter().chain(&node.outputs).for_each(|id| live[id.index()] = true);
            kept.push(node);
        }
    }
    let mut renamed = vec![ValueId(0); graph.values.len()];
    let mut compact = Graph { name: graph.name.clone(), metadata: graph.metadata.clone(), ..Graph::default() };
    for (value, renamed) in
        graph.values.iter().zip(&mut renamed).zip(&live).filter_map(|(pair, &live)| live.then_some(pair))
    {
        *renamed = compact.add_value(value.name.clone(), value.ty.clone());
        compact.values[renamed.index()].constant = value.constant.clone();
    }
    let map = |ids: &[ValueId]| ids.iter().map(|id| renamed[id.index()]).collect::<Vec<_>>();
    compact.nodes = kept
        .into_iter()
        .rev()
        .map(|n| Node { name: n.name.clone(), op: n.op.clone(), inputs: map(&n.inputs), outputs: map(&n.outputs) })
        .collect();
    compact.inputs = map(&graph.inputs);
    compact.outputs = map(&graph.outputs);
    compact
}
