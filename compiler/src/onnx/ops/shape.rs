//! The same elements under another shape or type.

use super::Table;
use super::generate::target_shape;
use crate::ir::{DType, Op, ValueId};
use crate::onnx::constant::{self, broadcast, element_count};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome, axis};
use crate::onnx::tensor::{MAX_RANK, dtype, dtype_name};

pub(super) const TABLE: Table = &[
    ("Cast", cast),
    ("CastLike", cast_like),
    ("Dropout", dropout),
    ("Expand", expand),
    ("Flatten", flatten),
    ("Identity", identity),
    ("Reshape", reshape),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Unsqueeze", unsqueeze),
];

/// `x` under `shape`, which has as many elements: `x` itself, a constant, or a new node's output.
pub(super) fn emit_reshape(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    x: ValueId,
    shape: &[usize],
) -> Result<ValueId, Fault> {
    if ctx.ty(x).shape == shape {
        return Ok(x);
    }
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(Some(tensor.len()))?;
        return Ok(ctx.add_constant(suffix, (*tensor).clone().reshaped(shape)));
    }
    let dtype = ctx.ty(x).dtype;
    ctx.emit(suffix, Op::Reshape, vec![x], dtype, shape)
}

/// Binds output 0 to input 0 under `shape`, an exported shape.
fn reshape_to(ctx: &mut NodeContext<'_, '_>, shape: &[usize]) -> Outcome {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x);
    if element_count(shape) != element_count(&ctx.exported_shape(x)) {
        return Fault::malformed(format!("its input is {ty}, which does not fit the shape [{}]", listed(shape)));
    }
    let shape = &ctx.shape_of_image(x, shape)?[..];
    if ty.shape == shape {
        return ctx.alias(x);
    }
    match ctx.constant_of(x) {
        Some(tensor) => {
            ctx.charge(Some(tensor.len()))?;
            ctx.bind_constant(0, (*tensor).clone().reshaped(shape))
        }
        None => {
            let dtype = ty.dtype;
            ctx.finish(Op::Reshape, vec![x], dtype, shape)
        }
    }
}

fn reshape(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let from = ctx.exported_shape(ctx.input(0)?);
    let target = match ctx.optional(1) {
        Some(_) => ctx.integers(1, "shape")?,
        None => ctx.attributes.ints("shape")?.map(<[i64]>::to_vec).unwrap_or_default(),
    };
    if target.len() > MAX_RANK {
        return Fault::unsupported(format!("its shape has {} axes, at most {MAX_RANK} are supported", target.len()));
    }
    let keep_zero = ctx.attributes.int_or("allowzero", 0)? != 0;
    match resolve(&from, &target, keep_zero) {
        Some(shape) => reshape_to(ctx, &shape),
        None => Fault::malformed(format!(
            "its input of shape [{}] does not fit the shape [{}]",
            listed(&from),
            listed(&target)
        )),
    }
}

/// The shape that a target with 0 (copy) and one -1 (the rest) means.
fn resolve(from: &[usize], target: &[i64], keep_zero: bool) -> Option<Vec<usize>> {
    let elements = element_count(from)?;
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &extent) in target.iter().enumerate() {
        shape.push(match extent {
            -1 if open.replace(i).is_none() => 1,
            0 if !keep_zero => *from.get(i)?,
            extent => usize::try_from(extent).ok()?,
        });
    }
    let known = element_count(&shape)?;
    if let Some(i) = open {
        shape[i] = elements.checked_div(known)?;
    }
    (element_count(&shape)? == elements).then_some(shape)
}

fn flatten(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let shape = ctx.exported_shape(ctx.input(0)?);
    let rank = shape.len() as i64;
    let stated = ctx.attributes.int_or("axis", 1)?;
    if !(-rank..=rank).contains(&stated) {
        return Fault::malformed(format!("axis {stated} does not exist in {rank} axes"));
    }
    let at = if stated < 0 { stated + rank } else { stated } as usize;
    reshape_to(ctx, &[shape[..at].iter().product(), shape[at..].iter().product()])
}

fn squeeze(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let shape = ctx.exported_shape(ctx.input(0)?);
    let mut removed: Vec<bool> = shape.iter().map(|&d| d == 1).collect();
    if let Some(axes) = ctx.integers_or_attribute(1, "axes")? {
        removed = vec![false; shape.len()];
        for a in axes {
            let a = axis(a, shape.len())?;
            if shape[a] != 1 {
                return Fault::malformed(format!("axis {a} of the shape [{}] is not 1", listed(&shape)));
            }
            removed[a] = true;
        }
    }
    let kept: Vec<usize> = shape.iter().zip(removed).filter(|&(_, r)| !r).map(|(&d, _)| d).collect();
    reshape_to(ctx, &kept)
}

