//! Channels that hold one value over the whole map, and their removal from the convolutions that read them.

use super::{WeightAxes, channels};
use crate::interp;
use crate::ir::{Conv, ConvGeometry, ConvQuant, DType, Data, Graph, Node, Op, Tensor, Type};
use crate::passes::{Error, Report};

/// For every channel of a map its value, when it is the same everywhere. Integers are exact in `f64`.
type Known = Vec<Option<f64>>;

/// Finds constant channels and moves what they contribute to convolutions into the bias, zeroing their weights.
pub(super) fn fold_constant_channels(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    let mut known: Vec<Known> = (0..graph.values.len()).map(|v| vec![None; channels_of(graph, v)]).collect();
    for n in 0..graph.nodes.len() {
        if matches!(graph.nodes[n].op, Op::Conv(_)) {
            let x = graph.nodes[n].inputs[0].index();
            report.folded_inputs += fold_into_bias(graph, n, &known[x]);
        }
        let node = &graph.nodes[n];
        for (output, channels) in node.outputs.iter().zip(known_outputs(graph, node, &known)?) {
            known[output.index()] = channels;
        }
    }
    Ok(())
}

fn channels_of(graph: &Graph, value: usize) -> usize {
    channels(graph, crate::ir::ValueId(value as u32)).unwrap_or(0)
}

/// Folds the constant channels of the input of convolution `n` and returns how many there were.
fn fold_into_bias(graph: &mut Graph, n: usize, known: &Known) -> usize {
    let node = &graph.nodes[n];
    let Op::Conv(conv) = &node.op else { unreachable!("the caller found a convolution here") };
    let padded = conv.geometry.pad != [0; 4];
    let neutral = conv.quant.as_ref().map_or(0.0, |q| f64::from(q.x_zero));
    let foldable: Vec<Option<f64>> =
        known.iter().map(|k| k.filter(|&k| !padded || k == neutral).map(|k| k - neutral)).collect();
    let weight = graph.constant(node.inputs[1]).expect("weights are constant").clone();
    let bias = graph.constant(node.inputs[2]).expect("biases are constant").clone();
    let axes = WeightAxes::of(&weight.shape, conv.geometry.group);

    let mut conv = conv.clone();
    let mut weight = Tensor::clone(&weight);
    let mut bias = bias.as_f32().expect("a bias is f32").to_vec();
    let mut folded = vec![false; known.len()];
    for (output, bias) in bias.iter_mut().enumerate() {
        let mut sum = 0.0;
        let mut columns = Vec::new();
        for column in 0..axes.inputs_per_group {
            let input = axes.input(output, column);
            let Some(offset) = foldable[input] else { continue };
            if window_is_zero(&weight, axes.window(output, column)) {
                continue;
            }
            sum += offset * window_sum(&weight, axes.window(output, column));
            columns.push((input, column));
        }
        let fits = match &mut conv.quant {
            Some(quant) => add_exactly(&mut quant.acc_bias[output], sum),
            None => add_rounded(bias, sum),
        };
        if fits {
            for (input, column) in columns {
                zero_window(&mut weight, axes.window(output, column));
                folded[input] = true;
            }
        }
    }
    let count = folded.iter().filter(|f| **f).count();
    if count > 0 {
        let (weight_name, bias_name) =
            (graph.value(node.inputs[1]).name.clone(), graph.value(node.inputs[2]).name.clone());
        let weight = graph.add_constant(weight_name, weight);
        let bias = graph.add_constant(bias_name, Tensor::f32([axes.outputs], bias));
        graph.nodes[n].op = Op::Conv(conv);
        graph.nodes[n].inputs[1] = weight;
        graph.nodes[n].inputs[2] = bias;
    }
    count
}

fn add_exactly(acc: &mut i32, sum: f64) -> bool {
    let total = f64::from(*acc) + sum;
    let fits = total >= f64::from(i32::MIN) && total <= f64::from(i32::MAX);
    if fits {
        *acc = total as i32;
    }
    fits
}

fn add_rounded(bias: &mut f32, sum: f64) -> bool {
    let total = (f64::from(*bias) + sum) as f32;
    let fits = total.is_finite();
    if fits {
        *bias = total;
    }
    fits
}

pub(super) fn window_is_zero(weight: &Tensor, window: std::ops::Range<usize>) -> bool {
    match &weight.data {
        Data::F32(w) => w[window].iter().all(|&w| w == 0.0),
        Data::I8(w) => w[window].iter().all(|&w| w == 0),
        _ => false,
    }
}

fn window_sum(weight: &Tensor, window: std::ops::Range<usize>) -> f64 {
    match &weight.data {
        Data::F32(w) => w[window].iter().map(|&w| f64::from(w)).sum(),
        Data::I8(w) => w[window].iter().map(|&w| f64::from(w)).sum(),
        _ => unreachable!("a convolution's weight is f32 or i8"),
    }
}

fn zero_window(weight: &mut Tensor, window: std::ops::Range<usize>) {
    match &mut weight.data {
        Data::F32(w) => w[window].fill(0.0),
        Data::I8(w) => w[window].fill(0),
        _ => unreachable!("a convolution's weight is f32 or i8"),
    }
}

