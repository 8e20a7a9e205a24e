//! A model with other convolutions: weights and biases replaced, quantisation added.
//!
//! Everything else stays as it is in the file, byte for byte, understood or not: metadata, producer, names, every other
//! node. What nothing reads any more is left out, and tensors of external files move into the model.

mod wire;

use super::error::Error;
use super::node::node_name;
use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::{ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto};
use super::{external, tensor};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use wire::{Field, fields, put};

/// Numbers of fields of the schema.
mod number {
    pub(super) const MODEL_IR_VERSION: u32 = 1;
    pub(super) const MODEL_GRAPH: u32 = 7;
    pub(super) const GRAPH_NODE: u32 = 1;
    pub(super) const GRAPH_INITIALIZER: u32 = 5;
    pub(super) const GRAPH_INPUT: u32 = 11;
    pub(super) const GRAPH_OUTPUT: u32 = 12;
    pub(super) const GRAPH_VALUE_INFO: u32 = 13;
    pub(super) const GRAPH_SPARSE_INITIALIZER: u32 = 15;
    pub(super) const NODE_INPUT: u32 = 1;
    pub(super) const NODE_OUTPUT: u32 = 2;
}

/// The oldest version of the format in which constants need not be declared as inputs.
const FREE_CONSTANTS: i64 = 4;

/// A convolution as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewConv {
    /// Name of the node, or of its first output when it has none.
    pub node: String,
    /// The value that holds its result from now on. When another node made it (a batch normalisation that the new
    /// weights contain), that node goes.
    pub output: String,
    /// Extents of the weight: outputs, inputs per group, height, width.
    pub shape: [usize; 4],
    /// The weight; with quantisation, what the stored integers stand for.
    pub weight: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
    /// How input and weight are quantised.
    pub quantization: Option<NewQuantization>,
}

/// Quantisation of a convolution per tensor: the input as `u8`, the weight as `i8` around zero.
#[derive(Clone, Debug, PartialEq)]
pub struct NewQuantization {
    /// Scale of the input.
    pub input_scale: f32,
    /// Zero point of the input.
    pub input_zero: u8,
    /// Scale of the weight.
    pub weight_scale: f32,
    /// The weight in units of its scale.
    pub stored: Vec<i8>,
}

/// The names of the nodes whose convolutions can be replaced: `Conv`, each named once, with a float weight.
///
/// # Errors
/// When two of them have one name.
pub fn convolutions(model: &ModelProto) -> Result<Vec<String>, Error> {
    let graph = model.graph.as_ref().ok_or(Error::NoGraph)?;
    let names: Vec<String> = graph.node.iter().filter(|n| is_conv(n)).map(node_name).collect();
    let mut known = HashSet::new();
    match names.iter().find(|name| !known.insert(name.as_str())) {
        Some(twice) => Err(Error::Graph(format!("two convolutions are named `{twice}`"))),
        None => Ok(names),
    }
}

fn is_conv(node: &NodeProto) -> bool {
    node.op_type() == "Conv" && matches!(node.domain(), "" | "ai.onnx")
}

/// The model in `bytes` with `convs` in place of the convolutions of their names. `base_dir` is the folder of its
/// external data.
///
/// # Errors
/// When the bytes are no model, a convolution is not there, or external data cannot be read.
pub fn rewrite(bytes: &[u8], base_dir: Option<&Path>, convs: &[NewConv]) -> Result<Vec<u8>, Error> {
    let model_fields = fields(bytes)?;
    // A field that occurs again continues the first.
    let graph: Vec<u8> =
        model_fields.iter().filter(|f| f.number == number::MODEL_GRAPH).flat_map(|f| f.contents).copied().collect();
    let graph = rewrite_graph(&graph, base_dir, convs)?;
    let version = ModelProto::decode(bytes)?.ir_version().max(FREE_CONSTANTS);
    let mut model = Vec::with_capacity(bytes.len() + graph.len());
    encode_key(number::MODEL_IR_VERSION, WireType::Varint, &mut model);
    encode_varint(version as u64, &mut model);
    let mut written = false;
    for field in &model_fields {
        match field.number {
            number::MODEL_IR_VERSION => {}
            number::MODEL_GRAPH if written => {}
            number::MODEL_GRAPH => {
                put(&mut model, number::MODEL_GRAPH, &graph);
                written = true;
            }
            _ => model.extend_from_slice(field.whole),
        }
    }
    Ok(model)
}

