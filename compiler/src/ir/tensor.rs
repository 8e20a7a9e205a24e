//! Constant tensors: weights, biases, tables.

use super::ty::{DType, Type};

/// Elements of a [`Tensor`], row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

/// A dense row-major tensor. Invariant: the number of elements is the product of `shape`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent of every axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

impl Tensor {
    /// A tensor from its parts.
    ///
    /// # Panics
    /// When the element count does not match the shape.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Self {
        let shape = shape.into();
        let t = Tensor { shape, data };
        assert_eq!(t.len(), t.shape.iter().product::<usize>(), "element count matches shape");
        t
    }

    /// An `f32` tensor.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Tensor::new(shape, Data::F32(data))
    }

    /// An `i64` tensor.
    pub fn i64(shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        Tensor::new(shape, Data::I64(data))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::F32(v) => v.len(),
            Data::U8(v) => v.len(),
            Data::I8(v) => v.len(),
            Data::I32(v) => v.len(),
            Data::I64(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::U8(_) => DType::U8,
            Data::I8(_) => DType::I8,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::Bool(_) => DType::Bool,
        }
    }

    /// Type of the tensor.
    pub fn ty(&self) -> Type {
        Type::new(self.dtype(), self.shape.clone())
    }

    /// The elements when they are `f32`.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data { Some(v) } else { None }
    }

    /// The elements when they are `i8`.
    pub fn as_i8(&self) -> Option<&[i8]> {
        if let Data::I8(v) = &self.data { Some(v) } else { None }
    }

    /// The elements when they are `u8`.
    pub fn as_u8(&self) -> Option<&[u8]> {
        if let Data::U8(v) = &self.data { Some(v) } else { None }
    }

    /// The elements when they are `i32`.
    pub fn as_i32(&self) -> Option<&[i32]> {
        if let Data::I32(v) = &self.data { Some(v) } else { None }
    }

    /// The elements when they are `i64`.
    pub fn as_i64(&self) -> Option<&[i64]> {
        if let Data::I64(v) = &self.data { Some(v) } else { None }
    }

    /// Integer elements of any width, widened.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        match &self.data {
            Data::U8(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Data::I8(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Data::I32(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Data::I64(v) => Some(v.clone()),
            Data::F32(_) | Data::Bool(_) => None,
        }
    }

    /// The same elements under another shape of equal size.
    pub fn reshaped(self, shape: impl Into<Vec<usize>>) -> Self {
        Tensor::new(shape, self.data)
    }
}
