//! Changes of element type.

use super::strided::Element;
use crate::ir::{DType, Data, Quantization, Tensor};
use peristyle_runtime::simd::math;

/// [`Op::Quantize`](crate::ir::Op::Quantize).
pub(super) fn quantize(q: &Quantization, x: &Tensor) -> Data {
    let channel = channel_of(q, &x.shape);
    let elements = f32::of(x).iter().enumerate().map(|(i, &x)| (x, channel(i)));
    match q.dtype {
        DType::U8 => {
            Data::U8(elements.map(|(x, c)| quantize_element(x, q.scale[c], q.zero[c], 0, 255) as u8).collect())
        }
        _ => Data::I8(elements.map(|(x, c)| quantize_element(x, q.scale[c], q.zero[c], -128, 127) as i8).collect()),
    }
}

/// `clamp(round_half_even(x / scale) + zero, low, high)`; a NaN becomes `low`.
pub(super) fn quantize_element(x: f32, scale: f32, zero: i32, low: i32, high: i32) -> i32 {
    let steps = math::clamp(x / scale, (low - zero) as f32, (high - zero) as f32);
    steps.round_ties_even() as i32 + zero
}

/// [`Op::Dequantize`](crate::ir::Op::Dequantize).
pub(super) fn dequantize(q: &Quantization, x: &Tensor) -> Data {
    let channel = channel_of(q, &x.shape);
    let real = |(i, x): (usize, i64)| {
        let c = channel(i);
        (x - i64::from(q.zero[c])) as f32 * q.scale[c]
    };
    let stored = x.to_i64s().expect("the operator's type rule holds");
    Data::F32(stored.into_iter().enumerate().map(real).collect())
}

/// The index of the scale that holds for the element at a flat index.
fn channel_of(q: &Quantization, shape: &[usize]) -> impl Fn(usize) -> usize {
    let channels = q.scale.len();
    let inner: usize = if channels == 1 { 1 } else { shape[q.axis + 1..].iter().product() };
    move |i| i / inner % channels
}

/// [`Op::Cast`](crate::ir::Op::Cast).
pub(super) fn cast(dtype: DType, x: &Tensor) -> Data {
    if let Data::F32(v) = &x.data {
        return match dtype {
            DType::F32 => Data::F32(v.clone()),
            DType::U8 => Data::U8(v.iter().map(|&x| x as u8).collect()),
            DType::I8 => Data::I8(v.iter().map(|&x| x as i8).collect()),
            DType::I32 => Data::I32(v.iter().map(|&x| x as i32).collect()),
            DType::I64 => Data::I64(v.iter().map(|&x| x as i64).collect()),
            DType::Bool => Data::Bool(v.iter().map(|&x| x != 0.0).collect()),
        };
    }
    let wide = match &x.data {
        Data::Bool(v) => v.iter().map(|&x| i64::from(x)).collect(),
        _ => x.to_i64s().expect("neither f32 nor bool"),
    };
    match dtype {
        DType::F32 => Data::F32(wide.iter().map(|&x| x as f32).collect()),
        DType::U8 => Data::U8(wide.iter().map(|&x| x as u8).collect()),
        DType::I8 => Data::I8(wide.iter().map(|&x| x as i8).collect()),
        DType::I32 => Data::I32(wide.iter().map(|&x| x as i32).collect()),
        DType::I64 => Data::I64(wide),
        DType::Bool => Data::Bool(wide.iter().map(|&x| x != 0).collect()),
    }
}
