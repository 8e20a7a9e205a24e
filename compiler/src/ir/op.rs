//! The canonical operator set. Each variant states the inputs it takes, in order, and what it computes.

use super::ty::{DType, Quantization};

/// An operator. Feature maps are NCHW; the batch axis has extent 1 throughout.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution with its epilogue. See [`Conv`].
    Conv(Conv),
    /// `x: u8|i8, w: u8|i8 constant` to `i32`: convolution of `(x - x_zero) * (w - w_zero)`; padding adds nothing.
    /// Exists only before the quantisation pass folds it into [`Op::Conv`].
    ConvInteger {
        /// Window geometry.
        geometry: ConvGeometry,
        /// Zero point of `x`.
        x_zero: i32,
        /// Zero point of `w`: one, or one per output channel.
        w_zero: Vec<i32>,
    },
    /// `x, scale, bias, mean, variance` (all constant but `x`), per channel of axis 1.
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Elementwise function of one input.
    Activation(Activation),
    /// Elementwise function of two inputs with NumPy broadcasting; `f32` or `i32` or `i64`.
    Binary(Binary),
    /// `f32` to `U8|I8`, see [`Quantization`].
    Quantize(Quantization),
    /// `U8|I8|I32` to `f32`: `(x - zero) * scale`.
    Dequantize(Quantization),
    /// Conversion of element type; floats round toward zero.
    Cast(DType),
    /// Maximum over a window; padding never wins. Any of `f32|u8|i8`.
    MaxPool(Pool),
    /// Mean over a window.
    AveragePool {
        /// Window geometry.
        pool: Pool,
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
    /// Mean over height and width; output `[1, c, 1, 1]`.
    GlobalAveragePool,
    /// Nearest-neighbour enlargement by whole factors: `out[y][x] = in[y / scale[0]][x / scale[1]]`.
    ResizeNearest {
        /// Factors of height and width.
        scale: [usize; 2],
    },
    /// Any number of inputs joined along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Strided slice: index `i` along axis `a` of the output reads `starts[a] + i * steps[a]`; extents come from the output type.
    Slice {
        /// First index of every axis.
        starts: Vec<usize>,
        /// Step of every axis, at least 1.
        steps: Vec<usize>,
    },
    /// The same elements, row-major, under the output's shape.
    Reshape,
    /// `out.shape[i] = in.shape[perm[i]]`.
    Transpose {
        /// Source axis of every output axis.
        perm: Vec<usize>,
    },
    /// Batched matrix product with NumPy broadcasting of the leading axes.
    MatMul,
    /// `exp(x) / sum(exp(x))` along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Decode of anchor-based detection heads: one raw `f32[1, anchors * outputs, h, w]` per level to
    /// `f32[1, sum(anchors * h * w), outputs]`, ordered by level, anchor, row, column.
    DetectHead(DetectHead),
}

/// Window geometry of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pad: [usize; 4],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Channel groups; `input channels` for a depthwise convolution.
    pub group: usize,
}

/// Convolution. Inputs: `x`, `weight: [out, in / group, kh, kw]` (constant), `bias: f32[out]` (constant, always
/// present), and the residual `f32` map of the output's shape when [`Epilogue::residual`] is set.
///
/// Float: `x`, `weight` are `f32` and `y = conv(x, weight) + bias`.
/// Quantised: `x: u8`, `weight: i8`, and
/// `y = fma((sum(w * (x - x_zero)) + acc_bias) as f32, scale, bias)`, the sum exact in `i32`, padding equal to `x_zero`.
/// One output per entry of [`Epilogue::stores`].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Window geometry.
    pub geometry: ConvGeometry,
    /// Present when the convolution runs on integers.
    pub quant: Option<ConvQuant>,
    /// What happens to every accumulated element before it is stored.
    pub epilogue: Epilogue,
}

/// Integer side of a quantised convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvQuant {
    /// Zero point of the input.
    pub x_zero: u8,
    /// Scale of the accumulator, one per output channel (`x` scale times `w` scale).
    pub scale: Vec<f32>,
    /// Integer bias, one per output channel.
    pub acc_bias: Vec<i32>,
}

/// Elementwise tail of a convolution: activation, residual, stores.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    /// Applied to the biased sum.
    pub activation: Activation,
    /// Where the residual input is added, if there is one.
    pub residual: Option<Residual>,
    /// One stored output each, in the order of the node's outputs; at least one.
    pub stores: Vec<Store>,
}

impl Default for Epilogue {
    fn default() -> Self {
        Epilogue { activation: Activation::Identity, residual: None, stores: vec![Store::F32] }
    }
}

/// Where a residual is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `activation(sum + residual)`, as in ResNet.
    BeforeActivation,
    /// `activation(sum) + residual`, as in a YOLO bottleneck.
    AfterActivation,
}

/// How an epilogue stores its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store {
    /// As `f32`.
    F32,
    /// Quantised per tensor to `u8`; see [`Quantization`] for the rounding.
    U8 {
        /// Scale.
        scale: f32,
        /// Zero point.
        zero: u8,
    },
}

/// Elementwise functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x < 0 ? alpha * x : x`
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x * sigmoid(x)`
    Silu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * clamp(x / 6 + 0.5, 0, 1)`
    HardSwish,
    /// `clamp(alpha * x + beta, 0, 1)`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `min(max(x, lo), hi)`
    Clip {
        /// Lower bound.
        lo: f32,
        /// Upper bound.
        hi: f32,
    },
}

/// Elementwise functions of two inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
}

/// Window geometry of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right (`ceil_mode` is resolved into bottom and right).
    pub pad: [usize; 4],
}

/// Parameters of [`Op::DetectHead`].
///
/// With `s = sigmoid(raw)`: `x = (s0 * 2 + (column - 0.5)) * stride`, `y` likewise with the row,
/// `w = (s2 * 2) * (s2 * 2) * anchor.w`, `h` likewise, every other output `s`.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectHead {
    /// Outputs per anchor: 5 + classes.
    pub outputs: usize,
    /// One per input, in order.
    pub levels: Vec<DetectLevel>,
}

/// One scale of a [`DetectHead`].
#[derive(Clone, Debug, PartialEq)]
pub struct DetectLevel {
    /// Pixels of the network input per cell.
    pub stride: f32,
    /// Width and height of every anchor, in pixels of the network input.
    pub anchors: Vec<[f32; 2]>,
}
