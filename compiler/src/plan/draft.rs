//! The layers of a plan before the arena is laid out: what each does, reads and writes.

use super::place::{BufferId, Flat, Placement, Places, UNSPLIT, is_map};
use crate::ir::{Graph, Op, ValueId};

/// What a layer is made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Copies a model input into the placements of a value: the input itself, or its quantised form.
    Load {
        /// Index among the graph's inputs.
        input: usize,
        /// The value placed.
        value: ValueId,
    },
    /// A node of the graph.
    Node(usize),
    /// Copies a map into another placement of the same value.
    Copy {
        /// The value.
        value: ValueId,
        /// Read.
        from: Placement,
        /// Written.
        to: Placement,
    },
    /// Copies a value to a model output.
    Output {
        /// The value.
        value: ValueId,
        /// Index among the graph's outputs.
        output: usize,
    },
}

/// A layer before its addresses are known.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is made from.
    pub source: Source,
    /// Name of the node in the source model.
    pub name: String,
    /// Buffers read, and the values in them.
    pub reads: Vec<(BufferId, ValueId)>,
    /// Buffers written.
    pub writes: Vec<BufferId>,
    /// Output rows when the layer can be computed a few rows at a time.
    pub rows: Option<usize>,
}

/// Lists the layers of a graph in order.
pub fn drafts(graph: &Graph, places: &Places) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (input, &value) in graph.inputs.iter().enumerate() {
        if !places.maps[value.index()].is_empty() && read_as_is(graph, value) {
            drafts.push(load(graph, places, input, value));
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if places.views[index] {
            continue;
        }
        if let (Op::Quantize(_), Some(input)) = (&node.op, graph.inputs.iter().position(|&i| i == node.inputs[0]))
            && is_map(graph, node.outputs[0])
        {
            let mut draft = load(graph, places, input, node.outputs[0]);
            draft.name.clone_from(&node.name);
            drafts.push(draft);
            continue;
        }
        node_drafts(graph, places, index, &mut drafts);
    }
    for (output, &value) in graph.outputs.iter().enumerate() {
        if places.flats[value.index()] != Some(Flat::Output(output)) {
            drafts.push(Draft {
                source: Source::Output { value, output },
                name: graph.value(value).name.clone(),
                reads: read_buffer(places, value, UNSPLIT).into_iter().map(|b| (b, value)).collect(),
                writes: Vec::new(),
                rows: None,
            });
        }
    }
    drafts
}

/// Whether something reads a graph input other than by quantising it.
fn read_as_is(graph: &Graph, value: ValueId) -> bool {
    graph.outputs.contains(&value)
        || graph.nodes.iter().any(|n| n.inputs.contains(&value) && !matches!(n.op, Op::Quantize(_)))
}

fn load(graph: &Graph, places: &Places, input: usize, value: ValueId) -> Draft {
    Draft {
        source: Source::Load { input, value },
        name: graph.value(value).name.clone(),
        reads: Vec::new(),
        writes: places.maps[value.index()].iter().map(|p| p.buffer).collect(),
        rows: Some(graph.ty(value).shape[2]),
    }
}

/// The buffer through which a value is read, unless it is a constant or the caller's memory.
fn read_buffer(places: &Places, value: ValueId, split: [usize; 2]) -> Option<BufferId> {
    match places.flats[value.index()] {
        Some(Flat::Buffer(buffer)) => Some(buffer),
        Some(Flat::Input(_) | Flat::Output(_)) => None,
        None if places.maps[value.index()].is_empty() => None,
        None => Some(places.placement(value, split).buffer),
    }
}

fn node_drafts(graph: &Graph, places: &Places, index: usize, drafts: &mut Vec<Draft>) {
    let node = &graph.nodes[index];
    let stores_all = matches!(node.op, Op::Conv(_));
    let mut reads = Vec::new();
    for (i, &input) in node.inputs.iter().enumerate() {
        let split = match &node.op {
            Op::Conv(conv) if i == 0 => conv.geometry.stride,
            _ => UNSPLIT,
        };
        reads.extend(read_buffer(places, input, split).map(|b| (b, input)));
    }
    let mut writes = Vec::new();
    let mut copies = Vec::new();
    for &output in &node.outputs {
        if let Some(Flat::Buffer(buffer)) = places.flats[output.index()] {
            writes.push(buffer);
        }
        if stores_all {
            writes.extend(places.maps[output.index()].iter().map(|p| p.buffer));
        } else if is_map(graph, output) {
            let primary = places.placement(output, UNSPLIT);
            writes.push(primary.buffer);
            copies.extend(copies_from(graph, places, output, primary));
        }
    }
    let by_rows = matches!(node.op, Op::Conv(_) | Op::MaxPool(_) | Op::AveragePool { .. } | Op::ResizeNearest { .. });
    drafts.push(Draft {
        source: Source::Node(index),
        name: node.name.clone(),
        reads,
        writes,
        rows: by_rows.then(|| graph.ty(node.outputs[0]).shape[2]),
    });
    drafts.extend(copies);
}

/// One copy into every placement of a value but `from`.
fn copies_from(graph: &Graph, places: &Places, value: ValueId, from: Placement) -> Vec<Draft> {
    let others = places.maps[value.index()].iter().filter(|&&p| p != from);
    others
        .map(|&to| Draft {
            source: Source::Copy { value, from, to },
            name: graph.value(value).name.clone(),
            reads: vec![(from.buffer, value)],
            writes: vec![to.buffer],
            rows: Some(graph.ty(value).shape[2]),
        })
        .collect()
}