/// A node on its way into the new graph.
struct Draft<'b> {
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// The rest of its fields.
    rest: Vec<&'b [u8]>,
    /// The same of a node that was not in the model.
    made: Option<NodeProto>,
}

/// The graph while convolutions are replaced.
struct Rewriter<'b> {
    nodes: Vec<Draft<'b>>,
    initializers: Vec<TensorProto>,
    names: HashSet<String>,
    /// Quantised and dequantised again, by the value that was quantised.
    quantized: HashMap<String, String>,
}

fn rewrite_graph(graph: &[u8], base_dir: Option<&Path>, convs: &[NewConv]) -> Result<Vec<u8>, Error> {
    let graph_fields = fields(graph)?;
    let of = |number: u32| graph_fields.iter().filter(move |f| f.number == number);
    let decoded = of(number::GRAPH_NODE).map(|f| NodeProto::decode(f.contents)).collect::<Result<Vec<_>, _>>()?;
    let stored = of(number::GRAPH_INITIALIZER);
    let stored = stored.map(|f| TensorProto::decode(f.contents)).collect::<Result<Vec<_>, _>>()?;
    let sparse = of(number::GRAPH_SPARSE_INITIALIZER);
    let sparse = sparse.map(|f| SparseTensorProto::decode(f.contents)).collect::<Result<Vec<_>, _>>()?;

    let mut by_name: HashMap<String, &NewConv> = convs.iter().map(|conv| (conv.node.clone(), conv)).collect();
    let replaced = replaced_tensors(&decoded, &stored, &by_name)?;
    let replaced_outputs: HashSet<&str> = convs.iter().map(|conv| conv.output.as_str()).collect();
    let mut rewriter = Rewriter {
        nodes: Vec::new(),
        initializers: Vec::new(),
        names: decoded.iter().flat_map(|n| n.input.iter().chain(&n.output).cloned()).collect(),
        quantized: HashMap::new(),
    };
    rewriter.names.extend(stored.iter().map(|t| t.name().to_owned()));
    rewriter.names.retain(|name| !replaced.contains(name.as_str()));
    for (field, node) in of(number::GRAPH_NODE).zip(&decoded) {
        let draft = draft(field, node)?;
        match by_name.remove(&node_name(node)).filter(|_| is_conv(node)) {
            Some(conv) => rewriter.replace(draft, conv),
            // The convolution makes this value now.
            None if node.output.iter().any(|o| replaced_outputs.contains(o.as_str())) => {}
            None => rewriter.nodes.push(draft),
        }
    }
    if let Some(missing) = by_name.keys().min() {
        return Err(Error::Graph(format!("there is no convolution `{missing}`")));
    }

    let outputs = of(number::GRAPH_OUTPUT);
    let outputs = outputs.map(|f| ValueInfoProto::decode(f.contents)).collect::<Result<Vec<_>, _>>()?;
    let read = rewriter.keep_live(outputs.iter().map(|o| o.name().to_owned()).collect());
    let known: HashSet<&str> = rewriter
        .nodes
        .iter()
        .flat_map(|n| n.outputs.iter().map(String::as_str))
        .chain(read.iter().map(String::as_str))
        .collect();

    let mut out = Vec::with_capacity(graph.len());
    for node in &rewriter.nodes {
        put(&mut out, number::GRAPH_NODE, &node.encode());
    }
    for (field, tensor) in of(number::GRAPH_INITIALIZER).zip(&stored) {
        if replaced.contains(tensor.name()) || !read.contains(tensor.name()) {
            continue;
        }
        if tensor.data_location() == DataLocation::External {
            put(&mut out, number::GRAPH_INITIALIZER, &inlined(tensor, base_dir)?.encode_to_vec());
        } else {
            out.extend_from_slice(field.whole);
        }
    }
    for tensor in &rewriter.initializers {
        put(&mut out, number::GRAPH_INITIALIZER, &tensor.encode_to_vec());
    }
    let gone: HashSet<&str> = stored.iter().map(|t| t.name()).filter(|name| !read.contains(*name)).collect();
    let mut sparse = sparse.iter();
    for field in &graph_fields {
        let keep = match field.number {
            number::GRAPH_NODE | number::GRAPH_INITIALIZER => false,
            number::GRAPH_INPUT => !gone.contains(ValueInfoProto::decode(field.contents)?.name()),
            number::GRAPH_VALUE_INFO => known.contains(ValueInfoProto::decode(field.contents)?.name()),
            number::GRAPH_SPARSE_INITIALIZER => {
                let values = sparse.next().and_then(|s| s.values.as_ref());
                values.is_none_or(|values| read.contains(values.name()))
            }
            _ => true,
        };
        if keep {
            out.extend_from_slice(field.whole);
        }
    }
    Ok(out)
}

