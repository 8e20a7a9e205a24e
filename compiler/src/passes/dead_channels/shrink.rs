//! Rewrites maps and weights to the channels that are kept.

use super::liveness::LiveChannels;
use super::{WeightAxes, channels};
use crate::ir::{Conv, Data, Graph, Op, Tensor, ValueId};
use crate::passes::Report;

/// Removes every channel that is not live, nodes without live channels included.
pub(super) fn keep_live(graph: &mut Graph, live: &LiveChannels, report: &mut Report) {
    let is_removed = |graph: &Graph, v: ValueId| channels(graph, v).is_some_and(|c| c > 0) && live.of(v).is_empty();
    let mut nodes = std::mem::take(&mut graph.nodes);
    nodes.retain(|node| !node.outputs.iter().all(|&o| is_removed(graph, o)));
    for node in &mut nodes {
        match &mut node.op {
            Op::Conv(conv) => shrink_conv(graph, conv, &mut node.inputs, node.outputs[0], live, report),
            Op::Concat { axis: 1 } => node.inputs.retain(|&i| !is_removed(graph, i)),
            Op::Slice { starts, .. } if channels(graph, node.inputs[0]).is_some() => {
                starts[1] = live.of(node.inputs[0]).iter().filter(|&&c| c < starts[1]).count();
            }
            _ => {}
        }
    }
    graph.nodes = nodes;
    for v in (0..graph.values.len() as u32).map(ValueId) {
        if channels(graph, v).is_some() && graph.constant(v).is_none() {
            graph.values[v.index()].ty.shape[1] = live.of(v).len();
        }
    }
}

fn shrink_conv(
    graph: &mut Graph,
    conv: &mut Conv,
    operands: &mut [ValueId],
    output: ValueId,
    live: &LiveChannels,
    report: &mut Report,
) {
    let weight = graph.constant(operands[1]).expect("weights are constant").clone();
    let axes = WeightAxes::of(&weight.shape, conv.geometry.group);
    let outputs = live.of(output);
    let depthwise = conv.geometry.group > 1 && axes.inputs_per_group == 1 && axes.outputs_per_group == 1;
    let columns: Vec<usize> =
        if conv.geometry.group == 1 { live.of(operands[0]).to_vec() } else { (0..axes.inputs_per_group).collect() };
    if outputs.len() == axes.outputs && columns.len() == axes.inputs_per_group {
        return;
    }
    report.narrowed_layers += 1;
    report.removed_outputs += axes.outputs - outputs.len();
    report.removed_inputs += axes.inputs_per_group - columns.len();
    if depthwise {
        conv.geometry.group = outputs.len();
    }
    if let Some(quant) = &mut conv.quant {
        quant.scale = outputs.iter().map(|&o| quant.scale[o]).collect();
        quant.acc_bias = outputs.iter().map(|&o| quant.acc_bias[o]).collect();
    }
    let bias = graph.constant(operands[2]).and_then(|b| b.as_f32()).expect("biases are constant f32");
    let bias = Tensor::f32([outputs.len()], outputs.iter().map(|&o| bias[o]).collect());
    let windows = || outputs.iter().flat_map(|&o| columns.iter().map(move |&c| axes.window(o, c)));
    let data = match &weight.data {
        Data::F32(w) => Data::F32(windows().flat_map(|window| w[window].iter().copied()).collect()),
        Data::I8(w) => Data::I8(windows().flat_map(|window| w[window].iter().copied()).collect()),
        _ => unreachable!("a convolution's weight is f32 or i8"),
    };
    let shape = [outputs.len(), columns.len(), weight.shape[2], weight.shape[3]];
    let (weight_name, bias_name) = (graph.value(operands[1]).name.clone(), graph.value(operands[2]).name.clone());
    operands[1] = graph.add_constant(weight_name, Tensor::new(shape, data));
    operands[2] = graph.add_constant(bias_name, bias);
}
