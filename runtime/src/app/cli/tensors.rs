//! Memory for the inputs and outputs of a run.

use crate::app::failure::Failure;
use crate::engine::{DType, ModelSpec, TensorMut, TensorRef, TensorSpec};
use crate::tensor_io::Array;

/// Elements of one input or output of several images.
pub(super) enum Memory {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl Memory {
    /// Checks that there is memory for the inputs and outputs of `images` images in each of `streams` runs at a time.
    ///
    /// # Errors
    /// Names `option`, which chose the number of images.
    pub(super) fn expect_room(spec: &ModelSpec, images: usize, streams: usize, option: &str) -> Result<(), Failure> {
        let tensors = spec.inputs.iter().chain(spec.outputs);
        let image: usize = tensors.map(|tensor| tensor.len() * tensor.dtype.size()).sum();
        let bytes = image.checked_mul(images).and_then(|n| n.checked_mul(streams));
        if bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok()) {
            return Ok(());
        }
        let needed = bytes.map_or_else(String::new, |n| format!(" ({:.1} GB)", n as f64 / 1e9));
        Err(Failure::new(format_args!("no memory for batches of {images} images{needed}; pass a smaller {option}")))
    }

    pub(super) fn zeros(spec: &TensorSpec, images: usize) -> Self {
        match spec.dtype {
            DType::F32 => Self::F32(vec![0.0; spec.len() * images]),
            DType::U8 => Self::U8(vec![0; spec.len() * images]),
        }
    }

    /// Levels 0 to 255, or those levels divided by 255.
    pub(super) fn random(spec: &TensorSpec, images: usize, random: &mut Random) -> Self {
        let mut memory = Self::zeros(spec, images);
        match &mut memory {
            Self::F32(data) => data.fill_with(|| f32::from(random.level()) / 255.0),
            Self::U8(data) => data.fill_with(|| random.level()),
        }
        memory
    }

    pub(super) fn tensor(&self) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(data),
            Self::U8(data) => TensorRef::U8(data),
        }
    }

    pub(super) fn tensor_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F32(data) => TensorMut::F32(data),
            Self::U8(data) => TensorMut::U8(data),
        }
    }

    /// The elements with a shape, which must have as many.
    pub(super) fn into_array(self, shape: Vec<usize>) -> Array {
        match self {
            Self::F32(data) => Array::F32 { shape, data },
            Self::U8(data) => Array::U8 { shape, data },
        }
    }
}

/// The shape of a tensor of `images` images.
pub(super) fn batched_shape(spec: &TensorSpec, images: usize) -> Vec<usize> {
    std::iter::once(images).chain(spec.shape.iter().skip(1).copied()).collect()
}

/// Marsaglia's xorshift64.
pub(super) struct Random(pub u64);

impl Random {
    /// The next level.
    pub(super) fn level(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}