/// The names of the tensors that only convolutions to be replaced read, as weight or bias.
fn replaced_tensors<'m>(
    nodes: &[NodeProto],
    stored: &'m [TensorProto],
    by_name: &HashMap<String, &NewConv>,
) -> Result<HashSet<&'m str>, Error> {
    let mut weights = HashSet::new();
    let mut others = HashSet::new();
    for node in nodes {
        let kept = if is_conv(node) && by_name.contains_key(&node_name(node)) { 1 } else { node.input.len() };
        let (read, replaced) = node.input.split_at(kept.min(node.input.len()));
        others.extend(read.iter().map(String::as_str));
        weights.extend(replaced.iter().map(String::as_str));
    }
    let replaced = stored.iter().filter(|t| weights.contains(t.name()));
    if let Some(tensor) = replaced.clone().find(|t| t.data_type() != i32::from(DataType::Float)) {
        let reason = format!(
            "a weight of type {} cannot be replaced: export the model in float32, without --half",
            tensor::dtype_name(tensor.data_type())
        );
        return Err(Error::Tensor { tensor: tensor.name().to_owned(), reason });
    }
    Ok(replaced.map(|t| t.name()).filter(|name| !others.contains(name)).collect())
}

/// A node of the model.
fn draft<'b>(field: &Field<'b>, node: &NodeProto) -> Result<Draft<'b>, Error> {
    let rest = fields(field.contents)?;
    let rest = rest.iter().filter(|f| !matches!(f.number, number::NODE_INPUT | number::NODE_OUTPUT));
    Ok(Draft {
        inputs: node.input.clone(),
        outputs: node.output.clone(),
        rest: rest.map(|f| f.whole).collect(),
        made: None,
    })
}

/// A tensor of an external file with its data in the model.
fn inlined(stored: &TensorProto, base_dir: Option<&Path>) -> Result<TensorProto, Error> {
    let bytes = tensor::stored_bytes(stored)?;
    let raw = external::read(stored, bytes, base_dir)?;
    Ok(TensorProto { raw_data: Some(raw), external_data: Vec::new(), data_location: None, ..stored.clone() })
}

impl Draft<'_> {
    fn encode(&self) -> Vec<u8> {
        if let Some(made) = &self.made {
            return made.encode_to_vec();
        }
        let mut node = Vec::new();
        self.inputs.iter().for_each(|input| put(&mut node, number::NODE_INPUT, input.as_bytes()));
        self.outputs.iter().for_each(|output| put(&mut node, number::NODE_OUTPUT, output.as_bytes()));
        self.rest.iter().for_each(|field| node.extend_from_slice(field));
        node
    }
}

impl<'b> Rewriter<'b> {
    /// A name that nothing has yet.
    fn fresh(&mut self, name: String) -> String {
        let numbered = (1..).map(|n| format!("{name}_{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !self.names.contains(name));
        let free = free.expect("there are endless numbers");
        self.names.insert(free.clone());
        free
    }

    /// Stores a tensor, and returns its name.
    fn store(&mut self, name: String, data_type: DataType, dims: &[usize], raw: Vec<u8>) -> String {
        let name = self.fresh(name);
        self.initializers.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(data_type.into()),
            dims: dims.iter().map(|&d| d as i64).collect(),
            raw_data: Some(raw),
            ..TensorProto::default()
        });
        name
    }

