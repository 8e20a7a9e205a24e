//! Tensors from archives, and how far two tensors lie apart.

use peristyle_compiler::ir::{Data, Tensor};
use peristyle_runtime::tensor_io::{Array, read_tensors};
use std::path::Path;

/// The arrays of an archive by name, in file order.
pub fn read(path: &Path) -> Vec<(String, Tensor)> {
    let arrays = read_tensors(path).unwrap_or_else(|e| panic!("{e}"));
    arrays.into_iter().map(|(name, array)| (name, tensor(array))).collect()
}

fn tensor(array: Array) -> Tensor {
    match array {
        Array::F32 { shape, data } => Tensor::new(shape, Data::F32(data)),
        Array::U8 { shape, data } => Tensor::new(shape, Data::U8(data)),
        Array::I8 { shape, data } => Tensor::new(shape, Data::I8(data)),
        Array::I32 { shape, data } => Tensor::new(shape, Data::I32(data)),
        Array::I64 { shape, data } => Tensor::new(shape, Data::I64(data)),
    }
}

/// Elements of any type as numbers.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    match &tensor.data {
        Data::F32(v) => v.iter().map(|&x| x.into()).collect(),
        Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
        _ => tensor.to_i64s().expect("an integer tensor").into_iter().map(|x| x as f64).collect(),
    }
}

/// Floats may differ by this, relative plus absolute: `|a - b| <= FLOAT_BOUND * (1 + |b|)`.
pub const FLOAT_BOUND: f64 = 1e-5;

/// How far results lie from what is expected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Difference {
    /// Greatest `|a - b|`.
    pub absolute: f64,
    /// Greatest `|a - b| / (1 + |b|)`.
    pub scaled: f64,
    /// Mean `|a - b|`.
    pub mean: f64,
    /// Share of elements past [`FLOAT_BOUND`].
    pub share: f64,
}

/// Compares element by element; a NaN equals a NaN, and infinities of one sign are equal.
pub fn difference(got: &[f64], expected: &[f64]) -> Difference {
    assert_eq!(got.len(), expected.len());
    let mut difference = Difference::default();
    for (&a, &b) in got.iter().zip(expected) {
        let distance = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
        let distance = if distance.is_nan() { f64::INFINITY } else { distance };
        let scaled = if distance == 0.0 { 0.0 } else { distance / (1.0 + b.abs()) };
        difference.absolute = difference.absolute.max(distance);
        difference.scaled = difference.scaled.max(scaled);
        difference.mean += distance / got.len() as f64;
        difference.share += f64::from(u8::from(scaled > FLOAT_BOUND)) / got.len() as f64;
    }
    difference
}
