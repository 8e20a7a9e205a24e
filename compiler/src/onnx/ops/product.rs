//! Matrix products; with one row and a constant right side they are 1x1 convolutions.

use super::Table;
use super::arithmetic::emit_binary;
use super::conv::float_conv;
use super::layout::emit_transpose;
use super::quantize::emit_rearranged;
use super::shape::emit_reshape;
use crate::ir::{Binary, ConvGeometry, DType, Op, Tensor, ValueId};
use crate::onnx::constant;
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome};

pub(super) const TABLE: Table = &[("Gemm", gemm), ("MatMul", matmul)];

fn gemm(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (mut a, b) = (ctx.input(0)?, ctx.input(1)?);
    let (alpha, beta) = (ctx.attributes.float_or("alpha", 1.0)?, ctx.attributes.float_or("beta", 1.0)?);
    let (trans_a, trans_b) = (ctx.attributes.int_or("transA", 0)? != 0, ctx.attributes.int_or("transB", 0)? != 0);
    ctx.expect_dtype(a, &[DType::F32])?;
    ctx.expect_dtype(b, &[DType::F32])?;
    if ctx.ty(a).shape.len() != 2 || ctx.ty(b).shape.len() != 2 {
        return Fault::malformed(format!("its inputs are {} and {}, expected two axes each", ctx.ty(a), ctx.ty(b)));
    }
    if trans_a {
        a = emit_transpose(ctx, "transpose_a", a, vec![1, 0])?;
    }
    let (rows, depth) = (ctx.ty(a).shape[0], ctx.ty(a).shape[1]);
    let [b_depth, columns] = if trans_b { [1, 0] } else { [0, 1] }.map(|axis| ctx.ty(b).shape[axis]);
    if b_depth != depth {
        return Fault::malformed(format!("its inputs are {} and {}, whose inner extents differ", ctx.ty(a), ctx.ty(b)));
    }
    if rows == 1 && alpha == 1.0 && is_constant(ctx, b) {
        let bias = match ctx.optional_constant(2, "bias")? {
            Some(c) => gemm_bias(&c, columns, beta)?,
            None => vec![0.0; columns],
        };
        let y = emit_row(ctx, a, b, trans_b, bias)?;
        return emit_reshape(ctx, "row", y, &[1, columns]).and_then(|y| ctx.bind(0, y));
    }
    let b = if trans_b { emit_transpose(ctx, "transpose_b", b, vec![1, 0])? } else { b };
    let mut y = ctx.emit("product", Op::MatMul, vec![a, b], DType::F32, &[rows, columns])?;
    if alpha != 1.0 {
        let alpha = ctx.add_constant("alpha", Tensor::f32([], vec![alpha]));
        y = emit_binary(ctx, "scaled", Binary::Mul, y, alpha)?;
    }
    if let Some(mut c) = ctx.optional(2) {
        if beta != 1.0 {
            let beta = ctx.add_constant("beta", Tensor::f32([], vec![beta]));
            c = emit_binary(ctx, "scaled_bias", Binary::Mul, c, beta)?;
        }
        y = emit_binary(ctx, "", Binary::Add, y, c)?;
        if ctx.ty(y).shape != [rows, columns] {
            return Fault::malformed(format!("its bias {} does not fit {rows} x {columns}", ctx.ty(c)));
        }
    }
    ctx.bind(0, y)
}

/// `beta * c` as one number per column.
fn gemm_bias(c: &Tensor, columns: usize, beta: f32) -> Result<Vec<f32>, Fault> {
    let values = c.as_f32().filter(|v| v.len() == 1 || (v.len() == columns && c.shape.last() == Some(&columns)));
    match values {
        Some(&[one]) => Ok(vec![one * beta; columns]),
        Some(values) => Ok(values.iter().map(|v| v * beta).collect()),
        None => Fault::malformed(format!("its bias is {}, expected f32[{columns}]", c.ty())),
    }
}

/// Whether a value is a constant or dequantised from one.
fn is_constant(ctx: &NodeContext<'_, '_>, id: ValueId) -> bool {
    ctx.constant_of(id).is_some() || ctx.importer.quantized_weights.contains_key(&id)
}

/// One row `a` of any shape times a constant `[depth, columns]` (transposed: `[columns, depth]`) as a 1x1 convolution;
/// the result is `[1, columns, 1, 1]`.
pub(super) fn emit_row(
    ctx: &mut NodeContext<'_, '_>,
    a: ValueId,
    b: ValueId,
    transposed: bool,
    bias: Vec<f32>,
) -> Result<ValueId, Fault> {
    let shape = ctx.shape(b);
    let (depth, columns) = if transposed { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
    let perm = if transposed { vec![0, 1] } else { vec![1, 0] };
    let kernel = [columns, depth, 1, 1];
    let weight = match ctx.importer.quantized_weights.get(&b).cloned() {
        Some(quantized) => emit_rearranged(ctx, "weight", quantized, &perm, usize::from(!transposed), &kernel)?,
        None => match ctx.constant_of(b) {
            Some(tensor) => {
                ctx.charge(Some(tensor.len()))?;
                ctx.add_constant("weight", constant::transpose(&tensor, &perm).reshaped(kernel))
            }
            None => return Fault::unsupported("its right side must be a constant"),
        },
    };
    let bias = ctx.add_constant("bias", Tensor::f32([columns], bias));
    let x = emit_reshape(ctx, "column", a, &[1, depth, 1, 1])?;
    let geometry = ConvGeometry { kernel: [1, 1], stride: [1, 1], pad: [0; 4], dilation: [1, 1], group: 1 };
    ctx.emit("", float_conv(geometry), vec![x, weight, bias], DType::F32, &[1, columns, 1, 1])
}

fn matmul(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    emit_matmul(ctx, a, b).and_then(|y| ctx.bind(0, y))
}

/// The product of the last two axes.
pub(super) fn emit_matmul(ctx: &mut NodeContext<'_, '_>, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
    ctx.expect_dtype(a, &[DType::F32])?;
    ctx.expect_dtype(b, &[DType::F32])?;
    let (left, right) = (ctx.shape(a), ctx.shape(b));
    let fits = left.len() >= 2 && right.len() >= 2 && left[left.len() - 1] == right[right.len() - 2];
    let lead = fits.then(|| constant::broadcast(&left[..left.len() - 2], &right[..right.len() - 2])).flatten();
    let Some(mut shape) = lead else {
        return Fault::unsupported(format!("it multiplies [{}] by [{}]", listed(&left), listed(&right)));
    };
    shape.extend([left[left.len() - 2], right[right.len() - 1]]);
    let rows: Option<usize> = constant::element_count(&left[..left.len() - 1]);
    if rows == Some(1) && right.len() == 2 && is_constant(ctx, b) {
        let y = emit_row(ctx, a, b, false, vec![0.0; right[1]])?;
        return emit_reshape(ctx, "row", y, &shape);
    }
    ctx.emit("", Op::MatMul, vec![a, b], DType::F32, &shape)
}
