//! Runs a compiled [`Program`]: arena, threads, schedule.

#[cfg(feature = "std")]
pub mod affinity;
mod arena;
mod class;
#[cfg_attr(not(feature = "std"), path = "clockless.rs")]
mod clock;
mod error;
pub mod golden;
pub mod info;
mod needs;
mod observe;
pub mod program;
mod progress;
mod run;
mod shares;
pub mod spec;
#[cfg_attr(not(feature = "std"), path = "alone.rs")]
mod threads;
mod validate;
mod work;

// Emitted code has its tables in it, with `std` and without.
#[doc(hidden)]
pub use alloc::borrow::Cow;
pub use class::UnknownClass;
pub use error::StartError;
pub use info::{LayerInfo, Shape, Window};
#[doc(hidden)]
pub use needs::{overlaps, units_read};
pub use program::{Kind, Layer, Needs, Program, Step};
pub use run::{Engine, cores};
pub use shares::share;
pub use spec::{DType, DetectorSpec, Head, ModelSpec, RawLevel, TensorSpec};
pub use threads::MAX_THREADS;
pub use validate::ProgramError;

use crate::kernels::strided::Base;
use crate::simd::Isa;

/// Memory of one run as a layer sees it.
#[derive(Clone, Copy)]
pub struct Buffers<'a> {
    /// What the model says about itself.
    pub spec: &'static ModelSpec,
    /// Start of the arena.
    pub arena: *mut u8,
    /// Start of this thread's scratch.
    pub scratch: *mut u8,
    /// First byte of every model input.
    pub inputs: &'a [*const u8],
    /// First byte of every model output.
    pub outputs: &'a [*mut u8],
    /// Which image of the inputs and outputs is computed.
    pub image: usize,
}

impl Buffers<'_> {
    /// First byte of this image in a model input.
    ///
    /// # Safety
    /// The inputs hold this image.
    pub unsafe fn input(&self, index: usize) -> *const u8 {
        let spec = &self.spec.inputs[index];
        // SAFETY: by the contract.
        unsafe { self.inputs[index].add(self.image * spec.len() * spec.dtype.size()) }
    }

    /// First byte of a base.
    ///
    /// # Safety
    /// Inputs and outputs hold this image. Inputs and constants must not be written through the pointer.
    pub unsafe fn base(&self, base: &Base) -> *mut u8 {
        match base {
            Base::Arena => self.arena,
            // SAFETY: by the contract.
            &Base::Input(index) => unsafe { self.input(index).cast_mut() },
            &Base::Output(index) => {
                let spec = &self.spec.outputs[index];
                // SAFETY: by the contract.
                unsafe { self.outputs[index].add(self.image * spec.len() * spec.dtype.size()) }
            }
            Base::Constant(values) => values.as_ptr().cast_mut().cast(),
        }
    }
}

/// Elements of one model input: one or more images, each as long as its [`TensorSpec`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum TensorRef<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
}

/// Room for one model output, as many images as the inputs hold.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum TensorMut<'a> {
    F32(&'a mut [f32]),
    U8(&'a mut [u8]),
}

/// A model that can run: the compiled [`Engine`], or a stand-in in tests.
pub trait Infer: Send {
    /// What the model says about itself.
    fn spec(&self) -> &'static ModelSpec;

    /// Runs a whole number of images, at least one, from `inputs` to `outputs`, both in the order of the spec.
    ///
    /// # Errors
    /// [`RunError`] when the number, element type or length of the tensors does not fit the spec; nothing is computed then.
    fn run(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) -> Result<(), RunError>;

    /// The compiled engine, whose layers can be timed; `None` for a stand-in.
    fn engine(&mut self) -> Option<&mut Engine> {
        None
    }

    /// The instruction set that it runs with: that of the engine, for a stand-in the machine's best.
    fn isa(&mut self) -> Isa {
        self.engine().map_or_else(Isa::detect, |engine| Engine::isa(engine))
    }
}

/// A call that does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Wrong number of inputs or outputs.
    #[error("the model has {expected} {what}, the call passes {got}")]
    Count {
        /// "inputs" or "outputs".
        what: &'static str,
        /// Tensors in the spec.
        expected: usize,
        /// Tensors in the call.
        got: usize,
    },
    /// Wrong element type.
    #[error("tensor `{name}` holds {expected:?} elements, the call passes another type")]
    DType {
        /// Tensor in the spec.
        name: &'static str,
        /// Its element type.
        expected: DType,
    },
    /// Wrong length.
    #[error("tensor `{name}` has {per_image} elements per image, the call passes {got} for {images} images")]
    Length {
        /// Tensor in the spec.
        name: &'static str,
        /// Elements per image.
        per_image: usize,
        /// Elements in the call.
        got: usize,
        /// Images in the call, from its first input.
        images: usize,
    },
}
