//! Folds per-channel multiplications and additions into the convolution before them.

use super::rewrite::{Uses, per_channel, until_stable};
use super::{Error, Report};
use crate::ir::{
    Activation, Binary, Conv, ConvGeometry, DType, Data, Epilogue, Graph, Node, Op, Store, Tensor, ValueId,
};

/// `y = x * factor + offset`, per channel.
struct Affine {
    factor: Vec<f64>,
    offset: Vec<f64>,
}

/// Folds `BatchNorm`, and `Mul`, `Div`, `Add`, `Sub` by constants along the channel axis, into the weights, scales
/// and bias of a convolution whose only consumer they are. Arithmetic is `f64`, rounded to `f32` once.
pub fn fold_affine(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.folded_affine += until_stable(graph, |graph, uses, n| Ok(fold_into_conv(graph, uses, n)))?;
    Ok(())
}

/// Turns every `BatchNorm` that no convolution precedes into a depthwise 1x1 convolution.
pub fn lower_batch_norm(graph: &mut Graph, _: &mut Report) -> Result<(), Error> {
    for n in 0..graph.nodes.len() {
        if !matches!(graph.nodes[n].op, Op::BatchNorm { .. }) || graph.ty(graph.nodes[n].inputs[0]).shape.len() != 4 {
            continue;
        }
        let x = graph.nodes[n].inputs[0];
        let channels = graph.ty(x).shape[1];
        let affine = batch_norm(graph, &graph.nodes[n]).expect("batch normalisation has constant parameters");
        let name = graph.nodes[n].name.clone();
        let weight = Tensor::f32([channels, 1, 1, 1], affine.factor.iter().map(|&f| f as f32).collect());
        let bias = Tensor::f32([channels], affine.offset.iter().map(|&b| b as f32).collect());
        let weight = graph.add_constant(format!("{name}.weight"), weight);
        let bias = graph.add_constant(format!("{name}.bias"), bias);
        let geometry = ConvGeometry { kernel: [1, 1], stride: [1, 1], pad: [0; 4], dilation: [1, 1], group: channels };
        graph.nodes[n].op = Op::Conv(Conv { geometry, quant: None, epilogue: Epilogue::default() });
        graph.nodes[n].inputs = vec![x, weight, bias];
    }
    Ok(())
}

fn fold_into_conv(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let Some((x, affine)) = affine_of(graph, &graph.nodes[n]) else { return false };
    if uses.sole_consumer(x) != Some(n) {
        return false;
    }
    let Some(producer) = uses.producer(x) else { return false };
    let Op::Conv(conv) = &graph.nodes[producer].op else { return false };
    let plain = conv.epilogue.activation == Activation::Identity
        && conv.epilogue.residual.is_none()
        && conv.epilogue.stores == [Store::F32];
    if !plain || !scale_conv(graph, producer, &affine) {
        return false;
    }
    graph.nodes[producer].outputs = std::mem::take(&mut graph.nodes[n].outputs);
    graph.nodes.remove(n);
    true
}

/// The feature map a node reads and what it does to it, when that is affine per channel.
fn affine_of(graph: &Graph, node: &Node) -> Option<(ValueId, Affine)> {
    match node.op {
        Op::BatchNorm { .. } => Some((node.inputs[0], batch_norm(graph, node)?)),
        Op::Binary(op) => {
            let output = graph.ty(*node.outputs.first()?);
            let (DType::F32, [1, channels, _, _]) = (output.dtype, output.shape.as_slice()) else { return None };
            let constant = |v| {
                let elements = per_channel(graph, v, *channels, Tensor::as_f32)?;
                Some(elements.into_iter().map(f64::from).collect::<Vec<f64>>())
            };
            let (left, right) = (node.inputs[0], node.inputs[1]);
            let ones = || vec![1.0; *channels];
            let zeros = || vec![0.0; *channels];
            let negated = |v: Vec<f64>| v.into_iter().map(|x| -x).collect();
            let (x, affine) = match (op, constant(left), constant(right)) {
                (Binary::Mul, None, Some(factor)) => (left, Affine { factor, offset: zeros() }),
                (Binary::Mul, Some(factor), None) => (right, Affine { factor, offset: zeros() }),
                (Binary::Div, None, Some(divisor)) => {
                    (left, Affine { factor: divisor.into_iter().map(|d| 1.0 / d).collect(), offset: zeros() })
                }
                (Binary::Add, None, Some(offset)) => (left, Affine { factor: ones(), offset }),
                (Binary::Add, Some(offset), None) => (right, Affine { factor: ones(), offset }),
                (Binary::Sub, None, Some(offset)) => (left, Affine { factor: ones(), offset: negated(offset) }),
                (Binary::Sub, Some(offset), None) => (right, Affine { factor: vec![-1.0; *channels], offset }),
                _ => return None,
            };
            (graph.ty(x) == output).then_some((x, affine))
        }
        _ => None,
    }
}

fn batch_norm(graph: &Graph, node: &Node) -> Option<Affine> {
    let Op::BatchNorm { epsilon } = node.op else { return None };
    let parameter = |i: usize| graph.constant(node.inputs[i]).and_then(|t| t.as_f32());
    let (scale, bias, mean, variance) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
    let factor: Vec<f64> =
        scale.iter().zip(variance).map(|(&s, &v)| f64::from(s) / (f64::from(v) + f64::from(epsilon)).sqrt()).collect();
    let offset = (0..factor.len()).map(|c| f64::from(bias[c]) - f64::from(mean[c]) * factor[c]).collect();
    Some(Affine { factor, offset })
}

/// Applies `affine` to what convolution `n` computes. Declines when a scale would leave the finite positive numbers.
fn scale_conv(graph: &mut Graph, n: usize, affine: &Affine) -> bool {
    let node = &graph.nodes[n];
    let Op::Conv(conv) = &node.op else { return false };
    let (Some(weight), Some(bias)) = (graph.constant(node.inputs[1]), graph.constant(node.inputs[2])) else {
        return false;
    };
    let scaled = |x: f32, c: usize| (f64::from(x) * affine.factor[c]) as f32;
    let bias = bias.as_f32().expect("a bias is f32");
    let bias: Vec<f32> =
        (0..bias.len()).map(|c| (f64::from(bias[c]) * affine.factor[c] + affine.offset[c]) as f32).collect();
    if !bias.iter().all(|b| b.is_finite()) {
        return false;
    }
    let mut conv = conv.clone();
    let mut new_weight = None;
    if let Some(quant) = &mut conv.quant {
        quant.scale = quant.scale.iter().enumerate().map(|(c, &s)| scaled(s, c)).collect();
        if !quant.scale.iter().all(|s| s.is_finite() && *s > 0.0) {
            return false;
        }
    } else if affine.factor.iter().any(|&f| f != 1.0) {
        let Data::F32(elements) = &weight.data else { return false };
        let per_output = elements.len() / weight.shape[0];
        let elements = elements.iter().enumerate().map(|(i, &w)| scaled(w, i / per_output)).collect();
        new_weight = Some(Tensor::f32(weight.shape.clone(), elements));
    }
    let (weight_name, bias_name) = (graph.value(node.inputs[1]).name.clone(), graph.value(node.inputs[2]).name.clone());
    let bias = graph.add_constant(bias_name, Tensor::f32([bias.len()], bias));
    if let Some(weight) = new_weight {
        let weight = graph.add_constant(weight_name, weight);
        graph.nodes[n].inputs[1] = weight;
    }
    graph.nodes[n].inputs[2] = bias;
    graph.nodes[n].op = Op::Conv(conv);
    true
}
