//! Elementwise functions of one feature map.

use super::Table;
use crate::ir::{Activation, DType, Op, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::node::{NodeContext, Outcome};

pub(super) const TABLE: Table = &[
    ("Clip", clip),
    ("HardSigmoid", hard_sigmoid),
    ("HardSwish", |ctx| emit(ctx, Activation::HardSwish)),
    ("LeakyRelu", leaky_relu),
    ("PRelu", prelu),
    ("Relu", |ctx| emit(ctx, Activation::Relu)),
    ("Sigmoid", |ctx| emit(ctx, Activation::Sigmoid)),
    ("Swish", swish),
];

fn emit(ctx: &mut NodeContext<'_, '_>, activation: Activation) -> Outcome {
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32])?;
    let shape = ctx.shape(x);
    ctx.finish(Op::Activation(activation), vec![x], DType::F32, &shape)
}

fn leaky_relu(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let alpha = ctx.attributes.float_or("alpha", 0.01)?;
    emit(ctx, Activation::LeakyRelu { alpha })
}

fn hard_sigmoid(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (alpha, beta) = (ctx.attributes.float_or("alpha", 0.2)?, ctx.attributes.float_or("beta", 0.5)?);
    emit(ctx, Activation::HardSigmoid { alpha, beta })
}

fn swish(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    match ctx.attributes.float_or("alpha", 1.0)? {
        1.0 => emit(ctx, Activation::Silu),
        alpha => Fault::unsupported(format!("attribute `alpha` is {alpha}, expected 1")),
    }
}

fn prelu(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let slopes = ctx.floats(1, "slope")?;
    match slopes.first() {
        Some(&alpha) if slopes.iter().all(|&s| s == alpha) && alpha.is_finite() => {
            emit(ctx, Activation::LeakyRelu { alpha })
        }
        _ => Fault::unsupported("its slopes differ between channels; only one slope for all is supported"),
    }
}

fn clip(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let bound = |ctx: &NodeContext<'_, '_>, index: usize, name: &str, default: f32| -> Result<f32, Fault> {
        let found = match ctx.optional(index) {
            Some(_) => match ctx.floats(index, name)?[..] {
                [bound] => Some(bound),
                _ => return Fault::malformed(format!("its bound `{name}` is not one number")),
            },
            None => ctx.attributes.float(name)?,
        };
        Ok(found.unwrap_or(default))
    };
    let (lo, hi) = (bound(ctx, 1, "min", f32::MIN)?, bound(ctx, 2, "max", f32::MAX)?);
    if lo.is_nan() || hi.is_nan() {
        return Fault::malformed("a bound is not a number");
    }
    if lo > hi {
        return Fault::unsupported(format!("its lower bound {lo} exceeds its upper bound {hi}"));
    }
    emit(ctx, Activation::Clip { lo, hi })
}

/// Whether every element of a value is known to be at least 0.
pub(super) fn is_non_negative(ctx: &NodeContext<'_, '_>, id: ValueId) -> bool {
    let graph = &ctx.importer.graph;
    let producer = graph.nodes.iter().rev().find(|n| n.outputs.contains(&id));
    producer.is_some_and(|n| match n.op {
        Op::Activation(Activation::Relu | Activation::Sigmoid | Activation::HardSigmoid { .. }) => true,
        Op::Activation(Activation::Clip { lo, .. }) => lo >= 0.0,
        _ => false,
    })
}