    /// Adds a node of one output and returns the name of that.
    fn make(&mut self, op: &str, name: String, inputs: &[&str], output: String) -> String {
        let output = self.fresh(output);
        let inputs: Vec<String> = inputs.iter().map(|&i| i.to_owned()).collect();
        let node = NodeProto {
            input: inputs.clone(),
            output: vec![output.clone()],
            name: Some(name),
            op_type: Some(op.to_owned()),
            ..NodeProto::default()
        };
        self.nodes.push(Draft { inputs, outputs: node.output.clone(), rest: Vec::new(), made: Some(node) });
        output
    }

    /// Adds `conv` in place of the node `draft`.
    fn replace(&mut self, mut draft: Draft<'b>, conv: &NewConv) {
        let weight_name = draft.inputs.get(1).cloned().unwrap_or_default();
        let base = weight_name.strip_suffix(".weight").unwrap_or(&conv.node).to_owned();
        let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let weight = match &conv.quantization {
            None => self.store(format!("{base}.weight"), DataType::Float, &conv.shape, floats(&conv.weight)),
            Some(quantization) => {
                let input = self.quantized_input(&draft.inputs[0], &base, quantization);
                draft.inputs[0] = input;
                let stored = quantization.stored.iter().map(|&w| w as u8).collect();
                let stored = self.store(format!("{base}.weight.q"), DataType::Int8, &conv.shape, stored);
                let scale = floats(&[quantization.weight_scale]);
                let scale = self.store(format!("{base}.weight.scale"), DataType::Float, &[], scale);
                let zero = self.store(format!("{base}.weight.zero_point"), DataType::Int8, &[], vec![0]);
                let name = format!("{base}.weight_DequantizeLinear");
                self.make("DequantizeLinear", name, &[&stored, &scale, &zero], format!("{base}.weight.dq"))
            }
        };
        let bias = self.store(format!("{base}.bias"), DataType::Float, &[conv.bias.len()], floats(&conv.bias));
        draft.inputs.truncate(1);
        draft.inputs.extend([weight, bias]);
        draft.outputs = vec![conv.output.clone()];
        self.nodes.push(draft);
    }

    /// The value `x`, quantised and dequantised again; once for all who read it.
    fn quantized_input(&mut self, x: &str, base: &str, quantization: &NewQuantization) -> String {
        if let Some(known) = self.quantized.get(x) {
            return known.clone();
        }
        let scale = quantization.input_scale.to_le_bytes().to_vec();
        let scale = self.store(format!("{base}.input.scale"), DataType::Float, &[], scale);
        let zero = vec![quantization.input_zero];
        let zero = self.store(format!("{base}.input.zero_point"), DataType::Uint8, &[], zero);
        let name = format!("{base}.input_QuantizeLinear");
        let q = self.make("QuantizeLinear", name, &[x, &scale, &zero], format!("{base}.input.q"));
        let name = format!("{base}.input_DequantizeLinear");
        let dq = self.make("DequantizeLinear", name, &[&q, &scale, &zero], format!("{base}.input.dq"));
        self.quantized.insert(x.to_owned(), dq.clone());
        dq
    }

    /// Drops the nodes that no output depends on; returns the names of everything that is read.
    fn keep_live(&mut self, outputs: Vec<String>) -> HashSet<String> {
        let mut read: HashSet<String> = outputs.into_iter().collect();
        let mut live = vec![false; self.nodes.len()];
        // Producers stand before their readers only in a valid model, so this goes on until nothing changes.
        loop {
            let mut changed = false;
            for (node, live) in self.nodes.iter().zip(&mut live).rev() {
                if !*live && node.outputs.iter().any(|o| read.contains(o)) {
                    *live = true;
                    changed = true;
                    read.extend(node.inputs.iter().cloned());
                }
            }
            if !changed {
                break;
            }
        }
        let mut live = live.into_iter();
        self.nodes.retain(|_| live.next() == Some(true));
        read
    }
}
