//! Facts about a layer that running it does not need: what profiles and reports print.

use alloc::borrow::Cow;

/// Extents of a tensor for one image: axis 0, the batch, is 1.
pub type Shape = Cow<'static, [usize]>;

/// What the compiler knows about a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerInfo {
    /// Operator in the words of the source model: `Conv`, `MaxPool`; `Load`, `Copy` and `Store` for what the compiler
    /// added.
    pub op: Cow<'static, str>,
    /// Shapes of what it reads, constants left out.
    pub inputs: Cow<'static, [Shape]>,
    /// Shapes of what it writes.
    pub outputs: Cow<'static, [Shape]>,
    /// The window of a convolution or pool.
    pub window: Option<Window>,
    /// Weights, and how many of them are not zero.
    pub weights: (u64, u64),
    /// Bits per weight, 8 for integer arithmetic; 0 without weights.
    pub weight_bits: u32,
    /// Multiply-accumulates per image of the dense layer, and those left after skipping zeros.
    pub macs: (u64, u64),
    /// Name of the kernel; of a convolution, the one for AVX2.
    pub kernel: Cow<'static, str>,
    /// Why that kernel, in one sentence; empty where there is no choice.
    pub reason: Cow<'static, str>,
}

/// Height and width of a window and of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Extent.
    pub size: [usize; 2],
    /// Step from one output to the next.
    pub stride: [usize; 2],
}
