//! Turns the ways ONNX writes a quantised convolution into [`Op::Conv`] with [`ConvQuant`].

use super::rewrite::{Uses, per_channel, until_stable};
use super::{Error, Report};
use crate::ir::{
    Binary, Conv, ConvGeometry, ConvQuant, DType, Data, Epilogue, Graph, Node, Op, Quantization, Tensor, Type, ValueId,
};

/// Folds `Conv` of `Dequantize`s and `ConvInteger` chains.
///
/// - `Conv(Dequantize(x), Dequantize(w), bias)` with per-tensor `u8` activations runs on integers, with the product
///   of both scales rounded to `f32` once. The sum over channels is then exact where the float convolution rounds.
/// - `ConvInteger`, an optional `Add` of an `i32` bias, and `Cast` become one convolution of scale 1; the `Mul` that
///   follows is folded by [`fold_affine`](super::fold_affine::fold_affine), without any change of result.
///
/// Weights are stored as `i8` without a zero point. Where subtracting the zero point leaves the range of `i8`, where
/// activations are quantised per channel, or arrive as `i8` from outside the graph, the convolution runs in `f32` on
/// dequantised operands.
pub fn fold_quantization(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.quantized_convs += until_stable(graph, |graph, uses, n| Ok(fold_dequantized(graph, uses, n)))?;
    until_stable(graph, |graph, uses, n| fold_integer(graph, uses, n, report))?;
    Ok(())
}

/// `Conv(Dequantize(x), Dequantize(w), bias)`.
fn fold_dequantized(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let node = &graph.nodes[n];
    let Op::Conv(conv) = &node.op else { return false };
    let dequantized = |v: ValueId| -> Option<(ValueId, &Quantization)> {
        let producer = &graph.nodes[uses.producer(v)?];
        let Op::Dequantize(q) = &producer.op else { return None };
        Some((producer.inputs[0], q))
    };
    let (Some((x, x_quant)), Some((w, w_quant))) = (dequantized(node.inputs[0]), dequantized(node.inputs[1])) else {
        return false;
    };
    let Some((x_scale, x_zero)) = x_quant.as_per_tensor().filter(|_| x_quant.dtype == DType::U8) else { return false };
    let Some(tensor) = graph.constant(w) else { return false };
    let outputs = tensor.shape[0];
    let along_outputs = w_quant.scale.len() == 1 || (w_quant.axis == 0 && w_quant.scale.len() == outputs);
    let (true, Some(weight)) = (along_outputs, centred_weight(tensor, &w_quant.zero)) else { return false };
    let scale: Vec<f32> = broadcast(&w_quant.scale, outputs).iter().map(|w_scale| x_scale * w_scale).collect();
    if !scale.iter().all(|s| s.is_finite() && *s > 0.0) {
        return false;
    }
    let mut conv = conv.clone();
    let x_zero = u8::try_from(x_zero).expect("the zero point of a u8 map is a u8");
    conv.quant = Some(ConvQuant { x_zero, scale, acc_bias: vec![0; outputs] });
    let name = graph.value(w).name.clone();
    let weight = graph.add_constant(name, weight);
    graph.nodes[n].op = Op::Conv(conv);
    graph.nodes[n].inputs[0] = x;
    graph.nodes[n].inputs[1] = weight;
    true
}

