//! The reference interpreter: the oracle of every test.
//!
//! It computes each operator as [`Op`] documents it and no faster than that takes. Integer results are exact, and
//! the functions of an epilogue are those of [`peristyle_runtime::simd::math`], so compiled int8 code can be
//! compared with it bit for bit. Float convolutions add in `f64` and round once; compiled code, which adds in `f32`,
//! is compared with a bound.

mod conv;
mod convolve;
mod elementwise;
mod error;
mod head;
mod layout;
mod linear;
mod pool;
mod quantized;
mod strided;

pub use error::Error;

use crate::ir::{Graph, Node, Op, Tensor, Type, ValueId, verify};
use std::sync::Arc;

/// Runs a graph that satisfies [`verify`](verify::verify).
///
/// # Errors
/// When the inputs are not those of the graph, or an operator has no result (integer overflow, division by zero).
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
    run_traced(graph, inputs, &mut |_, _| ())
}

/// [`run`], showing every node's outputs to `observe` as soon as they are known.
///
/// # Errors
/// As [`run`].
pub fn run_traced(
    graph: &Graph,
    inputs: &[Tensor],
    observe: &mut dyn FnMut(&Node, &[Tensor]),
) -> Result<Vec<Tensor>, Error> {
    let mut values = bind_inputs(graph, inputs)?;
    let last_reads = last_reads(graph);
    for (index, node) in graph.nodes.iter().enumerate() {
        let at_node =
            |fault: Error| Error::Node { name: node.name.clone(), op: node.op.name(), fault: fault.to_string() };
        let operands: Vec<Arc<Tensor>> = node.inputs.iter().map(|&id| read(&values, id)).collect::<Result<_, _>>()?;
        let operands: Vec<&Tensor> = operands.iter().map(Arc::as_ref).collect();
        let types: Vec<Type> = node.outputs.iter().map(|&id| graph.ty(id).clone()).collect();
        let results = eval_node(&node.op, &operands, &types).map_err(at_node)?;
        observe(node, &results);
        for (&id, result) in node.outputs.iter().zip(results) {
            values[id.index()] = Some(Arc::new(result));
        }
        for &id in node.inputs.iter().chain(&node.outputs) {
            if last_reads[id.index()] <= Some(index) {
                values[id.index()] = None;
            }
        }
    }
    graph.outputs.iter().map(|&id| read(&values, id).map(Arc::unwrap_or_clone)).collect()
}

/// Evaluates one operator. `output_types` are the types of its results; they settle the shape of
/// [`Op::Reshape`] and [`Op::Slice`], and are checked for every other operator.
///
/// # Errors
/// When the types do not fit the operator, or it has no result (integer overflow, division by zero).
pub fn eval_node(op: &Op, inputs: &[&Tensor], output_types: &[Type]) -> Result<Vec<Tensor>, Error> {
    let input_types: Vec<Type> = inputs.iter().map(|t| t.ty()).collect();
    verify::check(op, &input_types.iter().collect::<Vec<_>>(), &output_types.iter().collect::<Vec<_>>())
        .map_err(Error::Type)?;
    let (x, ty) = (inputs[0], &output_types[0]);
    let data = match op {
        Op::Conv(conv) => return conv::conv(conv, inputs, output_types),
        Op::ConvInteger { geometry, x_zero, w_zero } => {
            conv::conv_integer(geometry, *x_zero, w_zero, x, inputs[1], ty)?
        }
        Op::BatchNorm { epsilon } => elementwise::batch_norm(*epsilon, inputs),
        Op::Activation(activation) => elementwise::activation(*activation, x),
        Op::Binary(binary) => elementwise::binary(*binary, x, inputs[1], ty)?,
        Op::Quantize(quantization) => quantized::quantize(quantization, x),
        Op::Dequantize(quantization) => quantized::dequantize(quantization, x),
        Op::Cast(dtype) => quantized::cast(*dtype, x),
        Op::MaxPool(pool) => pool::max_pool(pool, x, ty),
        Op::AveragePool { pool, count_include_pad } => pool::average_pool(pool, *count_include_pad, x, ty),
        Op::GlobalAveragePool => pool::global_average_pool(x),
        Op::ResizeNearest { scale } => layout::resize_nearest(*scale, x, ty),
        Op::Concat { axis } => layout::concat(*axis, inputs),
        Op::Slice { starts, steps } => layout::slice(starts, steps, x, ty),
        Op::Reshape => x.data.clone(),
        Op::Transpose { perm } => layout::transpose(perm, x, ty),
        Op::MatMul => linear::mat_mul(x, inputs[1], ty),
        Op::Softmax { axis } => linear::softmax(*axis, x),
        Op::DetectHead(head) => head::detect_head(head, inputs, ty),
    };
    Ok(vec![Tensor::new(ty.shape.clone(), data)])
}

/// The values known before the first node: constants and graph inputs.
fn bind_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Option<Arc<Tensor>>>, Error> {
    if inputs.len() != graph.inputs.len() {
        return Err(Error::InputCount { expected: graph.inputs.len(), got: inputs.len() });
    }
    let mut values: Vec<Option<Arc<Tensor>>> = graph.values.iter().map(|v| v.constant.clone()).collect();
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        let value = graph.value(id);
        if value.ty != tensor.ty() {
            let (name, expected) = (value.name.clone(), value.ty.clone());
            return Err(Error::InputType { name, expected, got: tensor.ty() });
        }
        values[id.index()] = Some(Arc::new(tensor.clone()));
    }
    Ok(values)
}

fn read(values: &[Option<Arc<Tensor>>], id: ValueId) -> Result<Arc<Tensor>, Error> {
    values.get(id.index()).cloned().flatten().ok_or(Error::NoSource(id))
}

/// For every value the last node that reads it; graph outputs are read after every node, unread values never.
fn last_reads(graph: &Graph) -> Vec<Option<usize>> {
    let mut last = vec![None; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for &id in &node.inputs {
            last[id.index()] = Some(index);
        }
    }
    for &id in &graph.outputs {
        last[id.index()] = Some(graph.nodes.len());
    }
    last
}
