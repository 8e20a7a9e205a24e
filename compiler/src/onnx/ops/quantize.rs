//! Affine quantisation.

use super::Table;
use super::pad::emit_padded;
use crate::ir::{DType, Data, Op, Quantization, Tensor, ValueId};
use crate::onnx::constant::Positions;
use crate::onnx::error::Fault;
use crate::onnx::node::{NodeContext, Outcome, axis};
use crate::onnx::tensor::{dtype, dtype_name};

pub(super) const TABLE: Table = &[("DequantizeLinear", dequantize_linear), ("QuantizeLinear", quantize_linear)];

/// The parameters that inputs `scale` and `zero` give for a tensor of `shape` stored as `dtype`.
pub(super) fn parameters(
    ctx: &NodeContext<'_, '_>,
    [scale, zero]: [usize; 2],
    shape: &[usize],
    default_axis: i64,
    dtype: DType,
) -> Result<Quantization, Fault> {
    let scales = ctx.floats(scale, "scale")?;
    let zeros = match ctx.optional(zero) {
        Some(id) => {
            let stored = ctx.ty(id).dtype;
            if stored != dtype {
                return Fault::unsupported(format!("its zero point (input {zero}) is {stored}, expected {dtype}"));
            }
            ctx.integers(zero, "zero point")?
        }
        None => vec![0; scales.len()],
    };
    if zeros.len() != scales.len() || scales.is_empty() {
        return Fault::malformed(format!("{} scales and {} zero points", scales.len(), zeros.len()));
    }
    if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        return Fault::malformed(format!("the scale {bad} is not a positive number"));
    }
    let zero = zeros.into_iter().map(|z| z as i32).collect();
    if scales.len() == 1 {
        return Ok(Quantization { scale: scales, zero, axis: 0, dtype });
    }
    if ctx.ty(ctx.input(scale)?).shape.len() != 1 {
        return Fault::unsupported("its scales have several axes; blocked quantisation is not supported");
    }
    let axis = axis(default_axis, shape.len())?;
    if shape[axis] != scales.len() {
        return Fault::malformed(format!("{} scales for axis {axis} of extent {}", scales.len(), shape[axis]));
    }
    Ok(Quantization { scale: scales, zero, axis, dtype })
}

/// Refuses what operator set 21 added.
fn expect_unblocked(ctx: &NodeContext<'_, '_>) -> Outcome {
    match ctx.attributes.int_or("block_size", 0)? {
        0 => Ok(()),
        size => Fault::unsupported(format!("attribute `block_size` is {size}; blocked quantisation is not supported")),
    }
}

fn quantize_linear(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    expect_unblocked(ctx)?;
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32])?;
    let stored = match (ctx.optional(2), ctx.attributes.int_or("output_dtype", 0)?) {
        (Some(zero), _) => ctx.ty(zero).dtype,
        (None, 0) => DType::U8,
        (None, code) => {
            let code = i32::try_from(code).unwrap_or(0);
            dtype(code)
                .ok_or_else(|| Fault::Unsupported(format!("attribute `output_dtype` is {}", dtype_name(code))))?
        }
    };
    if !matches!(stored, DType::U8 | DType::I8) {
        return Fault::unsupported("it quantises to a type other than uint8 or int8");
    }
    let axis = ctx.attributes.int_or("axis", 1)?;
    let parameters = parameters(ctx, [1, 2], &ctx.shape(x), axis, stored)?;
    if let Some(tensor) = ctx.constant_of(x) {
        ctx.charge(Some(tensor.len()))?;
        return ctx.bind_constant(0, quantized(&tensor, &parameters));
    }
    emit_quantize(ctx, "", x, parameters).and_then(|y| ctx.bind(0, y))
}

fn dequantize_linear(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    expect_unblocked(ctx)?;
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::U8, DType::I8, DType::I32])?;
    let ty = ctx.ty(x).clone();
    let axis = ctx.attributes.int_or("axis", 1)?;
    let parameters = parameters(ctx, [1, 2], &ty.shape, axis, ty.dtype)?;
    if let Some(tensor) = ctx.constant_of(x)
        && (ty.shape.len() < 2 || ty.dtype == DType::I32 || !ctx.importer.is_weight(ctx.output_name(0)))
    {
        ctx.charge(Some(tensor.len()))?;
        return ctx.bind_constant(0, dequantized(&tensor, &parameters));
    }
    emit_dequantize(ctx, "", x, parameters).and_then(|y| ctx.bind(0, y))
}