/// The constant channels of a node's outputs.
fn known_outputs(graph: &Graph, node: &Node, known: &[Known]) -> Result<Vec<Known>, Error> {
    let unknown = || node.outputs.iter().map(|o| vec![None; channels_of(graph, o.index())]).collect::<Vec<_>>();
    let input = |i: usize| &known[node.inputs[i].index()];
    if node.outputs.iter().any(|&o| channels(graph, o).is_none()) {
        return Ok(unknown());
    }
    Ok(match &node.op {
        Op::Conv(conv) => conv_outputs(graph, node, conv, known)?,
        Op::MaxPool(_) | Op::ResizeNearest { .. } => vec![input(0).clone()],
        Op::Concat { axis: 1 } => vec![node.inputs.iter().flat_map(|i| known[i.index()].clone()).collect()],
        Op::Slice { starts, steps } if channels(graph, node.inputs[0]).is_some() => {
            let count = channels_of(graph, node.outputs[0].index());
            vec![(0..count).map(|c| input(0)[starts[1] + c * steps[1]]).collect()]
        }
        Op::Activation(_) => vec![elementwise(graph, node, input(0))?],
        Op::Quantize(q) | Op::Dequantize(q) if q.as_per_tensor().is_some() => {
            vec![elementwise(graph, node, input(0))?]
        }
        _ => unknown(),
    })
}

fn elementwise(graph: &Graph, node: &Node, input: &Known) -> Result<Known, Error> {
    let which: Vec<usize> = (0..input.len()).filter(|&c| input[c].is_some()).collect();
    if which.is_empty() {
        return Ok(input.clone());
    }
    let values = which.iter().map(|&c| input[c].expect("selected above")).collect();
    let operand = column(graph.ty(node.inputs[0]).dtype, values);
    let result = evaluate(node, &node.op, &[&operand], &[graph.ty(node.outputs[0]).dtype])?;
    let mut output = vec![None; input.len()];
    scatter(&mut output, &which, &result[0]);
    Ok(output)
}

/// Channels without nonzero weights, whose residual is constant too if there is one. The epilogue is evaluated by the
/// interpreter on a convolution of one pixel.
fn conv_outputs(graph: &Graph, node: &Node, conv: &Conv, known: &[Known]) -> Result<Vec<Known>, Error> {
    let weight = graph.constant(node.inputs[1]).expect("weights are constant");
    let bias = graph.constant(node.inputs[2]).and_then(|b| b.as_f32()).expect("biases are constant f32");
    let axes = WeightAxes::of(&weight.shape, conv.geometry.group);
    let row = axes.inputs_per_group * axes.window;
    let residual = node.inputs.get(3).map(|r| &known[r.index()]);
    let which: Vec<usize> = (0..axes.outputs)
        .filter(|&o| window_is_zero(weight, o * row..(o + 1) * row) && residual.is_none_or(|r| r[o].is_some()))
        .collect();
    let mut outputs = vec![vec![None; axes.outputs]; node.outputs.len()];
    if which.is_empty() {
        return Ok(outputs);
    }
    let pick = |values: &[f32]| which.iter().map(|&o| values[o]).collect::<Vec<f32>>();
    let quant = conv.quant.as_ref().map(|q| ConvQuant {
        x_zero: q.x_zero,
        scale: pick(&q.scale),
        acc_bias: which.iter().map(|&o| q.acc_bias[o]).collect(),
    });
    let geometry = ConvGeometry { kernel: [1, 1], stride: [1, 1], pad: [0; 4], dilation: [1, 1], group: 1 };
    let (x, zeros) = match &quant {
        Some(q) => (Data::U8(vec![q.x_zero]), Data::I8(vec![0; which.len()])),
        None => (Data::F32(vec![0.0]), Data::F32(vec![0.0; which.len()])),
    };
    let x = Tensor::new([1, 1, 1, 1], x);
    let zeros = Tensor::new([which.len(), 1, 1, 1], zeros);
    let bias = Tensor::f32([which.len()], pick(bias));
    let residual = residual.map(|r| column(DType::F32, which.iter().map(|&o| r[o].expect("selected above")).collect()));
    let mut operands = vec![&x, &zeros, &bias];
    operands.extend(&residual);
    let one_pixel = Op::Conv(Conv { geometry, quant, epilogue: conv.epilogue.clone() });
    let dtypes: Vec<DType> = node.outputs.iter().map(|&o| graph.ty(o).dtype).collect();
    for (output, result) in outputs.iter_mut().zip(evaluate(node, &one_pixel, &operands, &dtypes)?) {
        scatter(output, &which, &result);
    }
    Ok(outputs)
}

/// Evaluates an operator whose results have the channels of its last operand and one pixel.
fn evaluate(node: &Node, op: &Op, operands: &[&Tensor], dtypes: &[DType]) -> Result<Vec<Tensor>, Error> {
    let channels = match op {
        Op::Conv(_) => operands[1].shape[0],
        _ => operands[0].shape[1],
    };
    let types: Vec<Type> = dtypes.iter().map(|&d| Type::new(d, [1, channels, 1, 1])).collect();
    interp::eval_node(op, operands, &types)
        .map_err(|source| Error::Evaluate { node: node.name.clone(), source: source.into() })
}

/// A map of one pixel.
fn column(dtype: DType, values: Vec<f64>) -> Tensor {
    let shape = [1, values.len(), 1, 1];
    let data = match dtype {
        DType::U8 => Data::U8(values.into_iter().map(|v| v as u8).collect()),
        DType::I8 => Data::I8(values.into_iter().map(|v| v as i8).collect()),
        DType::I32 => Data::I32(values.into_iter().map(|v| v as i32).collect()),
        _ => Data::F32(values.into_iter().map(|v| v as f32).collect()),
    };
    Tensor::new(shape, data)
}

fn scatter(output: &mut Known, which: &[usize], result: &Tensor) {
    let values: Vec<f64> = match &result.data {
        Data::F32(v) => v.iter().map(|&v| f64::from(v)).collect(),
        _ => result.to_i64s().unwrap_or_default().into_iter().map(|v| v as f64).collect(),
    };
    for (&channel, value) in which.iter().zip(values) {
        output[channel] = value.is_finite().then_some(value);
    }
}
