//! Which channels some output of the graph depends on.

use super::constant::window_is_zero;
use super::{WeightAxes, channels};
use crate::ir::{Binary, Graph, Node, Op, ValueId};

/// The channels of every feature map that must be kept; an empty list for other values.
pub(super) struct LiveChannels {
    kept: Vec<Vec<usize>>,
}

impl LiveChannels {
    /// Ascending channels of `value` that must be kept.
    pub(super) fn of(&self, value: ValueId) -> &[usize] {
        &self.kept[value.index()]
    }
}

/// Channels of all maps in classes that are kept or removed together.
struct Classes {
    /// Index of channel 0 of every value.
    base: Vec<usize>,
    parent: Vec<usize>,
    live: Vec<bool>,
}

/// Finds the live channels. Channels that operators require to correspond (a residual and the sum it enters, all
/// stores of a convolution, a pool's input and output) are kept together.
pub(super) fn live_channels(graph: &Graph) -> LiveChannels {
    let mut classes = Classes::new(graph);
    let demands = graph.nodes.iter().map(|node| connect(graph, node, &mut classes)).collect::<Vec<_>>();
    for &v in graph.inputs.iter().chain(&graph.outputs) {
        classes.keep_all(graph, v);
    }
    let mut changed = true;
    while changed {
        changed = false;
        for (node, demands) in graph.nodes.iter().zip(&demands).rev() {
            for (output, inputs) in demands.iter().enumerate() {
                if classes.is_live(node.outputs[0], output) {
                    for &input in inputs {
                        changed |= classes.keep(node.inputs[0], input);
                    }
                }
            }
            changed |= keep_one_input(graph, node, &mut classes);
        }
    }
    let kept = (0..graph.values.len() as u32)
        .map(ValueId)
        .map(|v| (0..channels(graph, v).unwrap_or(0)).filter(|&c| classes.is_live(v, c)).collect());
    LiveChannels { kept: kept.collect() }
}

/// A convolution that is needed needs an input channel, even when all its weights are zero.
fn keep_one_input(graph: &Graph, node: &Node, classes: &mut Classes) -> bool {
    let Op::Conv(_) = node.op else { return false };
    let count = |v| channels(graph, v).unwrap_or(0);
    let any_live = |classes: &mut Classes, v| (0..count(v)).any(|c| classes.is_live(v, c));
    any_live(classes, node.outputs[0]) && !any_live(classes, node.inputs[0]) && classes.keep(node.inputs[0], 0)
}

/// Unites the channels a node ties, marks those it needs in any case, and returns for a convolution the input
/// channels that each output channel has nonzero weights for.
fn connect(graph: &Graph, node: &Node, classes: &mut Classes) -> Vec<Vec<usize>> {
    let are_maps = node.outputs.iter().all(|&o| channels(graph, o).is_some());
    let output = node.outputs[0];
    match &node.op {
        Op::Conv(conv) => {
            let residual = node.inputs.get(3).copied();
            for map in node.outputs[1..].iter().copied().chain(residual) {
                classes.tie_all(graph, output, map);
            }
            let weight = graph.constant(node.inputs[1]).expect("weights are constant");
            let axes = WeightAxes::of(&weight.shape, conv.geometry.group);
            if conv.geometry.group == 1 {
                return (0..axes.outputs)
                    .map(|o| {
                        (0..axes.inputs_per_group).filter(|&c| !window_is_zero(weight, axes.window(o, c))).collect()
                    })
                    .collect();
            }
            if axes.inputs_per_group == 1 && axes.outputs_per_group == 1 {
                classes.tie_all(graph, output, node.inputs[0]);
            } else {
                classes.keep_all(graph, node.inputs[0]);
                classes.keep_all(graph, output);
            }
        }
        Op::Concat { axis: 1 } if are_maps => {
            let mut first = 0;
            for &input in &node.inputs {
                let count = channels(graph, input).expect("inputs of a concat have the output's rank");
                for c in 0..count {
                    classes.tie(output, first + c, input, c);
                }
                if graph.constant(input).is_some() {
                    classes.keep_all(graph, input);
                }
                first += count;
            }
        }
        Op::Slice { starts, steps } if are_maps && steps[1] == 1 && channels(graph, node.inputs[0]).is_some() => {
            for c in 0..channels(graph, output).expect("checked above") {
                classes.tie(output, c, node.inputs[0], starts[1] + c);
            }
        }
        Op::MaxPool(_)
        | Op::AveragePool { .. }
        | Op::GlobalAveragePool
        | Op::ResizeNearest { .. }
        | Op::Activation(_)
            if are_maps =>
        {
            classes.tie_all(graph, output, node.inputs[0]);
        }
        Op::Quantize(q) | Op::Dequantize(q) if are_maps && q.as_per_tensor().is_some() => {
            classes.tie_all(graph, output, node.inputs[0]);
        }
        Op::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Max | Binary::Min)
            if are_maps && node.inputs.iter().all(|&i| is_computed_twin(graph, i, output)) =>
        {
            node.inputs.iter().for_each(|&i| classes.tie_all(graph, output, i));
        }
        _ => {
            node.inputs.iter().chain(&node.outputs).for_each(|&v| classes.keep_all(graph, v));
        }
    }
    Vec::new()
}

fn is_computed_twin(graph: &Graph, value: ValueId, other: ValueId) -> bool {
    graph.constant(value).is_none() && graph.ty(value) == graph.ty(other)
}

impl Classes {
    fn new(graph: &Graph) -> Self {
        let mut total = 0;
        let base = (0..graph.values.len() as u32)
            .map(|v| {
                let first = total;
                total += channels(graph, ValueId(v)).unwrap_or(0);
                first
            })
            .collect();
        Classes { base, parent: (0..total).collect(), live: vec![false; total] }
    }

    fn root(&mut self, value: ValueId, channel: usize) -> usize {
        let mut i = self.base[value.index()] + channel;
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn tie(&mut self, a: ValueId, channel_a: usize, b: ValueId, channel_b: usize) {
        let (a, b) = (self.root(a, channel_a), self.root(b, channel_b));
        self.parent[a.max(b)] = a.min(b);
        self.live[a.min(b)] |= self.live[a.max(b)];
    }

    fn tie_all(&mut self, graph: &Graph, a: ValueId, b: ValueId) {
        for c in 0..channels(graph, a).unwrap_or(0) {
            self.tie(a, c, b, c);
        }
    }

    fn keep(&mut self, value: ValueId, channel: usize) -> bool {
        let root = self.root(value, channel);
        !std::mem::replace(&mut self.live[root], true)
    }

    fn keep_all(&mut self, graph: &Graph, value: ValueId) {
        for c in 0..channels(graph, value).unwrap_or(0) {
            self.keep(value, c);
        }
    }

    fn is_live(&mut self, value: ValueId, channel: usize) -> bool {
        let root = self.root(value, channel);
        self.live[root]
    }
}