/// `Cast(ConvInteger(x, w))` or `Cast(Add(ConvInteger(x, w), bias))`.
fn fold_integer(graph: &mut Graph, uses: &Uses, n: usize, report: &mut Report) -> Result<bool, Error> {
    let node = &graph.nodes[n];
    let Op::ConvInteger { geometry, x_zero, w_zero } = node.op.clone() else { return Ok(false) };
    let unsupported = |why| Error::IntegerConv { node: node.name.clone(), why };
    let (x, w) = (node.inputs[0], node.inputs[1]);
    let tensor = graph.constant(w).ok_or_else(|| unsupported("its weight is not constant"))?;
    let outputs = tensor.shape[0];

    let reader = |v: ValueId| uses.sole_consumer(v).map(|r| (r, &graph.nodes[r]));
    let not_cast = || unsupported("its i32 result is used without conversion to f32");
    let (mut last, mut reading) = reader(node.outputs[0]).ok_or_else(not_cast)?;
    let mut acc_bias = vec![0; outputs];
    if matches!(reading.op, Op::Binary(Binary::Add)) {
        let addend = if reading.inputs[0] == node.outputs[0] { reading.inputs[1] } else { reading.inputs[0] };
        acc_bias = per_channel(graph, addend, outputs, Tensor::as_i32)
            .ok_or_else(|| unsupported("the bias added to it is not one constant per output channel"))?;
        (last, reading) = reader(reading.outputs[0]).ok_or_else(not_cast)?;
    }
    if !matches!(reading.op, Op::Cast(DType::F32)) {
        return Err(not_cast());
    }

    let weight = centred_weight(tensor, &w_zero).filter(|_| graph.ty(x).dtype == DType::U8);
    let name = node.name.clone();
    let result = std::mem::take(&mut graph.nodes[last].outputs);
    let conv = match weight {
        Some(weight) => {
            report.quantized_convs += 1;
            let x_zero = u8::try_from(x_zero).expect("the zero point of a u8 map is a u8");
            let quant = ConvQuant { x_zero, scale: vec![1.0; outputs], acc_bias };
            integer_conv(graph, name, geometry, quant, [x, w], weight)
        }
        None => float_conv(graph, name, geometry, (x_zero, &w_zero), [x, w], &acc_bias),
    };
    graph.nodes[n] = Node { outputs: result, ..conv };
    graph.nodes.remove(last);
    Ok(true)
}

fn integer_conv(
    graph: &mut Graph,
    name: String,
    geometry: ConvGeometry,
    quant: ConvQuant,
    [x, w]: [ValueId; 2],
    weight: Tensor,
) -> Node {
    let outputs = weight.shape[0];
    let weight = graph.add_constant(graph.value(w).name.clone(), weight);
    let bias = graph.add_constant(format!("{name}.bias"), Tensor::f32([outputs], vec![0.0; outputs]));
    let op = Op::Conv(Conv { geometry, quant: Some(quant), epilogue: Epilogue::default() });
    Node { name, op, inputs: vec![x, weight, bias], outputs: Vec::new() }
}

fn float_conv(
    graph: &mut Graph,
    name: String,
    geometry: ConvGeometry,
    (x_zero, w_zero): (i32, &[i32]),
    [x, w]: [ValueId; 2],
    acc_bias: &[i32],
) -> Node {
    let x_ty = graph.ty(x).clone();
    let quantization = Quantization::per_tensor(1.0, x_zero, x_ty.dtype);
    let x = graph.add_node(
        format!("{name}.dequantize"),
        Op::Dequantize(quantization),
        vec![x],
        Type::new(DType::F32, x_ty.shape),
    );
    let tensor = graph.constant(w).expect("checked by the caller").clone();
    let weight = minus_zero(&tensor, w_zero).into_iter().map(|w| w as f32).collect();
    let weight = graph.add_constant(graph.value(w).name.clone(), Tensor::f32(tensor.shape.clone(), weight));
    let bias = Tensor::f32([acc_bias.len()], acc_bias.iter().map(|&b| b as f32).collect());
    let bias = graph.add_constant(format!("{name}.bias"), bias);
    let op = Op::Conv(Conv { geometry, quant: None, epilogue: Epilogue::default() });
    Node { name, op, inputs: vec![x, weight, bias], outputs: Vec::new() }
}

/// The weight with its zero points subtracted, when every element still is an `i8`.
fn centred_weight(weight: &Tensor, zero: &[i32]) -> Option<Tensor> {
    if !matches!(weight.data, Data::I8(_) | Data::U8(_)) {
        return None;
    }
    let elements: Option<Vec<i8>> = minus_zero(weight, zero).into_iter().map(|w| i8::try_from(w).ok()).collect();
    Some(Tensor::new(weight.shape.clone(), Data::I8(elements?)))
}

fn minus_zero(weight: &Tensor, zero: &[i32]) -> Vec<i64> {
    let elements = weight.to_i64s().expect("a quantised weight holds integers");
    let per_output = (elements.len() / weight.shape[0].max(1)).max(1);
    let zero = broadcast(zero, weight.shape[0]);
    elements.iter().enumerate().map(|(i, &w)| w - i64::from(zero[i / per_output])).collect()
}

fn broadcast<T: Copy>(elements: &[T], count: usize) -> Vec<T> {
    if elements.len() == 1 { vec![elements[0]; count] } else { elements.to_vec() }
}
