//! The dense model as sparsification sees it: a float graph, and its convolutions by the names of the file.

use super::Error;
use crate::ir::{Activation, ConvGeometry, DType, Graph, Op, Quantization, Store};
use crate::onnx::{self, ImportOptions};
use crate::passes::{PASSES, Report};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The passes that leave every convolution of the file where it is, with batch normalisation in its weights.
const FLOAT_PASSES: &[&str] = &[
    "fold-constants",
    "simplify-layout",
    "drop-dead",
    "share-equal",
    "fold-affine",
    "detect-head",
    "recognise-activation",
];

/// A model to make sparse.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Where it was read from.
    pub path: PathBuf,
    /// The file.
    pub bytes: Vec<u8>,
    /// The network.
    pub graph: Graph,
    /// Its convolutions, in order.
    pub layers: Vec<Layer>,
    /// Height and width of its input.
    pub input: [usize; 2],
}

/// A convolution of the file.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Index in [`Graph::nodes`].
    pub node: usize,
    /// Name of the node.
    pub name: String,
    /// Name of its weight.
    pub weight_name: String,
    /// Name of the value it makes.
    pub output: String,
    /// Window geometry.
    pub geometry: ConvGeometry,
    /// Outputs, inputs per group, height and width of the weight.
    pub shape: [usize; 4],
    /// The weight.
    pub weight: Vec<f32>,
    /// The bias.
    pub bias: Vec<f32>,
}

impl Layer {
    /// Weights.
    pub fn weights(&self) -> usize {
        self.weight.len()
    }

    /// Weights of an output channel.
    pub fn inputs(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Whether zeros can be placed in blocks of so many consecutive input channels.
    pub fn divides_into(&self, block: usize) -> bool {
        self.geometry.group == 1 && self.shape[1].is_multiple_of(block)
    }

    /// The place in a row of the weight of every column in an order in which blocks of consecutive input channels lie
    /// together.
    pub fn column_order(&self, block: usize) -> Vec<usize> {
        let [_, channels, height, width] = self.shape;
        let window = height * width;
        let blocks = (0..channels / block).flat_map(|b| (0..window).map(move |k| (b, k)));
        blocks.flat_map(|(b, k)| (0..block).map(move |i| (b * block + i) * window + k)).collect()
    }
}

impl Dense {
    /// Reads a model; `imgsz` is for one that leaves height and width open.
    ///
    /// # Errors
    /// When it cannot be read or compiled, is quantised already, takes no images, or has no convolutions.
    pub fn open(path: &Path, imgsz: Option<[usize; 2]>) -> Result<Self, Error> {
        let read = |source| Error::Model(crate::Error::Read { path: path.to_path_buf(), source });
        let import = |source| Error::Model(crate::Error::Import { path: path.to_path_buf(), source });
        let unsuitable = |reason: &str| Error::Unsuitable { path: path.to_path_buf(), reason: reason.to_owned() };
        let bytes = std::fs::read(path).map_err(read)?;
        let model = onnx::decode(&bytes).map_err(import)?;
        let replaceable: HashSet<String> = onnx::rewrite::convolutions(&model).map_err(import)?.into_iter().collect();
        let base_dir = path.parent().map(Path::to_path_buf);
        let mut graph = onnx::import(&model, &ImportOptions { imgsz, base_dir }).map_err(import)?;
        if graph.nodes.iter().any(|node| quantised(&node.op)) {
            return Err(unsuitable("it is quantised already; pass the float model it was made from"));
        }
        let input = match (&graph.inputs[..], graph.inputs.first().map(|&input| graph.ty(input))) {
            ([_], Some(ty)) if ty.dtype == DType::F32 && ty.shape.len() == 4 && ty.shape[1] == 3 => {
                [ty.shape[2], ty.shape[3]]
            }
            _ => return Err(unsuitable("its input is not one float picture [1, 3, height, width]")),
        };
        let mut report = Report::default();
        for pass in PASSES.iter().filter(|pass| FLOAT_PASSES.contains(&pass.name)) {
            let run = (pass.rewrite)(&mut graph, &mut report);
            run.map_err(|source| Error::Model(crate::Error::Passes { path: path.to_path_buf(), source }))?;
        }
        let layers: Vec<Layer> = (0..graph.nodes.len())
            .filter_map(|node| layer(&graph, node))
            .filter(|layer| replaceable.contains(&layer.name))
            .collect();
        if layers.is_empty() {
            return Err(unsuitable("it has no convolutions; only convolutional networks can be sparsified"));
        }
        Ok(Dense { path: path.to_path_buf(), bytes, graph, layers, input })
    }
}

fn quantised(op: &Op) -> bool {
    let quantised = |q: &Quantization| q.dtype != DType::F32;
    match op {
        Op::ConvInteger { .. } => true,
        Op::Quantize(q) | Op::Dequantize(q) => quantised(q),
        Op::Conv(conv) => conv.quant.is_some(),
        _ => false,
    }
}

fn layer(graph: &Graph, n: usize) -> Option<Layer> {
    let node = &graph.nodes[n];
    let Op::Conv(conv) = &node.op else { return None };
    let plain = conv.epilogue.activation == Activation::Identity
        && conv.epilogue.residual.is_none()
        && conv.epilogue.stores == [Store::F32];
    let (weight, bias) = (graph.constant(node.inputs[1])?, graph.constant(node.inputs[2])?);
    let shape: [usize; 4] = weight.shape.as_slice().try_into().ok().filter(|_| plain)?;
    Some(Layer {
        node: n,
        name: node.name.clone(),
        weight_name: graph.value(node.inputs[1]).name.clone(),
        output: graph.value(node.outputs[0]).name.clone(),
        geometry: conv.geometry.clone(),
        shape,
        weight: weight.as_f32()?.to_vec(),
        bias: bias.as_f32()?.to_vec(),
    })
}
