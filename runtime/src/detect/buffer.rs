//! Memory for a model's inputs and outputs.

use crate::engine::{DType, TensorMut, TensorRef, TensorSpec};
use alloc::vec::Vec;

/// Elements of one input or output of several images; grows to the largest call and stays.
pub(super) enum Buffer {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl Buffer {
    pub(super) fn new(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32(Vec::new()),
            DType::U8 => Self::U8(Vec::new()),
        }
    }

    /// Makes room for `images` images of `spec`.
    pub(super) fn reserve(&mut self, spec: &TensorSpec, images: usize) {
        let len = spec.len() * images;
        match self {
            Self::F32(data) if data.len() < len => data.resize(len, 0.0),
            Self::U8(data) if data.len() < len => data.resize(len, 0),
            _ => {}
        }
    }

    /// The first `len` elements.
    pub(super) fn tensor(&self, len: usize) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(&data[..len]),
            Self::U8(data) => TensorRef::U8(&data[..len]),
        }
    }

    /// The first `len` elements.
    pub(super) fn tensor_mut(&mut self, len: usize) -> TensorMut<'_> {
        match self {
            Self::F32(data) => TensorMut::F32(&mut data[..len]),
            Self::U8(data) => TensorMut::U8(&mut data[..len]),
        }
    }
}
