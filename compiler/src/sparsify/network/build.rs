//! From a graph to a network.

use super::{Convolution, Error, MapId, Network, Step};
use crate::ir::{Binary, Conv, DType, DetectHead, DetectLevel, Graph, Op, Store, Tensor, ValueId};
use crate::passes::{self, PASSES, Report};
use std::collections::BTreeMap;

/// Passes that training does without: what is dead in one model lives in its teacher.
const LEFT_OUT: &[&str] = &["dead-channels"];

/// An imported graph after the passes that training wants: everything folded, every channel and weight in its place.
///
/// # Errors
/// When a pass refuses the graph.
pub fn trainable(graph: &Graph) -> Result<Graph, Error> {
    let mut graph = graph.clone();
    let mut report = Report::default();
    for pass in PASSES.iter().filter(|pass| !LEFT_OUT.contains(&pass.name)) {
        (pass.rewrite)(&mut graph, &mut report)?;
    }
    Ok(graph)
}

pub(super) fn build(graph: &Graph) -> Result<Network, Error> {
    let graph = trainable(graph)?;
    let (results, head) = results(&graph);
    let mut builder = Builder::new(&graph)?;
    let needed = needed(&graph, &results);
    for node in graph.nodes.iter().enumerate().filter(|(n, _)| needed[*n]).map(|(_, node)| node) {
        if let Err(why) = builder.add(node) {
            builder.unsupported.push(format!("{} `{}`{why}", node.op.name(), node.name));
        }
    }
    let Builder { maps, channels, steps, convolutions, input, unsupported, .. } = builder;
    if !unsupported.is_empty() {
        return Err(Error::Unsupported { nodes: unsupported });
    }
    let outputs = results.iter().map(|value| maps[value]).collect();
    Ok(Network { steps, channels, input, outputs, head, convolutions })
}

/// The maps that training compares, and how they are read as boxes.
fn results(graph: &Graph) -> (Vec<ValueId>, Option<DetectHead>) {
    let heads = graph.nodes.iter().find_map(|node| match &node.op {
        Op::DetectHead(head) => Some((node.inputs.clone(), Some(head.clone()))),
        _ => None,
    });
    if let Some(found) = heads {
        return found;
    }
    let producers = graph.producers();
    let map_below = |mut value: ValueId| {
        while let Some(n) = producers[value.index()]
            && matches!(graph.nodes[n].op, Op::Reshape | Op::Transpose { .. })
        {
            value = graph.nodes[n].inputs[0];
        }
        value
    };
    let results: Vec<ValueId> = graph.outputs.iter().map(|&output| map_below(output)).collect();
    let head = passes::raw_head(graph).map(|levels| DetectHead {
        outputs: levels[0].outputs,
        levels: levels.into_iter().map(|l| DetectLevel { stride: l.stride, anchors: l.anchors }).collect(),
    });
    (results, head)
}

/// For every node, whether a result depends on it.
fn needed(graph: &Graph, results: &[ValueId]) -> Vec<bool> {
    let mut wanted = vec![false; graph.values.len()];
    results.iter().for_each(|value| wanted[value.index()] = true);
    let mut needed = vec![false; graph.nodes.len()];
    for (n, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|output| wanted[output.index()]) {
            needed[n] = true;
            node.inputs.iter().for_each(|input| wanted[input.index()] = true);
        }
    }
    needed
}

