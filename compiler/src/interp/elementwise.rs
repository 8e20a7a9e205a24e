//! Functions of single elements.

use super::Error;
use super::strided::{Element, broadcast_strides, gather};
use crate::ir::{Activation, Binary, DType, Data, Tensor, Type};
use peristyle_runtime::simd::math;
use std::borrow::Cow;

/// [`Op::Activation`](crate::ir::Op::Activation).
pub(super) fn activation(activation: Activation, x: &Tensor) -> Data {
    Data::F32(f32::of(x).iter().map(|&x| activate(activation, x)).collect())
}

/// The activation of one element.
pub(super) fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => maximum(x, 0.0),
        Activation::LeakyRelu { alpha } => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        Activation::Silu => math::silu(x),
        Activation::Sigmoid => math::sigmoid(x),
        Activation::HardSwish => math::hard_swish(x),
        Activation::HardSigmoid { alpha, beta } => math::hard_sigmoid(x, alpha, beta),
        Activation::Clip { lo, hi } => math::clamp(x, lo, hi),
    }
}

/// `a` when it is greater, else `b`: the order in which `maxps` treats a NaN.
fn maximum(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

fn minimum(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// [`Op::BatchNorm`](crate::ir::Op::BatchNorm), in `f64`, rounded once.
pub(super) fn batch_norm(epsilon: f32, inputs: &[&Tensor]) -> Data {
    let x = inputs[0];
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|i| f32::of(inputs[i]));
    let channel_len: usize = x.shape[2..].iter().product();
    let normalise = |(i, &x): (usize, &f32)| {
        let c = i / channel_len % scale.len();
        let factor = f64::from(scale[c]) / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
        ((f64::from(x) - f64::from(mean[c])) * factor + f64::from(bias[c])) as f32
    };
    Data::F32(f32::of(x).iter().enumerate().map(normalise).collect())
}

/// [`Op::Binary`](crate::ir::Op::Binary).
pub(super) fn binary(binary: Binary, a: &Tensor, b: &Tensor, ty: &Type) -> Result<Data, Error> {
    Ok(match ty.dtype {
        DType::I64 => Data::I64(zip(a, b, ty, |a: i64, b: i64| integer(binary, a, b))?),
        DType::I32 => {
            let narrow = |a: i32, b: i32| {
                let (a, b) = (i64::from(a), i64::from(b));
                let result = integer(binary, a, b)?;
                i32::try_from(result).map_err(|_| no_result(binary, a, b))
            };
            Data::I32(zip(a, b, ty, narrow)?)
        }
        _ => Data::F32(zip(a, b, ty, |a, b| Ok(float(binary, a, b)))?),
    })
}

fn zip<T: Element>(a: &Tensor, b: &Tensor, ty: &Type, f: impl Fn(T, T) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let (a, b) = (broadcast::<T>(a, &ty.shape), broadcast::<T>(b, &ty.shape));
    a.iter().zip(b.iter()).map(|(&a, &b)| f(a, b)).collect()
}

fn broadcast<'a, T: Element>(x: &'a Tensor, shape: &[usize]) -> Cow<'a, [T]> {
    if x.shape == shape {
        return Cow::Borrowed(T::of(x));
    }
    Cow::Owned(gather(T::of(x), 0, shape, &broadcast_strides(&x.shape, shape)))
}

fn float(binary: Binary, a: f32, b: f32) -> f32 {
    match binary {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow if b == 2.0 => a * a,
        Binary::Pow => a.powf(b),
        Binary::Max => maximum(a, b),
        Binary::Min => minimum(a, b),
    }
}

fn integer(binary: Binary, a: i64, b: i64) -> Result<i64, Error> {
    let result = match binary {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div => a.checked_div(b),
        Binary::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        Binary::Max => Some(a.max(b)),
        Binary::Min => Some(a.min(b)),
    };
    result.ok_or_else(|| no_result(binary, a, b))
}

fn no_result(binary: Binary, a: i64, b: i64) -> Error {
    Error::Arithmetic { operation: binary.name(), a, b }
}
