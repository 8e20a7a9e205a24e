//! Renumbers values in order of use, dropping those nothing uses.

use super::{Error, Report};
use crate::ir::{Graph, Value, ValueId};

/// Keeps the values that are graph inputs, constants some node reads, or results of nodes, in that order of
/// first appearance.
pub fn compact(graph: &mut Graph, _: &mut Report) -> Result<(), Error> {
    let mut old: Vec<Option<Value>> = std::mem::take(&mut graph.values).into_iter().map(Some).collect();
    let mut renumbered: Vec<Option<ValueId>> = vec![None; old.len()];
    let mut values = Vec::new();
    let mut visit = |v: &mut ValueId| {
        let id = *renumbered[v.index()].get_or_insert_with(|| {
            values.push(old[v.index()].take().expect("a value is moved once"));
            ValueId(values.len() as u32 - 1)
        });
        *v = id;
    };
    graph.inputs.iter_mut().for_each(&mut visit);
    for node in &mut graph.nodes {
        node.inputs.iter_mut().for_each(&mut visit);
        node.outputs.iter_mut().for_each(&mut visit);
    }
    graph.outputs.iter_mut().for_each(&mut visit);
    graph.values = values;
    Ok(())
}
