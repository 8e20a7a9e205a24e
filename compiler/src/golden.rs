//! Golden values: what the interpreter says every layer of a plan computes from a known input.

use crate::interp;
use crate::ir::{Binary, DType, Data, Graph, Node, Op, Store, Tensor, ValueId};
use crate::plan;
use peristyle_runtime::engine;
use peristyle_runtime::engine::golden::{Golden, Values};

/// Largest difference of float layers, relative to their largest magnitude: the bound that compiled float networks are
/// tested with.
const ROUNDED: f32 = 2e-5;

/// The same behind a quantisation of rounded values, where a last bit can become a whole step.
const REQUANTISED: f32 = 0.02;

/// How far a compiled value may be from the interpreter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Not a bit.
    Exact,
    /// By the order of float additions.
    Rounded,
    /// By that, quantised.
    Requantised,
}

/// Runs the golden input through the interpreter and encodes what every layer of the graph's plan must compute.
///
/// # Errors
/// When an operator has no result on the golden input.
pub fn bake(graph: &Graph) -> Result<Vec<u8>, interp::Error> {
    let inputs: Vec<Tensor> = graph.inputs.iter().map(|&input| golden_input(graph, input)).collect();
    let (layers, _) = trace(graph, &inputs)?;
    Ok(Golden::encode(&layers))
}

/// The same for inputs that the answers then carry with them; returns the outputs too.
///
/// # Errors
/// As for [`bake`].
pub fn bake_on(graph: &Graph, inputs: &[Tensor]) -> Result<(Vec<u8>, Vec<Tensor>), interp::Error> {
    let (layers, outputs) = trace(graph, inputs)?;
    let carried: Vec<Values> = inputs.iter().filter_map(values).collect();
    Ok((Golden::encode_on(&carried, &layers), outputs))
}

/// What every layer of the graph's plan must compute from inputs, and the outputs.
fn trace(graph: &Graph, inputs: &[Tensor]) -> Result<(Vec<Golden>, Vec<Tensor>), interp::Error> {
    let written = plan::written_values(graph);
    let trust = trust(graph);
    let mut golden: Vec<Option<Golden>> = vec![None; graph.values.len()];
    let mut note = |value: ValueId, tensor: &Tensor| {
        if written.contains(&value)
            && let Some(values) = values(tensor)
        {
            golden[value.index()] = Some(match trust[value.index()] {
                Trust::Exact => Golden::exact(&values),
                Trust::Rounded => Golden::close(&values, ROUNDED),
                Trust::Requantised => Golden::close(&values, REQUANTISED),
            });
        }
    };
    graph.inputs.iter().zip(inputs).for_each(|(&input, tensor)| note(input, tensor));
    let outputs = interp::run_traced(graph, inputs, &mut |node, results| {
        node.outputs.iter().zip(results).for_each(|(&value, tensor)| note(value, tensor));
    })?;
    let of_layer = |value: &ValueId| golden[value.index()].clone().unwrap_or(Golden::Unknown);
    Ok((written.iter().map(of_layer).collect(), outputs))
}

fn golden_input(graph: &Graph, input: ValueId) -> Tensor {
    let ty = graph.ty(input);
    let dtype = if ty.dtype == DType::U8 { engine::DType::U8 } else { engine::DType::F32 };
    let data = match Values::input(dtype, ty.len()) {
        Values::F32(values) => Data::F32(values),
        Values::U8(values) => Data::U8(values),
    };
    Tensor::new(ty.shape.clone(), data)
}

fn values(tensor: &Tensor) -> Option<Values> {
    match &tensor.data {
        Data::F32(values) => Some(Values::F32(values.clone())),
        Data::U8(values) => Some(Values::U8(values.clone())),
        _ => None,
    }
}

/// How far every value of a graph may be from the interpreter's.
fn trust(graph: &Graph) -> Vec<Trust> {
    let mut trust = vec![Trust::Exact; graph.values.len()];
    for node in &graph.nodes {
        let read = node.inputs.iter().map(|input| trust[input.index()]).max().unwrap_or(Trust::Exact);
        let result = read.max(own(node));
        for (at, &output) in node.outputs.iter().enumerate() {
            trust[output.index()] = match (result, quantises(node, at)) {
                (Trust::Exact, _) => Trust::Exact,
                (_, true) => Trust::Requantised,
                (result, false) => result,
            };
        }
    }
    trust
}

/// What a node adds by its own arithmetic.
fn own(node: &Node) -> Trust {
    match &node.op {
        Op::Conv(conv) if conv.quant.is_none() => Trust::Rounded,
        Op::MatMul | Op::Softmax { .. } | Op::GlobalAveragePool | Op::AveragePool { .. } => Trust::Rounded,
        Op::Binary(Binary::Pow) => Trust::Rounded,
        _ => Trust::Exact,
    }
}

fn quantises(node: &Node, output: usize) -> bool {
    match &node.op {
        Op::Quantize(_) => true,
        Op::Conv(conv) => matches!(conv.epilogue.stores.get(output), Some(Store::U8 { .. })),
        _ => false,
    }
}
