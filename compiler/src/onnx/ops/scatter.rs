//! Assignment to a part of a tensor, as `y[..., 0:2] = x` is exported.

use super::Table;
use super::layout::emit_concat;
use super::select::{Range, emit_part};
use super::shape::emit_reshape;
use crate::onnx::batch::mixes;
use crate::onnx::constant::{element_count, replace};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome};

pub(super) const TABLE: Table = &[("ScatterND", scatter_nd)];

fn scatter_nd(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (mut data, index_id, mut updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if ctx.ty(data).dtype != ctx.ty(updates).dtype {
        return Fault::malformed(format!("it assigns {} to {}", ctx.ty(updates), ctx.ty(data)));
    }
    if !matches!(ctx.attributes.string("reduction")?, "" | "none") {
        return Fault::unsupported("attribute `reduction` is set");
    }
    let mut index_shape = ctx.shape(index_id);
    let mut indices = ctx.integers(1, "indices")?;
    if let Some(batch) = ctx.batch_of(data).or(ctx.batch_of(updates)) {
        if !assigns_to_every_image(batch, &index_shape, &indices) {
            return mixes(batch, "its indices do not assign to every entry of axis 0 alike");
        }
        (data, updates) = (ctx.beside_batch(data, 1)?, ctx.beside_batch(updates, 1)?);
        index_shape[0] = 1;
        indices.truncate(indices.len() / batch);
    }
    let shape = ctx.shape(data);
    let depth = match index_shape.last() {
        Some(&depth) if (1..=shape.len()).contains(&depth) => depth,
        _ => return Fault::malformed(format!("its indices have the shape [{}]", listed(&index_shape))),
    };
    let expected = [&index_shape[..index_shape.len() - 1], &shape[depth..]].concat();
    if ctx.ty(updates).shape != expected {
        return Fault::malformed(format!("its updates are {}, expected [{}]", ctx.ty(updates), listed(&expected)));
    }
    let mut tuples = Vec::with_capacity(indices.len());
    for (k, &i) in indices.iter().enumerate() {
        let extent = shape[k % depth] as i64;
        let from_start = if i < 0 { i.saturating_add(extent) } else { i };
        if !(0..extent).contains(&from_start) {
            return Fault::malformed(format!("the index {i} lies outside an axis of {extent}"));
        }
        tuples.push(from_start as usize);
    }
    if let (Some(data), Some(updates)) = (ctx.constant_of(data), ctx.constant_of(updates)) {
        let inner: usize = shape[depth..].iter().product();
        ctx.charge(data.len().checked_add(updates.len()))?;
        let flat = |tuple: &[usize]| tuple.iter().zip(&shape).fold(0, |flat, (&i, &extent)| flat * extent + i) * inner;
        let positions: Vec<usize> = tuples.chunks(depth).map(flat).flat_map(|p| p..p + inner).collect();
        let replaced =
            replace(&data, &positions, &updates).ok_or_else(|| Fault::Malformed("its updates do not fit".into()))?;
        return ctx.bind_constant(0, replaced);
    }
    let Some((starts, extents)) = block(&tuples, depth) else {
        return Fault::unsupported("its indices do not name a contiguous block");
    };
    let partial: Vec<usize> = (0..depth).filter(|&a| extents[a] != shape[a]).collect();
    let at = match partial[..] {
        [] => return emit_reshape(ctx, "", updates, &shape).and_then(|y| ctx.bind(0, y)),
        [at] => at,
        _ => return Fault::unsupported("its indices name a part of several axes"),
    };
    let (start, end) = (starts[at], starts[at] + extents[at]);
    let block_shape = [&extents[..], &shape[depth..]].concat();
    let block = emit_reshape(ctx, "block", updates, &block_shape)?;
    let mut parts = Vec::new();
    if start > 0 {
        parts.push(emit_part(ctx, "before", data, Range::along(&shape, at, 0, start))?);
    }
    parts.push(block);
    if end < shape[at] {
        parts.push(emit_part(ctx, "after", data, Range::along(&shape, at, end, shape[at] - end))?);
    }
    emit_concat(ctx, "", parts, at).and_then(|y| ctx.bind(0, y))
}

/// Whether the first axis of the indices counts the images, and they are the same for every image but for its number.
fn assigns_to_every_image(batch: usize, shape: &[usize], indices: &[i64]) -> bool {
    let &[lead, .., depth] = shape else { return false };
    if lead != batch || depth == 0 || indices.is_empty() {
        return false;
    }
    let each = indices.len() / batch;
    indices.chunks(each).enumerate().all(|(image, tuples)| {
        tuples.chunks(depth).zip(indices.chunks(depth)).all(|(t, first)| t[0] == image as i64 && t[1..] == first[1..])
    })
}

/// First index and extent per axis when the tuples enumerate a block in row-major order.
fn block(tuples: &[usize], depth: usize) -> Option<(Vec<usize>, Vec<usize>)> {
    let (first, last) = (tuples.get(..depth)?, &tuples[tuples.len() - depth..]);
    let extents = last.iter().zip(first).map(|(&l, &f)| Some(l.checked_sub(f)? + 1)).collect::<Option<Vec<_>>>()?;
    if element_count(&extents)? != tuples.len() / depth {
        return None;
    }
    let ordered = tuples.chunks(depth).enumerate().all(|(k, tuple)| {
        let mut rest = k;
        (0..depth).rev().all(|a| {
            let i = rest % extents[a];
            rest /= extents[a];
            tuple[a] == first[a] + i
        })
    });
    ordered.then(|| (first.to_vec(), extents))
}
