//! Convolutions.

use super::Table;
use super::window::{enlarged, pair, window};
use crate::ir::{Conv, ConvGeometry, DType, Epilogue, Op, Tensor, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::node::{NodeContext, Outcome};

pub(super) const TABLE: Table = &[("Conv", conv), ("ConvInteger", conv_integer)];

/// A convolution ready to be added.
pub(super) struct ConvParts {
    pub(super) x: ValueId,
    pub(super) geometry: ConvGeometry,
    pub(super) out: [usize; 4],
}

/// Checks the shapes of a convolution of `x` by `weight` and resolves its window; merges padding in front of it.
pub(super) fn conv_parts(ctx: &NodeContext<'_, '_>, x: ValueId, weight: ValueId) -> Result<ConvParts, Fault> {
    let [_, channels, height, width] = ctx.expect_map(x)?;
    let &[out, per_group, kh, kw] = &ctx.ty(weight).shape[..] else {
        return Fault::unsupported(format!("its weight is {}, expected out x in x height x width", ctx.ty(weight)));
    };
    let group = match usize::try_from(ctx.attributes.int_or("group", 1)?) {
        Ok(group) if group > 0 => group,
        _ => return Fault::malformed("attribute `group` is not positive"),
    };
    if per_group.checked_mul(group) != Some(channels) || out == 0 || out % group != 0 {
        return Fault::malformed(format!(
            "its weight is {} with group {group}, which does not fit an input of {channels} channels",
            ctx.ty(weight)
        ));
    }
    if let Some(stated) = pair(ctx, "kernel_shape", 1)?
        && stated != [kh, kw]
    {
        return Fault::malformed(format!(
            "attribute `kernel_shape` is {stated:?} but its weight is {}",
            ctx.ty(weight)
        ));
    }
    let w = window(ctx, [kh, kw], [height, width])?;
    let (x, pad) = match ctx.importer.padded.get(&x) {
        Some(map) if !map.lowest => (map.source, enlarged(w.pad, map.pad)),
        _ => (x, w.pad),
    };
    let geometry = ConvGeometry { kernel: w.kernel, stride: w.stride, pad, dilation: w.dilation, group };
    Ok(ConvParts { x, geometry, out: [1, out, w.out[0], w.out[1]] })
}

/// A plain float convolution.
pub(super) fn float_conv(geometry: ConvGeometry) -> Op {
    Op::Conv(Conv { geometry, quant: None, epilogue: Epilogue::default() })
}

/// Requires a weight to be constant, or dequantised from a constant.
pub(super) fn expect_weight(ctx: &NodeContext<'_, '_>, weight: ValueId) -> Outcome {
    ctx.expect_dtype(weight, &[DType::F32])?;
    if ctx.constant_of(weight).is_some() || ctx.importer.quantized_weights.contains_key(&weight) {
        return Ok(());
    }
    Fault::unsupported(format!("its weight `{}` must be a constant", ctx.value_name(weight)))
}

/// The bias of `out` channels that input `index` gives, or zeros.
pub(super) fn bias(ctx: &NodeContext<'_, '_>, index: usize, out: usize) -> Result<Vec<f32>, Fault> {
    if ctx.optional(index).is_none() {
        return Ok(vec![0.0; out]);
    }
    let bias = ctx.floats(index, "bias")?;
    if bias.len() != out {
        return Fault::malformed(format!("its bias has {} elements for {out} output channels", bias.len()));
    }
    Ok(bias)
}

fn conv(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (x, weight) = (ctx.input(0)?, ctx.input(1)?);
    ctx.expect_dtype(x, &[DType::F32])?;
    expect_weight(ctx, weight)?;
    let parts = conv_parts(ctx, x, weight)?;
    let bias_id = match ctx.optional(2) {
        Some(id) if ctx.constant_of(id).is_some() && ctx.shape(id) == [parts.out[1]] => {
            ctx.expect_dtype(id, &[DType::F32])?;
            id
        }
        _ => {
            let bias = bias(ctx, 2, parts.out[1])?;
            ctx.add_constant("bias", Tensor::f32([bias.len()], bias))
        }
    };
    ctx.finish(float_conv(parts.geometry), vec![parts.x, weight, bias_id], DType::F32, &parts.out)
}

fn conv_integer(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let (x, weight) = (ctx.input(0)?, ctx.input(1)?);
    ctx.expect_dtype(x, &[DType::U8, DType::I8])?;
    ctx.expect_dtype(weight, &[DType::U8, DType::I8])?;
    ctx.constant(1, "weight")?;
    let zero = |ctx: &NodeContext<'_, '_>, index: usize, of: ValueId, what: &str| match ctx.optional(index) {
        None => Ok(vec![0]),
        Some(id) if ctx.ty(id).dtype != ctx.ty(of).dtype => {
            Fault::malformed(format!("its {what} is {}, expected {}", ctx.ty(id), ctx.ty(of).dtype))
        }
        Some(_) => Ok(ctx.integers(index, what)?.into_iter().map(|z| z as i32).collect()),
    };
    let x_zero = match zero(ctx, 2, x, "zero point of x")?[..] {
        [zero] => zero,
        _ => return Fault::unsupported("its zero point of x must be one number"),
    };
    let w_zero = zero(ctx, 3, weight, "zero point of w")?;
    let parts = conv_parts(ctx, x, weight)?;
    if w_zero.len() != 1 && w_zero.len() != parts.out[1] {
        return Fault::malformed(format!("{} zero points of w for {} output channels", w_zero.len(), parts.out[1]));
    }
    let op = Op::ConvInteger { geometry: parts.geometry, x_zero, w_zero };
    ctx.finish(op, vec![parts.x, weight], DType::I32, &parts.out)
}
