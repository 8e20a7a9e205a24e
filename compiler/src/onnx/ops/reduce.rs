//! Reductions: of constants along any axes, of maps along their last axes.

use super::Table;
use super::shape::emit_reshape;
use crate::ir::{DType, Op, Pool};
use crate::onnx::constant::{self, Reduction};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table = &[
    ("ReduceMax", |ctx| reduce(ctx, Reduction::Max)),
    ("ReduceMean", |ctx| reduce(ctx, Reduction::Mean)),
    ("ReduceMin", |ctx| reduce(ctx, Reduction::Min)),
    ("ReduceProd", |ctx| reduce(ctx, Reduction::Prod)),
    ("ReduceSum", |ctx| reduce(ctx, Reduction::Sum)),
];

fn reduce(ctx: &mut NodeContext<'_, '_>, op: Reduction) -> Outcome {
    let x = ctx.input(0)?;
    let from = ctx.shape(x);
    let axes = ctx.integers_or_attribute(1, "axes")?.unwrap_or_default();
    let mut reduced = vec![axes.is_empty(); from.len()];
    if axes.is_empty() && ctx.attributes.int_or("noop_with_empty_axes", 0)? != 0 {
        return ctx.alias(x);
    }
    for a in axes {
        reduced[axis(a, from.len())?] = true;
    }
    let left = (ctx.attributes.int_or("keepdims", 1)? != 0).then_some(1);
    let shape: Vec<usize> = from.iter().zip(&reduced).filter_map(|(&d, &r)| if r { left } else { Some(d) }).collect();
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(Some(tensor.len()))?;
        let result = constant::reduce(op, &tensor, &reduced).map_err(Fault::Unsupported)?;
        return ctx.bind_constant(0, result.reshaped(shape));
    }
    ctx.expect_dtype(x, &[DType::F32])?;
    let first = reduced.iter().position(|&r| r).unwrap_or(from.len());
    if !matches!(op, Reduction::Mean | Reduction::Max) || reduced[first..].iter().any(|r| !r) {
        let axes = (0..from.len()).filter(|&a| reduced[a]);
        return Fault::unsupported(format!(
            "it reduces {} along [{}]; maps can only be averaged or maximised along their last axes",
            ctx.ty(x),
            listed(axes)
        ));
    }
    // Seen as a map whose height and width are what is reduced.
    let [channels, height, width] = match from[..] {
        [1, c, h, w] if first == 2 => [c, h, w],
        _ => [from[..first].iter().product(), from[first..].iter().product(), 1],
    };
    let map = emit_reshape(ctx, "map", x, &[1, channels, height, width])?;
    let op = match op {
        Reduction::Mean => Op::GlobalAveragePool,
        _ => Op::MaxPool(Pool { kernel: [height, width], stride: [1, 1], pad: [0; 4] }),
    };
    let pooled = ctx.emit("pool", op, vec![map], DType::F32, &[1, channels, 1, 1])?;
    emit_reshape(ctx, "", pooled, &shape).and_then(|y| ctx.bind(0, y))
}