struct Builder<'a> {
    graph: &'a Graph,
    maps: BTreeMap<ValueId, MapId>,
    channels: Vec<usize>,
    steps: Vec<Step>,
    convolutions: Vec<Convolution>,
    input: MapId,
    unsupported: Vec<String>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph) -> Result<Self, Error> {
        let [input] = graph.inputs.as_slice() else {
            return Err(Error::Inputs { found: graph.inputs.len().to_string() });
        };
        let ty = graph.ty(*input);
        let (DType::F32, &[1, channels, _, _]) = (ty.dtype, ty.shape.as_slice()) else {
            return Err(Error::Inputs { found: format!("1 `{ty}`") });
        };
        let maps = BTreeMap::from([(*input, MapId(0))]);
        let (steps, convolutions, unsupported) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Builder { graph, maps, channels: vec![channels], steps, convolutions, input: MapId(0), unsupported })
    }

    /// The map of a value, or why it has none.
    fn map(&self, value: ValueId) -> Result<MapId, String> {
        self.maps
            .get(&value)
            .copied()
            .ok_or_else(|| format!(" reads `{}`, which is no map", self.graph.value(value).name))
    }

    fn new_map(&mut self, value: ValueId) -> MapId {
        let map = MapId(self.channels.len());
        let ty = self.graph.ty(value);
        self.channels.push(ty.shape.get(1).copied().unwrap_or(1));
        self.maps.insert(value, map);
        map
    }

    fn add(&mut self, node: &crate::ir::Node) -> Result<(), String> {
        // A map that cannot be computed is reported once, where it is made.
        let result = node.outputs[0];
        let step = self.step(node);
        let output = self.new_map(result);
        let mut step = step?;
        *step_output(&mut step) = output;
        self.steps.push(step);
        Ok(())
    }

    /// The step of a node, its output yet to be set.
    fn step(&mut self, node: &crate::ir::Node) -> Result<Step, String> {
        let output = MapId(usize::MAX);
        let input = self.map(node.inputs[0])?;
        let ty = self.graph.ty(node.outputs[0]);
        if ty.dtype != DType::F32 {
            return Err(" is quantised already".to_string());
        }
        Ok(match &node.op {
            Op::Conv(conv) => {
                let residual = match (conv.epilogue.residual, node.inputs.get(3)) {
                    (Some(place), Some(&value)) => Some((self.map(value)?, place)),
                    _ => None,
                };
                let convolution = self.convolution(node, conv)?;
                self.convolutions.push(convolution);
                Step::Convolve { convolution: self.convolutions.len() - 1, input, residual, output }
            }
            Op::Activation(activation) => Step::Activate { activation: *activation, input, output },
            Op::Binary(Binary::Add) => {
                let other = self.map(node.inputs[1])?;
                if self.graph.ty(node.inputs[0]) != self.graph.ty(node.inputs[1]) {
                    return Err(" adds maps of different shapes".to_string());
                }
                Step::Add { inputs: [input, other], output }
            }
            Op::Concat { axis: 1 } if ty.shape.len() == 4 => {
                let inputs = node.inputs.iter().map(|&value| self.map(value)).collect::<Result<_, _>>()?;
                Step::Concat { inputs, output }
            }
            Op::MaxPool(pool) => Step::MaxPool { pool: pool.clone(), input, output },
            Op::ResizeNearest { scale } => Step::Enlarge { scale: *scale, input, output },
            Op::GlobalAveragePool => Step::GlobalAverage { input, output },
            _ => return Err(String::new()),
        })
    }

    fn convolution(&self, node: &crate::ir::Node, conv: &Conv) -> Result<Convolution, String> {
        if conv.quant.is_some() || conv.epilogue.stores != [Store::F32] {
            return Err(" is quantised already".to_string());
        }
        let parameter = |value: ValueId| {
            let constant: Option<&[f32]> = self.graph.constant(value).and_then(|tensor| Tensor::as_f32(tensor));
            let elements = constant.ok_or_else(|| format!(" has a computed `{}`", self.graph.value(value).name))?;
            Ok::<_, String>((self.graph.value(value).name.clone(), elements.to_vec()))
        };
        let (weight, bias) = (parameter(node.inputs[1])?, parameter(node.inputs[2])?);
        let mut convolution = Convolution::new(node.name.clone(), weight, bias, conv.geometry.clone());
        convolution.activation = conv.epilogue.activation;
        Ok(convolution)
    }
}

fn step_output(step: &mut Step) -> &mut MapId {
    match step {
        Step::Convolve { output, .. }
        | Step::Activate { output, .. }
        | Step::Add { output, .. }
        | Step::Concat { output, .. }
        | Step::MaxPool { output, .. }
        | Step::Enlarge { output, .. }
        | Step::GlobalAverage { output, .. } => output,
    }
}
