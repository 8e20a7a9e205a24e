//! Order of axes, joining, and moves between channels and space.

use super::Table;
use crate::ir::{Op, ValueId};
use crate::onnx::constant::{self, element_count};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table =
    &[("Concat", concat), ("DepthToSpace", depth_to_space), ("SpaceToDepth", space_to_depth), ("Transpose", transpose)];

fn concat(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let parts = ctx.all_inputs()?;
    let rank = ctx.ty(parts[0]).shape.len();
    let Some(at) = ctx.attributes.int("axis")? else {
        return Fault::malformed("attribute `axis` is missing");
    };
    emit_concat(ctx, "", parts, axis(at, rank)?).and_then(|y| ctx.bind(0, y))
}

/// The parts joined along `at`: the only part itself, a constant, or the output of a new node.
pub(super) fn emit_concat(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    parts: Vec<ValueId>,
    at: usize,
) -> Result<ValueId, Fault> {
    let first = ctx.ty(parts[0]).clone();
    let mut shape = first.shape.clone();
    shape[at] = 0;
    for &part in &parts {
        let ty = ctx.ty(part);
        let fits = ty.dtype == first.dtype
            && ty.shape.len() == shape.len()
            && (0..shape.len()).all(|a| a == at || ty.shape[a] == shape[a]);
        if !fits {
            return Fault::malformed(format!("its inputs {first} and {ty} cannot be joined along axis {at}"));
        }
        shape[at] = shape[at].saturating_add(ty.shape[at]);
    }
    if let [only] = parts[..] {
        return Ok(only);
    }
    let tensors: Option<Vec<_>> = parts.iter().map(|&p| ctx.constant_of(p)).collect();
    if let Some(tensors) = tensors {
        ctx.charge(element_count(&shape))?;
        let tensors: Vec<_> = tensors.iter().map(AsRef::as_ref).collect();
        let joined = constant::concat(&tensors, at, &shape);
        let joined = joined.ok_or_else(|| Fault::Malformed("its inputs differ in element type".to_owned()))?;
        return Ok(ctx.add_constant(suffix, joined));
    }
    ctx.emit(suffix, Op::Concat { axis: at }, parts, first.dtype, &shape)
}

fn transpose(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    let rank = ctx.ty(x).shape.len();
    let perm: Vec<usize> = match ctx.attributes.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|&p| axis(p, rank)).collect::<Result<_, _>>()?,
    };
    if perm.len() != rank || (0..rank).any(|a| !perm.contains(&a)) {
        return Fault::malformed(format!("attribute `perm` is [{}], expected an order of {rank} axes", listed(&perm)));
    }
    emit_transpose(ctx, "", x, perm).and_then(|y| ctx.bind(0, y))
}

/// `x` with its axes in another order: itself, a constant, or the output of a new node.
pub(super) fn emit_transpose(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    x: ValueId,
    perm: Vec<usize>,
) -> Result<ValueId, Fault> {
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(x);
    }
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(Some(tensor.len()))?;
        return Ok(ctx.add_constant(suffix, constant::transpose(&tensor, &perm)));
    }
    let ty = ctx.ty(x).clone();
    let shape: Vec<usize> = perm.iter().map(|&p| ty.shape[p]).collect();
    ctx.emit(suffix, Op::Transpose { perm }, vec![x], ty.dtype, &shape)
}

fn block_size(ctx: &NodeContext<'_, '_>) -> Result<usize, Fault> {
    match ctx.attributes.int_or("blocksize", 0)? {
        block @ 1..=65536 => Ok(block as usize),
        block => Fault::malformed(format!("attribute `blocksize` is {block}")),
    }
}

/// Reshape, transpose, reshape.
fn rearrange(ctx: &mut NodeContext<'_, '_>, split: &[usize], perm: Vec<usize>, shape: &[usize]) -> Outcome {
    let x = ctx.input(0)?;
    let x = super::shape::emit_reshape(ctx, "split", x, split)?;
    let x = emit_transpose(ctx, "transpose", x, perm)?;
    super::shape::emit_reshape(ctx, "", x, shape).and_then(|y| ctx.bind(0, y))
}

fn depth_to_space(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let [_, c, h, w] = ctx.expect_map(ctx.input(0)?)?;
    let b = block_size(ctx)?;
    if c % (b * b) != 0 {
        return Fault::malformed(format!("{c} channels are not a multiple of {b} x {b}"));
    }
    let out = c / (b * b);
    let shape = [1, out, h * b, w * b];
    match ctx.attributes.string("mode")? {
        "" | "DCR" => rearrange(ctx, &[1, b, b, out, h, w], vec![0, 3, 4, 1, 5, 2], &shape),
        "CRD" => rearrange(ctx, &[1, out, b, b, h, w], vec![0, 1, 4, 2, 5, 3], &shape),
        mode => Fault::malformed(format!("attribute `mode` is `{mode}`")),
    }
}

fn space_to_depth(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let [_, c, h, w] = ctx.expect_map(ctx.input(0)?)?;
    let b = block_size(ctx)?;
    if h % b != 0 || w % b != 0 {
        return Fault::malformed(format!("{h} x {w} is not a multiple of {b} x {b}"));
    }
    let shape = [1, c * b * b, h / b, w / b];
    rearrange(ctx, &[1, c, h / b, b, w / b, b], vec![0, 3, 5, 1, 2, 4], &shape)
}
