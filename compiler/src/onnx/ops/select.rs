//! Parts of a tensor.

use super::Table;
use super::shape::emit_reshape;
use crate::ir::{Op, ValueId};
use crate::onnx::constant::{element_count, gather as gather_constant, strides, view};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table = &[("Gather", gather), ("Slice", slice), ("Split", split)];

/// A strided range of every axis.
pub(super) struct Range {
    pub(super) starts: Vec<usize>,
    pub(super) steps: Vec<isize>,
    pub(super) shape: Vec<usize>,
}

impl Range {
    /// All of a tensor.
    pub(super) fn all(shape: &[usize]) -> Self {
        Range { starts: vec![0; shape.len()], steps: vec![1; shape.len()], shape: shape.to_vec() }
    }

    /// All of a tensor, but only `extent` indices from `start` along `axis`.
    pub(super) fn along(shape: &[usize], axis: usize, start: usize, extent: usize) -> Self {
        let mut range = Range::all(shape);
        range.starts[axis] = start;
        range.shape[axis] = extent;
        range
    }
}

/// The part of `x` that `range` names: `x` itself, a constant, or the output of a new node.
pub(super) fn emit_part(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    x: ValueId,
    range: Range,
) -> Result<ValueId, Fault> {
    let ty = ctx.ty(x).clone();
    if range.shape == ty.shape && range.steps.iter().all(|&s| s == 1) {
        return Ok(x);
    }
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(element_count(&range.shape))?;
        let own = strides(&ty.shape);
        let start = range.starts.iter().zip(&own).map(|(&s, &o)| s * o as usize).sum();
        let strides: Vec<isize> = range.steps.iter().zip(&own).map(|(&s, &o)| s.saturating_mul(o)).collect();
        return Ok(ctx.add_constant(suffix, view(&tensor, &range.shape, start, &strides)));
    }
    let steps: Option<Vec<usize>> = range.steps.iter().map(|&s| usize::try_from(s).ok()).collect();
    let Some(steps) = steps else {
        return Fault::unsupported("it steps backwards, which is supported for constants only");
    };
    ctx.emit(suffix, Op::Slice { starts: range.starts, steps }, vec![x], ty.dtype, &range.shape)
}

fn slice(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    let from = ctx.shape(x);
    let missing = |what: &str| Fault::Malformed(format!("its {what} are missing"));
    let starts = ctx.integers_or_attribute(1, "starts")?.ok_or_else(|| missing("starts"))?;
    let ends = ctx.integers_or_attribute(2, "ends")?.ok_or_else(|| missing("ends"))?;
    let axes = ctx.integers_or_attribute(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match ctx.optional(4) {
        Some(_) => ctx.integers(4, "steps")?,
        None => vec![1; starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Fault::malformed(format!(
            "{} starts, {} ends, {} axes, {} steps: expected the same number of each",
            starts.len(),
            ends.len(),
            axes.len(),
            steps.len()
        ));
    }
    let mut range = Range::all(&from);
    for i in 0..starts.len() {
        let a = axis(axes[i], from.len())?;
        let extent = from[a] as i64;
        let from_start = |bound: i64| if bound < 0 { bound.saturating_add(extent) } else { bound };
        let step = steps[i];
        let (start, span) = match step {
            0 => return Fault::malformed("a step is 0"),
            1.. => {
                let start = from_start(starts[i]).clamp(0, extent);
                (start, from_start(ends[i]).clamp(0, extent) - start)
            }
            _ => {
                let start = from_start(starts[i]).clamp(0, (extent - 1).max(0));
                (start, start - from_start(ends[i]).clamp(-1, extent - 1))
            }
        };
        let count = if span <= 0 { 0 } else { (span as u64 - 1) / step.unsigned_abs() + 1 };
        range.starts[a] = start as usize;
        // A step beyond the axis is never taken.
        range.steps[a] = if count <= 1 { 1 } else { step as isize };
        range.shape[a] = count as usize;
    }
    emit_part(ctx, "", x, range).and_then(|y| ctx.bind(0, y))
}

fn split(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    let from = ctx.shape(x);
    let at = axis(ctx.attributes.int_or("axis", 0)?, from.len())?;
    let outputs = ctx.output_count();
    let extents: Vec<i64> = match ctx.integers_or_attribute(1, "split")? {
        Some(extents) => extents,
        None => {
            let each = from[at].div_ceil(outputs.max(1));
            (0..outputs).map(|i| each.min(from[at].saturating_sub(i * each)) as i64).collect()
        }
    };
    let total = extents.iter().try_fold(0i64, |n, &d| if d < 0 { None } else { n.checked_add(d) });
    if extents.len() != outputs || total != Some(from[at] as i64) {
        return Fault::malformed(format!(
            "it splits an axis of {} into [{}] for {outputs} outputs",
            from[at],
            listed(&extents)
        ));
    }
    let mut start = 0;
    for (i, extent) in extents.into_iter().enumerate() {
        let extent = extent as usize;
        if ctx.has_output(i) {
            let part = emit_part(ctx, &i.to_string(), x, Range::along(&from, at, start, extent))?;
            ctx.bind(i, part)?;
        }
        start += extent;
    }
    Ok(())
}

fn gather(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    let from = ctx.shape(x);
    let at = axis(ctx.attributes.int_or("axis", 0)?, from.len())?;
    let index_shape = ctx.shape(ctx.input(1)?);
    let indices = ctx.integers(1, "indices")?;
    let extent = from[at] as i64;
    let mut positions = Vec::with_capacity(indices.len());
    for i in indices {
        let from_start = if i < 0 { i.saturating_add(extent) } else { i };
        if !(0..extent).contains(&from_start) {
            return Fault::malformed(format!("the index {i} lies outside an axis of {extent}"));
        }
        positions.push(from_start as usize);
    }
    let shape: Vec<usize> = [&from[..at], &index_shape, &from[at + 1..]].concat();
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(element_count(&shape))?;
        return ctx.bind_constant(0, gather_constant(&tensor, at, &positions, &shape));
    }
    let step = if let [first, second, ..] = positions[..] { second.wrapping_sub(first) } else { 1 };
    let even = positions.windows(2).all(|w| w[1] > w[0] && w[1] - w[0] == step);
    let Some(&start) = positions.first().filter(|_| even) else {
        return Fault::unsupported(
            "its indices are not evenly spaced and ascending, which is supported for constants only",
        );
    };
    let mut range = Range::along(&from, at, start, positions.len());
    range.steps[at] = step as isize;
    let part = emit_part(ctx, "part", x, range)?;
    emit_reshape(ctx, "", part, &shape).and_then(|y| ctx.bind(0, y))
}