/// Adds a quantisation of `x`; a border of zeros stays a border.
pub(super) fn emit_quantize(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    x: ValueId,
    parameters: Quantization,
) -> Result<ValueId, Fault> {
    convert(ctx, suffix, x, parameters.dtype, Op::Quantize(parameters))
}

/// Adds a dequantisation of `x`, which may be a constant; a border of zeros stays a border.
pub(super) fn emit_dequantize(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    x: ValueId,
    parameters: Quantization,
) -> Result<ValueId, Fault> {
    let y = convert(ctx, suffix, x, DType::F32, Op::Dequantize(parameters.clone()))?;
    if ctx.constant_of(x).is_some() {
        ctx.importer.quantized_weights.insert(y, (x, parameters));
    }
    Ok(y)
}

fn convert(ctx: &mut NodeContext<'_, '_>, suffix: &str, x: ValueId, to: DType, op: Op) -> Result<ValueId, Fault> {
    match ctx.importer.padded.get(&x).cloned() {
        Some(map) if !map.lowest => {
            let shape = ctx.shape(map.source);
            let inner = ctx.emit(suffix, op, vec![map.source], to, &shape)?;
            emit_padded(ctx, inner, map.pad, false)
        }
        _ => {
            let shape = ctx.shape(x);
            ctx.emit(suffix, op, vec![x], to, &shape)
        }
    }
}

/// For every element of a tensor, the index of its scale.
fn scale_of_each(shape: &[usize], parameters: &Quantization) -> Positions {
    let mut per_axis = vec![0; shape.len()];
    if parameters.scale.len() > 1 {
        per_axis[parameters.axis] = 1;
    }
    Positions::new(shape, 0, &per_axis)
}

/// Quantises a constant, dividing as ONNX does.
fn quantized(tensor: &Tensor, parameters: &Quantization) -> Tensor {
    let (lo, hi) = if parameters.dtype == DType::U8 { (0.0, 255.0) } else { (-128.0, 127.0) };
    let values = tensor.as_f32().unwrap_or_default().iter().zip(scale_of_each(&tensor.shape, parameters));
    let stored =
        values.map(|(&x, i)| ((x / parameters.scale[i]).round_ties_even() + parameters.zero[i] as f32).clamp(lo, hi));
    let data = match parameters.dtype {
        DType::U8 => Data::U8(stored.map(|x| x as u8).collect()),
        _ => Data::I8(stored.map(|x| x as i8).collect()),
    };
    Tensor::new(tensor.shape.clone(), data)
}

/// Dequantises a constant.
fn dequantized(tensor: &Tensor, parameters: &Quantization) -> Tensor {
    let stored = tensor.to_i64s().unwrap_or_default();
    let real = stored
        .iter()
        .zip(scale_of_each(&tensor.shape, parameters))
        .map(|(&q, i)| (q - i64::from(parameters.zero[i])) as f32 * parameters.scale[i]);
    Tensor::f32(tensor.shape.clone(), real.collect())
}

/// The constant behind a dequantised weight with its axes reordered and its shape changed, dequantised along axis 0;
/// `axis` is where output channels lie in the stored constant.
pub(super) fn emit_rearranged(
    ctx: &mut NodeContext<'_, '_>,
    suffix: &str,
    (stored, parameters): (ValueId, Quantization),
    perm: &[usize],
    axis: usize,
    shape: &[usize],
) -> Result<ValueId, Fault> {
    if parameters.scale.len() > 1 && parameters.axis != axis {
        return Fault::unsupported("its weight is not quantised per output channel");
    }
    let tensor = match ctx.constant_of(stored) {
        Some(tensor) => tensor,
        None => return Fault::unsupported("its weight must be a constant"),
    };
    ctx.charge(Some(tensor.len()))?;
    let rearranged = crate::onnx::constant::transpose(&tensor, perm).reshaped(shape);
    let name = format!("{suffix}.stored");
    let stored = ctx.add_constant(&name, rearranged);
    emit_dequantize(ctx, suffix, stored, Quantization { axis: 0, ..parameters })
}