fn unsqueeze(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let from = ctx.exported_shape(ctx.input(0)?);
    let Some(axes) = ctx.integers_or_attribute(1, "axes")? else {
        return Fault::malformed("its axes are missing");
    };
    let rank = from.len() + axes.len();
    if rank > MAX_RANK {
        return Fault::unsupported(format!("its output has {rank} axes, at most {MAX_RANK} are supported"));
    }
    let mut added = vec![false; rank];
    for a in axes {
        if std::mem::replace(&mut added[axis(a, rank)?], true) {
            return Fault::malformed(format!("axis {a} is inserted twice"));
        }
    }
    let mut rest = from.into_iter();
    let shape: Vec<usize> = added.into_iter().map(|new| if new { 1 } else { rest.next().unwrap_or(1) }).collect();
    reshape_to(ctx, &shape)
}

fn identity(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    ctx.alias(ctx.input(0)?)
}

fn dropout(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    if ctx.has_output(1) {
        return Fault::unsupported("its second output (mask) is used");
    }
    if let Some(training) = ctx.optional_constant(2, "training_mode")?
        && training.data == crate::ir::Data::Bool(vec![true])
    {
        return Fault::unsupported("it is in training mode: export the model in evaluation mode");
    }
    identity(ctx)
}

fn cast(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let Some(code) = ctx.attributes.int("to")? else {
        return Fault::malformed("attribute `to` is missing");
    };
    let code = i32::try_from(code).unwrap_or(0);
    match dtype(code) {
        Some(to) => cast_to(ctx, to),
        None => Fault::unsupported(format!("attribute `to` is {}", dtype_name(code))),
    }
}

fn cast_like(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let to = ctx.ty(ctx.input(1)?).dtype;
    cast_to(ctx, to)
}

fn cast_to(ctx: &mut NodeContext<'_, '_>, to: DType) -> Outcome {
    let x = ctx.input(0)?;
    if ctx.ty(x).dtype == to {
        return ctx.alias(x);
    }
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(Some(tensor.len()))?;
        return ctx.bind_constant(0, constant::cast(&tensor, to));
    }
    let shape = ctx.shape(x);
    ctx.finish(Op::Cast(to), vec![x], to, &shape)
}

/// Binds output 0 to input 0 repeated to the exported `shape`, to which it broadcasts.
fn expand_to(ctx: &mut NodeContext<'_, '_>, shape: &[usize]) -> Outcome {
    let x = ctx.input(0)?;
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(element_count(shape))?;
        return ctx.bind_constant(0, constant::expand(&tensor, shape));
    }
    if element_count(shape) == element_count(&ctx.exported_shape(x)) {
        return reshape_to(ctx, shape);
    }
    Fault::unsupported(format!(
        "it repeats {} to [{}], which is supported for constants only",
        ctx.ty(x),
        listed(shape)
    ))
}

fn expand(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let target = target_shape(ctx, 1)?;
    let from = ctx.exported_shape(ctx.input(0)?);
    match broadcast(&from, &target) {
        Some(shape) => expand_to(ctx, &shape),
        None => Fault::malformed(format!("[{}] does not broadcast to [{}]", listed(&from), listed(&target))),
    }
}

fn tile(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    let (from, repeats) = (ctx.shape(x), target_shape(ctx, 1)?);
    if from.len() != repeats.len() {
        return Fault::malformed(format!("{} repeats for {} axes", repeats.len(), from.len()));
    }
    if repeats.iter().all(|&r| r == 1) {
        return ctx.alias(x);
    }
    let Some(tensor) = ctx.constant_of(x) else {
        return Fault::unsupported(format!("it repeats {}, which is supported for constants only", ctx.ty(x)));
    };
    // Every axis becomes a repeated axis of extent 1 in front of its own.
    let shape: Option<Vec<usize>> = from.iter().zip(&repeats).map(|(&d, &r)| d.checked_mul(r)).collect();
    let shape = shape.ok_or_else(|| Fault::Unsupported("its output is too large".to_owned()))?;
    ctx.charge(element_count(&shape))?;
    let split: Vec<usize> = from.iter().flat_map(|&d| [1, d]).collect();
    let repeated: Vec<usize> = from.iter().zip(&repeats).flat_map(|(&d, &r)| [r, d]).collect();
    let tiled = constant::expand(&(*tensor).clone().reshaped(split), &repeated).reshaped(shape);
    ctx.bind_constant(0, tiled)
}
