//! What an operator shows after its operands. Fields at their neutral value (stride 1, no padding) are left out.

use super::constant::Channels;
use crate::ir::{
    Activation, Binary, Conv, ConvGeometry, DetectHead, Epilogue, Op, Pool, Quantization, Residual, Store,
};
use std::fmt::{self, Display, Formatter};

/// Attributes of an operator, each preceded by a space.
pub(super) struct Attributes<'a>(pub(super) &'a Op);

impl Display for Attributes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Op::Conv(conv) => fmt_conv(f, conv),
            Op::ConvInteger { geometry, x_zero, w_zero } => {
                fmt_geometry(f, geometry)?;
                write!(f, " x_zero={x_zero} w_zero={}", Channels(w_zero))
            }
            Op::BatchNorm { epsilon } => write!(f, " epsilon={epsilon:?}"),
            Op::Activation(activation) => write!(f, " {}", Named(*activation)),
            Op::Binary(binary) => write!(f, " {}", binary.name()),
            Op::Quantize(q) | Op::Dequantize(q) => fmt_quantization(f, q),
            Op::Cast(dtype) => write!(f, " {dtype}"),
            Op::MaxPool(pool) => fmt_pool(f, pool),
            Op::AveragePool { pool, count_include_pad } => {
                fmt_pool(f, pool)?;
                write!(f, " count_include_pad={count_include_pad}")
            }
            Op::ResizeNearest { scale: [h, w] } => write!(f, " scale={h}x{w}"),
            Op::Concat { axis } | Op::Softmax { axis } => write!(f, " axis={axis}"),
            Op::Slice { starts, steps } => write!(f, " starts={starts:?} steps={steps:?}"),
            Op::Transpose { perm } => write!(f, " perm={perm:?}"),
            Op::DetectHead(head) => fmt_head(f, head),
            Op::GlobalAveragePool | Op::Reshape | Op::MatMul => Ok(()),
        }
    }
}

fn fmt_conv(f: &mut Formatter<'_>, conv: &Conv) -> fmt::Result {
    fmt_geometry(f, &conv.geometry)?;
    if let Some(quant) = &conv.quant {
        write!(f, " x_zero={} scale={}", quant.x_zero, Channels(&quant.scale))?;
        write!(f, " acc_bias={}", Channels(&quant.acc_bias))?;
    }
    let Epilogue { activation, residual, stores } = &conv.epilogue;
    if *residual == Some(Residual::BeforeActivation) {
        f.write_str(" +residual")?;
    }
    write!(f, " {}", Named(*activation))?;
    if *residual == Some(Residual::AfterActivation) {
        f.write_str(" +residual")?;
    }
    f.write_str(" store=[")?;
    for (i, store) in stores.iter().enumerate() {
        let separator = if i > 0 { ", " } else { "" };
        match store {
            Store::F32 => write!(f, "{separator}f32")?,
            Store::U8 { scale, zero } => write!(f, "{separator}u8 scale={scale:?} zero={zero}")?,
        }
    }
    f.write_str("]")
}

fn fmt_geometry(f: &mut Formatter<'_>, geometry: &ConvGeometry) -> fmt::Result {
    fmt_window(f, geometry.kernel, geometry.stride, geometry.pad)?;
    if geometry.dilation != [1, 1] {
        write!(f, " d={}x{}", geometry.dilation[0], geometry.dilation[1])?;
    }
    if geometry.group != 1 {
        write!(f, " g={}", geometry.group)?;
    }
    Ok(())
}

fn fmt_pool(f: &mut Formatter<'_>, pool: &Pool) -> fmt::Result {
    fmt_window(f, pool.kernel, pool.stride, pool.pad)
}

fn fmt_window(f: &mut Formatter<'_>, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 4]) -> fmt::Result {
    write!(f, " k={}x{}", kernel[0], kernel[1])?;
    if stride != [1, 1] {
        write!(f, " s={}x{}", stride[0], stride[1])?;
    }
    if pad != [0; 4] {
        write!(f, " p={},{},{},{}", pad[0], pad[1], pad[2], pad[3])?;
    }
    Ok(())
}

fn fmt_quantization(f: &mut Formatter<'_>, q: &Quantization) -> fmt::Result {
    write!(f, " {} scale={} zero={}", q.dtype, Channels(&q.scale), Channels(&q.zero))?;
    if q.scale.len() > 1 {
        write!(f, " axis={}", q.axis)?;
    }
    Ok(())
}

fn fmt_head(f: &mut Formatter<'_>, head: &DetectHead) -> fmt::Result {
    write!(f, " outputs={}", head.outputs)?;
    for level in &head.levels {
        write!(f, " stride={:?} anchors={:?}", level.stride, level.anchors)?;
    }
    Ok(())
}

impl Binary {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Pow => "pow",
            Binary::Max => "max",
            Binary::Min => "min",
        }
    }
}

/// An activation as `leaky_relu(0.1)`.
struct Named(Activation);

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Activation::Identity => f.write_str("identity"),
            Activation::Relu => f.write_str("relu"),
            Activation::LeakyRelu { alpha } => write!(f, "leaky_relu({alpha:?})"),
            Activation::Silu => f.write_str("silu"),
            Activation::Sigmoid => f.write_str("sigmoid"),
            Activation::HardSwish => f.write_str("hard_swish"),
            Activation::HardSigmoid { alpha, beta } => write!(f, "hard_sigmoid({alpha:?}, {beta:?})"),
            Activation::Clip { lo, hi } => write!(f, "clip({lo:?}, {hi:?})"),
        }
    }
}
