//! Constants, and tensors made from shapes and numbers.

use super::Table;
use crate::ir::{DType, Data, Tensor};
use crate::onnx::constant::{element_count, expand};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome};
use crate::onnx::tensor::{self, MAX_RANK};

pub(super) const TABLE: Table = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("NonZero", non_zero),
    ("Range", range),
    ("Shape", shape),
    ("Size", size),
];

fn constant(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let base_dir = ctx.importer.options.base_dir.as_deref();
    let attributes = ctx.attributes;
    let tensor = if let Some(stored) = attributes.tensor("value")? {
        tensor::read(stored, base_dir)?
    } else if let Some(stored) = attributes.sparse_tensor("sparse_value")? {
        let tensor = tensor::read_sparse(stored, base_dir)?;
        ctx.charge(Some(tensor.len()))?;
        tensor
    } else if let Some(x) = attributes.float("value_float")? {
        Tensor::f32([], vec![x])
    } else if let Some(x) = attributes.int("value_int")? {
        Tensor::i64([], vec![x])
    } else if let Some(v) = attributes.floats("value_floats")? {
        Tensor::f32([v.len()], v.to_vec())
    } else if let Some(v) = attributes.ints("value_ints")? {
        Tensor::i64([v.len()], v.to_vec())
    } else {
        return Fault::unsupported("it holds no tensor of numbers");
    };
    ctx.bind_constant(0, tensor)
}

/// A shape given as constant integers.
pub(super) fn target_shape(ctx: &NodeContext<'_, '_>, index: usize) -> Result<Vec<usize>, Fault> {
    let extents = ctx.integers(index, "shape")?;
    if extents.len() > MAX_RANK {
        return Fault::unsupported(format!("its shape has {} axes, at most {MAX_RANK} are supported", extents.len()));
    }
    let shape = extents.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>();
    shape.ok_or_else(|| Fault::Malformed(format!("its shape [{}] has a negative extent", listed(&extents))))
}

fn constant_of_shape(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let shape = target_shape(ctx, 0)?;
    let value = match ctx.attributes.tensor("value")? {
        Some(stored) => tensor::read(stored, None)?,
        None => Tensor::f32([1], vec![0.0]),
    };
    if value.len() != 1 {
        return Fault::malformed(format!("attribute `value` has {} elements, expected 1", value.len()));
    }
    ctx.charge(element_count(&shape))?;
    ctx.bind_constant(0, expand(&value.reshaped([]), &shape))
}

fn range(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let [start, limit, step] = [ctx.constant(0, "start")?, ctx.constant(1, "limit")?, ctx.constant(2, "delta")?];
    if start.len() != 1 || limit.len() != 1 || step.len() != 1 {
        return Fault::malformed("start, limit and delta must be one number each");
    }
    let count = |n: f64| {
        if n.is_finite() { Ok(n.ceil().max(0.0) as usize) } else { Fault::malformed("its length is not finite") }
    };
    let tensor = match (&start.data, &limit.data, &step.data) {
        (Data::F32(a), Data::F32(b), Data::F32(s)) => {
            let n = count((f64::from(b[0]) - f64::from(a[0])) / f64::from(s[0]))?;
            ctx.charge(Some(n))?;
            Tensor::f32([n], (0..n).map(|i| a[0] + i as f32 * s[0]).collect())
        }
        (Data::I64(a), Data::I64(b), Data::I64(s)) => {
            let n = count((b[0] as f64 - a[0] as f64) / s[0] as f64)?;
            ctx.charge(Some(n))?;
            Tensor::i64([n], (0..n as i64).map(|i| a[0].wrapping_add(i.wrapping_mul(s[0]))).collect())
        }
        (Data::I32(a), Data::I32(b), Data::I32(s)) => {
            let n = count((f64::from(b[0]) - f64::from(a[0])) / f64::from(s[0]))?;
            ctx.charge(Some(n))?;
            let items = (0..n as i32).map(|i| a[0].wrapping_add(i.wrapping_mul(s[0])));
            Tensor::new([n], Data::I32(items.collect()))
        }
        _ => return Fault::unsupported("start, limit and delta must share one of the types f32, i32, i64"),
    };
    ctx.bind_constant(0, tensor)
}

fn shape(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let extents: Vec<i64> = ctx.exported_shape(ctx.input(0)?).iter().map(|&d| d as i64).collect();
    let rank = extents.len() as i64;
    let bound = |name: &str, default: i64| -> Result<usize, Fault> {
        let stated = ctx.attributes.int_or(name, default)?;
        let from_start = if stated < 0 { stated.saturating_add(rank) } else { stated };
        Ok(from_start.clamp(0, rank) as usize)
    };
    let (start, end) = (bound("start", 0)?, bound("end", rank)?);
    let part = extents.get(start..end).unwrap_or_default().to_vec();
    ctx.bind_constant(0, Tensor::i64([part.len()], part))
}

fn size(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let elements: usize = ctx.exported_shape(ctx.input(0)?).iter().product();
    ctx.bind_constant(0, Tensor::i64([], vec![elements as i64]))
}

fn non_zero(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.constant(0, "input")?;
    let truths = match &crate::onnx::constant::cast(&x, DType::Bool).data {
        Data::Bool(v) => v.clone(),
        _ => return Fault::malformed("its input has no truth values"),
    };
    let found: Vec<usize> = (0..truths.len()).filter(|&i| truths[i]).collect();
    ctx.charge(found.len().checked_mul(x.shape.len()))?;
    let mut indices = Vec::with_capacity(found.len() * x.shape.len());
    for (axis, &extent) in x.shape.iter().enumerate() {
        let inner: usize = x.shape[axis + 1..].iter().product();
        indices.extend(found.iter().map(|&i| (i / inner % extent) as i64));
    }
    ctx.bind_constant(0, Tensor::i64([x.shape.len(), found.len()], indices))
}
