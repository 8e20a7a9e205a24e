//! Running a float graph node by node over many images at once, so that a convolution can be changed when its inputs are
//! known and before its results are.

use super::network::activate;
use super::product::{Rows, RowsMut, multiply};
use super::prune::moments::{Map, columns};
use crate::interp;
use crate::ir::{Activation, ConvGeometry, Graph, Op, Tensor, ValueId};
use rayon::prelude::*;
use std::sync::Arc;

/// Output pixels of a convolution that are computed together.
const PIXELS: usize = 2048;

/// Weight and bias of a convolution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// The weight, row-major.
    pub weight: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
}

/// A graph on its way through some images.
#[derive(Clone)]
pub struct Walk<'g> {
    graph: &'g Graph,
    /// For every value that is known and still needed, one tensor an image.
    values: Vec<Option<Vec<Arc<Tensor>>>>,
    last_reads: Vec<usize>,
}

impl<'g> Walk<'g> {
    /// Before the first node. Every image is the graph's one input.
    pub fn new(graph: &'g Graph, images: &[Arc<Tensor>]) -> Self {
        let mut values = vec![None; graph.values.len()];
        values[graph.inputs[0].index()] = Some(images.to_vec());
        let mut last_reads = vec![0; graph.values.len()];
        for (n, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|id| last_reads[id.index()] = n);
        }
        graph.outputs.iter().for_each(|id| last_reads[id.index()] = usize::MAX);
        Self { graph, values, last_reads }
    }

    /// What is known of a value, one tensor an image.
    pub fn value(&self, id: ValueId) -> &[Arc<Tensor>] {
        self.values[id.index()].as_deref().expect("the value is known and still needed")
    }

    /// What node `n`, a convolution, will see.
    pub fn input_of(&self, n: usize) -> &[Arc<Tensor>] {
        self.value(self.graph.nodes[n].inputs[0])
    }

    /// Runs node `n`.
    ///
    /// # Errors
    /// When a node has no result.
    pub fn step(&mut self, n: usize) -> Result<(), interp::Error> {
        self.step_with(n, None, None)
    }

    /// Runs node `n`, a convolution, with other parameters.
    ///
    /// # Errors
    /// When a node has no result.
    pub fn step_as(&mut self, n: usize, parameters: &Parameters) -> Result<(), interp::Error> {
        self.step_with(n, Some(parameters), None)
    }

    /// Runs node `n`, a convolution, with other parameters on other inputs.
    ///
    /// # Errors
    /// When a node has no result.
    pub fn step_on(&mut self, n: usize, inputs: &[Arc<Tensor>], parameters: &Parameters) -> Result<(), interp::Error> {
        self.step_with(n, Some(parameters), Some(inputs))
    }

    fn step_with(
        &mut self,
        n: usize,
        parameters: Option<&Parameters>,
        inputs: Option<&[Arc<Tensor>]>,
    ) -> Result<(), interp::Error> {
        let node = &self.graph.nodes[n];
        let types: Vec<_> = node.outputs.iter().map(|&id| self.graph.ty(id).clone()).collect();
        let images = self.values.iter().flatten().map(Vec::len).next().unwrap_or(0);
        let results: Vec<Vec<Tensor>> = (0..images)
            .into_par_iter()
            .map(|image| {
                let operands: Vec<&Tensor> = node
                    .inputs
                    .iter()
                    .enumerate()
                    .map(|(i, &id)| match (self.graph.constant(id), inputs) {
                        (Some(constant), _) => constant.as_ref(),
                        (None, Some(inputs)) if i == 0 => inputs[image].as_ref(),
                        (None, _) => self.value(id)[image].as_ref(),
                    })
                    .collect();
                match &node.op {
                    Op::Conv(conv) if conv.geometry.group == 1 && conv.quant.is_none() => {
                        let constant = |i: usize| operands[i].as_f32().unwrap_or_default();
                        let (weight, bias) = match parameters {
                            Some(p) => (p.weight.as_slice(), p.bias.as_slice()),
                            None => (constant(1), constant(2)),
                        };
                        Ok(vec![convolved(operands[0], weight, bias, &conv.geometry, &types[0].shape)])
                    }
                    Op::Conv(_) if parameters.is_some() => {
                        let p = parameters.expect("just checked");
                        let weight = Tensor::f32(operands[1].shape.clone(), p.weight.clone());
                        let bias = Tensor::f32(operands[2].shape.clone(), p.bias.clone());
                        interp::eval_node(&node.op, &[operands[0], &weight, &bias], &types)
                    }
                    Op::Activation(Activation::Silu) => {
                        let mut y = operands[0].as_f32().unwrap_or_default().to_vec();
                        activate(Activation::Silu, &mut y, &mut []);
                        Ok(vec![Tensor::f32(operands[0].shape.clone(), y)])
                    }
                    op => interp::eval_node(op, &operands, &types),
                }
            })
            .collect::<Result<_, _>>()?;
        let mut of_all: Vec<Vec<Arc<Tensor>>> = vec![Vec::with_capacity(images); node.outputs.len()];
        for outputs in results {
            of_all.iter_mut().zip(outputs).for_each(|(all, output)| all.push(Arc::new(output)));
        }
        for (&id, all) in node.outputs.iter().zip(of_all) {
            self.values[id.index()] = Some(all);
        }
        for &id in node.inputs.iter().chain(&node.outputs) {
            if self.last_reads[id.index()] <= n {
                self.values[id.index()] = None;
            }
        }
        Ok(())
    }
}

/// A tensor of one image as a map.
pub fn map_of(tensor: &Tensor) -> Map<'_> {
    let [channels, height, width] = [1, 2, 3].map(|axis| tensor.shape[axis]);
    Map { elements: tensor.as_f32().unwrap_or_default(), shape: [channels, height, width] }
}

/// A float convolution without groups.
fn convolved(x: &Tensor, weight: &[f32], bias: &[f32], geometry: &ConvGeometry, shape: &[usize]) -> Tensor {
    let (outputs, out) = (shape[1], [shape[2], shape[3]]);
    let inputs = weight.len() / outputs;
    // The constant 1 at the end of a window meets the bias.
    let rows: Vec<f32> =
        weight.chunks_exact(inputs).zip(bias).flat_map(|(row, b)| row.iter().copied().chain([*b])).collect();
    let rows = Rows::dense(&rows, outputs, inputs + 1);
    let total = out[0] * out[1];
    let mut y = vec![0.0f32; outputs * total];
    let lines = (PIXELS / out[1]).max(1);
    for from in (0..out[0]).step_by(lines) {
        let to = (from + lines).min(out[0]);
        let x = columns(map_of(x), geometry, out[1], [from, to]);
        let pixels = (to - from) * out[1];
        let part = RowsMut { elements: &mut y[from * out[1]..], rows: outputs, columns: pixels, stride: total };
        multiply(part, rows, Rows::dense(&x, inputs + 1, pixels));
    }
    Tensor::f32(shape, y)
}
