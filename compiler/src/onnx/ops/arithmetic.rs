//! Elementwise functions of several inputs, and those that exist for constants only.

use super::Table;
use crate::ir::{Binary, DType, Op, Tensor, ValueId};
use crate::onnx::constant::{self, Comparison, Unary, broadcast, element_count};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome};
use std::sync::Arc;

pub(super) const TABLE: Table = &[
    ("Abs", |ctx| unary(ctx, Unary::Abs)),
    ("Add", |ctx| chain(ctx, Binary::Add)),
    ("And", |ctx| compare(ctx, Comparison::And)),
    ("Ceil", |ctx| unary(ctx, Unary::Ceil)),
    ("Div", |ctx| chain(ctx, Binary::Div)),
    ("Equal", |ctx| compare(ctx, Comparison::Equal)),
    ("Exp", |ctx| unary(ctx, Unary::Exp)),
    ("Floor", |ctx| unary(ctx, Unary::Floor)),
    ("Greater", |ctx| compare(ctx, Comparison::Greater)),
    ("GreaterOrEqual", |ctx| compare(ctx, Comparison::GreaterOrEqual)),
    ("Less", |ctx| compare(ctx, Comparison::Less)),
    ("LessOrEqual", |ctx| compare(ctx, Comparison::LessOrEqual)),
    ("Log", |ctx| unary(ctx, Unary::Log)),
    ("Max", |ctx| chain(ctx, Binary::Max)),
    ("Min", |ctx| chain(ctx, Binary::Min)),
    ("Mod", remainder),
    ("Mul", |ctx| chain(ctx, Binary::Mul)),
    ("Neg", neg),
    ("Not", not),
    ("Or", |ctx| compare(ctx, Comparison::Or)),
    ("Pow", |ctx| chain(ctx, Binary::Pow)),
    ("Reciprocal", reciprocal),
    ("Round", |ctx| unary(ctx, Unary::Round)),
    ("Sqrt", |ctx| unary(ctx, Unary::Sqrt)),
    ("Sub", |ctx| chain(ctx, Binary::Sub)),
    ("Sum", |ctx| chain(ctx, Binary::Add)),
    ("Where", select),
];

/// Folds the inputs from the left with `op`.
fn chain(ctx: &mut NodeContext<'_, '_>, op: Binary) -> Outcome {
    let inputs = ctx.all_inputs()?;
    let variadic = matches!(ctx.op(), "Max" | "Min" | "Sum");
    if !variadic && inputs.len() != 2 {
        return Fault::malformed(format!("it has {} inputs, expected 2", inputs.len()));
    }
    let mut total = inputs[0];
    for (i, &next) in inputs.iter().enumerate().skip(1) {
        let suffix = if i + 1 == inputs.len() { String::new() } else { i.to_string() };
        total = emit_binary(ctx, &suffix, op, total, next)?;
    }
    ctx.bind(0, total)
}

/// `a op b`: a constant, or the output of a new node.
pub(super) fn emit_binary(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    op: Binary,
    a: ValueId,
    b: ValueId,
) -> Result<ValueId, Fault> {
    let b = match (op, ctx.constant_of(b)) {
        // An exponent may have another type than its base.
        (Binary::Pow, Some(exponent)) if exponent.dtype() != ctx.ty(a).dtype && ctx.ty(a).dtype == DType::F32 => {
            ctx.charge(Some(exponent.len()))?;
            ctx.add_constant("exponent", constant::cast(&exponent, DType::F32))
        }
        _ => b,
    };
    let (left, right) = (ctx.ty(a).clone(), ctx.ty(b).clone());
    let Some(shape) = broadcast(&left.shape, &right.shape) else {
        return Fault::malformed(format!("its inputs {left} and {right} do not broadcast"));
    };
    if let (Some(x), Some(y)) = (ctx.constant_of(a), ctx.constant_of(b)) {
        ctx.charge(element_count(&shape))?;
        let result = constant::arithmetic(op, &x, &y, &shape).map_err(Fault::Unsupported)?;
        return Ok(ctx.add_constant(suffix, result));
    }
    if left.dtype != right.dtype {
        return Fault::malformed(format!("its inputs are {left} and {right}, expected one element type"));
    }
    ctx.expect_dtype(a, &[DType::F32, DType::I32, DType::I64])?;
    ctx.emit(suffix, Op::Binary(op), vec![a, b], left.dtype, &shape)
}

/// All inputs, which must be constants, and the shape they broadcast to.
fn constants<const N: usize>(ctx: &mut NodeContext<'_, '_>) -> Result<([Arc<Tensor>; N], Vec<usize>), Fault> {
    let mut shape = Vec::new();
    let mut tensors = Vec::with_capacity(N);
    for i in 0..N {
        let tensor = ctx.constant(i, "operand")?;
        shape = broadcast(&shape, &tensor.shape).ok_or_else(|| {
            Fault::Malformed(format!("[{}] and [{}] do not broadcast", listed(&shape), listed(&tensor.shape)))
        })?;
        tensors.push(tensor);
    }
    ctx.charge(element_count(&shape))?;
    Ok((tensors.try_into().expect("N tensors"), shape))
}

fn compare(ctx: &mut NodeContext<'_, '_>, op: Comparison) -> Outcome {
    let ([a, b], shape) = constants(ctx)?;
    let result = constant::compare(op, &a, &b, &shape).map_err(Fault::Unsupported)?;
    ctx.bind_constant(0, result)
}

fn remainder(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let truncated = ctx.attributes.int_or("fmod", 0)? != 0;
    let ([a, b], shape) = constants(ctx)?;
    let result = constant::remainder(&a, &b, truncated, &shape).map_err(Fault::Unsupported)?;
    ctx.bind_constant(0, result)
}

fn select(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let ([condition, a, b], shape) = constants(ctx)?;
    let result = constant::select(&condition, &a, &b, &shape).map_err(Fault::Unsupported)?;
    ctx.bind_constant(0, result)
}

fn not(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let ([a], _) = constants(ctx)?;
    match constant::logical_not(&a) {
        Some(result) => ctx.bind_constant(0, result),
        None => Fault::malformed(format!("its input is {}, expected bool", a.ty())),
    }
}

fn unary(ctx: &mut NodeContext<'_, '_>, op: Unary) -> Outcome {
    let ([a], _) = constants(ctx)?;
    let result = constant::unary(op, &a).map_err(Fault::Unsupported)?;
    ctx.bind_constant(0, result)
}

fn neg(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    if ctx.constant_of(x).is_some() || ctx.ty(x).dtype != DType::F32 {
        return unary(ctx, Unary::Neg);
    }
    let minus = ctx.add_constant("minus_one", Tensor::f32([], vec![-1.0]));
    emit_binary(ctx, "", Binary::Mul, x, minus).and_then(|y| ctx.bind(0, y))
}

fn reciprocal(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    if ctx.constant_of(x).is_some() || ctx.ty(x).dtype != DType::F32 {
        return unary(ctx, Unary::Reciprocal);
    }
    let one = ctx.add_constant("one", Tensor::f32([], vec![1.0]));
    emit_binary(ctx, "", Binary::Div, one, x).and_then(|y| ctx.bind(0, y))
}
