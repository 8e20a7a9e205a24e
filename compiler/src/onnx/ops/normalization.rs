//! Batch normalisation and softmax.

use super::Table;
use super::shape::emit_reshape;
use crate::ir::{DType, Op};
use crate::onnx::error::Fault;
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table = &[("BatchNormalization", batch_normalization), ("Softmax", softmax)];

fn batch_normalization(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32])?;
    if ctx.attributes.int_or("training_mode", 0)? != 0 || (1..ctx.output_count()).any(|o| ctx.has_output(o)) {
        return Fault::unsupported("it is in training mode: export the model in evaluation mode");
    }
    let shape = ctx.shape(x);
    let &[_, channels, ..] = &shape[..] else {
        return Fault::malformed(format!("its input is {}, expected at least two axes", ctx.ty(x)));
    };
    let mut inputs = vec![x];
    for (index, what) in [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")] {
        let elements = ctx.floats(index, what)?.len();
        if elements != channels || ctx.ty(ctx.input(index)?).shape.len() != 1 {
            return Fault::malformed(format!("its {what} has {elements} elements for {channels} channels"));
        }
        inputs.push(ctx.input(index)?);
    }
    let epsilon = ctx.attributes.float_or("epsilon", 1e-5)?;
    ctx.finish(Op::BatchNorm { epsilon }, inputs, DType::F32, &shape)
}

fn softmax(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32])?;
    let shape = ctx.shape(x);
    let default = if ctx.opset < 13 { 1 } else { -1 };
    let axis = match ctx.attributes.int_or("axis", default)? {
        1 if ctx.opset < 13 && shape.len() == 1 => 1,
        stated => axis(stated, shape.len())?,
    };
    if ctx.opset >= 13 || (axis < shape.len() && shape[axis + 1..].iter().all(|&d| d == 1)) {
        return ctx.finish(Op::Softmax { axis }, vec![x], DType::F32, &shape);
    }
    // Before opset 13 the axes from `axis` on are one.
    let (outer, inner) = (shape[..axis].iter().product(), shape[axis..].iter().product());
    let rows = emit_reshape(ctx, "rows", x, &[outer, inner])?;
    let y = ctx.emit("softmax", Op::Softmax { axis: 1 }, vec![rows], DType::F32, &[outer, inner])?;
    ctx.finish(Op::Reshape, vec![y], DType::F32, &shape)
}
