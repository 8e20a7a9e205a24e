//! Operators on quantised tensors: dequantise, compute, quantise.

use super::Table;
use super::arithmetic::emit_binary;
use super::conv::{conv_parts, float_conv};
use super::layout::emit_concat;
use super::pool::emit_average_pool;
use super::product::{emit_matmul, emit_row};
use super::quantize::{emit_dequantize, emit_quantize, parameters};
use super::shape::emit_reshape;
use crate::ir::{Activation, Binary, DType, Op, Tensor, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table = &[("QLinearConv", q_linear_conv), ("QLinearMatMul", q_linear_matmul)];

pub(super) const MICROSOFT_TABLE: Table = &[
    ("QGemm", q_gemm),
    ("QLinearAdd", |ctx| q_linear_binary(ctx, Binary::Add)),
    ("QLinearAveragePool", q_linear_average_pool),
    ("QLinearConcat", q_linear_concat),
    ("QLinearConv", q_linear_conv),
    ("QLinearGlobalAveragePool", q_linear_global_average_pool),
    ("QLinearLeakyRelu", q_linear_leaky_relu),
    ("QLinearMul", |ctx| q_linear_binary(ctx, Binary::Mul)),
    ("QLinearSigmoid", |ctx| q_linear_activation(ctx, Activation::Sigmoid)),
    ("QuickGelu", quick_gelu),
];

/// Input `index` dequantised with the two inputs behind it; per-channel parameters run along `axis`.
fn real(ctx: &mut NodeContext<'_, '_>, index: usize, axis: i64) -> Result<ValueId, Fault> {
    let x = ctx.input(index)?;
    ctx.expect_dtype(x, &[DType::U8, DType::I8])?;
    let ty = ctx.ty(x).clone();
    let parameters = parameters(ctx, [index + 1, index + 2], &ty.shape, axis, ty.dtype)?;
    emit_dequantize(ctx, &format!("dequantize_{index}"), x, parameters)
}

/// Binds output 0 to `y` quantised with inputs `scale` and `scale + 1`.
fn stored(ctx: &mut NodeContext<'_, '_>, y: ValueId, scale: usize) -> Outcome {
    let dtype = ctx.optional(scale + 1).map_or(DType::U8, |zero| ctx.ty(zero).dtype);
    if !matches!(dtype, DType::U8 | DType::I8) {
        return Fault::unsupported("it quantises to a type other than uint8 or int8");
    }
    let parameters = parameters(ctx, [scale, scale + 1], &ctx.shape(y), 1, dtype)?;
    emit_quantize(ctx, "quantize", y, parameters).and_then(|y| ctx.bind(0, y))
}

/// The `i32` bias in input `index`, in units of `x_scale * w_scale`, as `columns` floats.
fn real_bias(
    ctx: &NodeContext<'_, '_>,
    index: usize,
    [x_scale, w_scale]: [usize; 2],
    columns: usize,
) -> Result<Vec<f32>, Fault> {
    if ctx.optional(index).is_none() {
        return Ok(vec![0.0; columns]);
    }
    let (bias, x, w) =
        (ctx.integers(index, "bias")?, ctx.floats(x_scale, "scale of x")?, ctx.floats(w_scale, "scale of w")?);
    if bias.len() != columns || x.len() != 1 || (w.len() != 1 && w.len() != columns) {
        return Fault::malformed(format!("its bias has {} elements for {columns} output channels", bias.len()));
    }
    Ok(bias.iter().enumerate().map(|(c, &b)| b as f32 * (x[0] * w[if w.len() == 1 { 0 } else { c }])).collect())
}

fn q_linear_conv(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    if ctx.attributes.int_or("channels_last", 0)? != 0 {
        return Fault::unsupported("attribute `channels_last` is set");
    }
    ctx.constant(3, "weight")?;
    let (x, weight) = (real(ctx, 0, 1)?, real(ctx, 3, 0)?);
    let parts = conv_parts(ctx, x, weight)?;
    let bias = real_bias(ctx, 8, [1, 4], parts.out[1])?;
    let bias = ctx.add_constant("bias", Tensor::f32([bias.len()], bias));
    let y = ctx.emit("", float_conv(parts.geometry), vec![parts.x, weight, bias], DType::F32, &parts.out)?;
    stored(ctx, y, 6)
}

fn q_linear_matmul(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (a, b) = (real(ctx, 0, -2)?, real(ctx, 3, -1)?);
    let y = emit_matmul(ctx, a, b)?;
    stored(ctx, y, 6)
}

fn q_gemm(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let transposed = ctx.attributes.int_or("transB", 0)? != 0;
    if ctx.attributes.int_or("transA", 0)? != 0 || ctx.attributes.float_or("alpha", 1.0)? != 1.0 {
        return Fault::unsupported("attribute `transA` or `alpha` is set");
    }
    ctx.constant(3, "weight")?;
    let (a, b) = (real(ctx, 0, 1)?, real(ctx, 3, i64::from(!transposed))?);
    let (row, shape) = (ctx.shape(a), ctx.shape(b));
    let (&[1, depth], &[first, second]) = (&row[..], &shape[..]) else {
        return Fault::unsupported(format!("it multiplies {} by {}, expected one row", ctx.ty(a), ctx.ty(b)));
    };
    let (b_depth, columns) = if transposed { (second, first) } else { (first, second) };
    if depth != b_depth {
        return Fault::malformed(format!("its inputs are {} and {}, whose inner extents differ", ctx.ty(a), ctx.ty(b)));
    }
    let bias = real_bias(ctx, 6, [1, 4], columns)?;
    let y = emit_row(ctx, a, b, transposed, bias)?;
    let y = emit_reshape(ctx, "row", y, &[1, columns])?;
    if ctx.optional(7).is_none() { ctx.bind(0, y) } else { stored(ctx, y, 7) }
}

fn q_linear_binary(ctx: &mut NodeContext<'_, '_>, op: Binary) -> Outcome {
    let (a, b) = (real(ctx, 0, 1)?, real(ctx, 3, 1)?);
    let y = emit_binary(ctx, "", op, a, b)?;
    stored(ctx, y, 6)
}

fn q_linear_activation(ctx: &mut NodeContext<'_, '_>, activation: Activation) -> Outcome {
    let x = real(ctx, 0, 1)?;
    let shape = ctx.shape(x);
    let y = ctx.emit("", Op::Activation(activation), vec![x], DType::F32, &shape)?;
    stored(ctx, y, 3)
}

fn q_linear_leaky_relu(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let alpha = ctx.attributes.float_or("alpha", 0.01)?;
    q_linear_activation(ctx, Activation::LeakyRelu { alpha })
}

fn q_linear_global_average_pool(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    if ctx.attributes.int_or("channels_last", 0)? != 0 {
        return Fault::unsupported("attribute `channels_last` is set");
    }
    let x = real(ctx, 0, 1)?;
    let [_, channels, ..] = ctx.expect_map(x)?;
    let y = ctx.emit("", Op::GlobalAveragePool, vec![x], DType::F32, &[1, channels, 1, 1])?;
    stored(ctx, y, 3)
}

fn q_linear_average_pool(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    if ctx.attributes.int_or("channels_last", 0)? != 0 {
        return Fault::unsupported("attribute `channels_last` is set");
    }
    let x = real(ctx, 0, 1)?;
    let y = emit_average_pool(ctx, x)?;
    stored(ctx, y, 3)
}

fn q_linear_concat(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let count = ctx.input_count();
    if count < 5 || !(count - 2).is_multiple_of(3) {
        return Fault::malformed(format!("it has {count} inputs, expected 2 and three per part"));
    }
    let mut parts = Vec::new();
    for index in (2..count).step_by(3) {
        parts.push(real(ctx, index, 1)?);
    }
    let at = axis(ctx.attributes.int_or("axis", 1)?, ctx.ty(parts[0]).shape.len())?;
    let y = emit_concat(ctx, "", parts, at)?;
    stored(ctx, y, 0)
}

fn quick_gelu(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let alpha = ctx.attributes.float_or("alpha", 1.702)?;
    if alpha != 1.0 {
        return Fault::unsupported(format!("attribute `alpha` is {alpha}, expected 1"));
    }
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32])?;
    let shape = ctx.shape(x);
    ctx.finish(Op::Activation(Activation::Silu), vec![x], DType::F32, &shape)
}
