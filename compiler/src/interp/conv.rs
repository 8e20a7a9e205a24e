//! Convolutions with their epilogue.

use super::Error;
use super::convolve::{Operands, convolve};
use super::elementwise::activate;
use super::quantized::quantize_element;
use super::strided::Element;
use crate::ir::{Conv, ConvGeometry, ConvQuant, DType, Data, Residual, Store, Tensor, Type};

/// [`Op::Conv`](crate::ir::Op::Conv).
pub(super) fn conv(conv: &Conv, inputs: &[&Tensor], types: &[Type]) -> Result<Vec<Tensor>, Error> {
    let bias = f32::of(inputs[2]);
    let biased = match &conv.quant {
        None => float_sums(&conv.geometry, inputs, bias, &types[0]),
        Some(quant) => quantized_sums(&conv.geometry, quant, inputs, bias, &types[0])?,
    };
    let residual = inputs.get(3).map(|t| f32::of(t));
    let results = finish(conv, biased, residual);
    let stored = conv.epilogue.stores.iter().zip(types);
    Ok(stored.map(|(s, ty)| Tensor::new(ty.shape.clone(), store(*s, &results))).collect())
}

/// [`Op::ConvInteger`](crate::ir::Op::ConvInteger).
pub(super) fn conv_integer(
    geometry: &ConvGeometry,
    x_zero: i32,
    w_zero: &[i32],
    x: &Tensor,
    w: &Tensor,
    ty: &Type,
) -> Result<Data, Error> {
    let sums = integer_sums(geometry, (x, x_zero), (w, w_zero), ty);
    let channel_len = ty.shape[2] * ty.shape[3];
    let exact = |(i, &sum): (usize, &f64)| accumulator(sum as i64, i / channel_len);
    Ok(Data::I32(sums.iter().enumerate().map(exact).collect::<Result<_, _>>()?))
}

fn float_sums(geometry: &ConvGeometry, inputs: &[&Tensor], bias: &[f32], ty: &Type) -> Vec<f32> {
    let (x, weight) = (f32::of(inputs[0]), f32::of(inputs[1]));
    let operands =
        Operands { geometry, x, x_shape: map_extents(&inputs[0].shape), weight, out_shape: map_extents(&ty.shape) };
    convolve(&operands, |channel| f64::from(bias[channel])).into_iter().map(|sum| sum as f32).collect()
}

fn quantized_sums(
    geometry: &ConvGeometry,
    quant: &ConvQuant,
    inputs: &[&Tensor],
    bias: &[f32],
    ty: &Type,
) -> Result<Vec<f32>, Error> {
    let sums = integer_sums(geometry, (inputs[0], i32::from(quant.x_zero)), (inputs[1], &[0]), ty);
    let channel_len = ty.shape[2] * ty.shape[3];
    let scaled = |(i, &sum): (usize, &f64)| {
        let channel = i / channel_len;
        let acc = accumulator(sum as i64 + i64::from(quant.acc_bias[channel]), channel)?;
        Ok((acc as f32).mul_add(quant.scale[channel], bias[channel]))
    };
    sums.iter().enumerate().map(scaled).collect()
}

/// `sum((x - x_zero) * (w - w_zero))`, whole numbers.
fn integer_sums(geometry: &ConvGeometry, x: (&Tensor, i32), w: (&Tensor, &[i32]), ty: &Type) -> Vec<f64> {
    let x_centred = centred(x.0, &[x.1]);
    let weight = centred(w.0, w.1);
    let operands = Operands {
        geometry,
        x: &x_centred,
        x_shape: map_extents(&x.0.shape),
        weight: &weight,
        out_shape: map_extents(&ty.shape),
    };
    convolve(&operands, |_| 0.0)
}

/// The elements less their zero point, one for all or one per index of axis 0.
fn centred(tensor: &Tensor, zeros: &[i32]) -> Vec<f32> {
    let per_zero = (tensor.len() / zeros.len().max(1)).max(1);
    let centre = |(i, x): (usize, i32)| (x - zeros[i / per_zero]) as f32;
    match tensor.dtype() {
        DType::U8 => u8::of(tensor).iter().map(|&x| i32::from(x)).enumerate().map(centre).collect(),
        _ => i8::of(tensor).iter().map(|&x| i32::from(x)).enumerate().map(centre).collect(),
    }
}

fn accumulator(sum: i64, channel: usize) -> Result<i32, Error> {
    i32::try_from(sum).map_err(|_| Error::AccumulatorOverflow { channel })
}

fn finish(conv: &Conv, mut sums: Vec<f32>, residual: Option<&[f32]>) -> Vec<f32> {
    let activation = conv.epilogue.activation;
    match (conv.epilogue.residual, residual) {
        (Some(Residual::BeforeActivation), Some(residual)) => {
            sums.iter_mut().zip(residual).for_each(|(y, r)| *y = activate(activation, *y + r));
        }
        (Some(Residual::AfterActivation), Some(residual)) => {
            sums.iter_mut().zip(residual).for_each(|(y, r)| *y = activate(activation, *y) + r);
        }
        _ => sums.iter_mut().for_each(|y| *y = activate(activation, *y)),
    }
    sums
}

fn store(store: Store, results: &[f32]) -> Data {
    match store {
        Store::F32 => Data::F32(results.to_vec()),
        Store::U8 { scale, zero } => {
            Data::U8(results.iter().map(|&y| quantize_element(y, scale, i32::from(zero), 0, 255) as u8).collect())
        }
    }
}

/// Channels, height and width of `[1, channels, height, width]`.
fn map_extents(shape: &[usize]) -> [usize; 3] {
    shape[1..].try_into().expect("a feature map has four axes")
}
