//! Element types, shapes, and the parameters of affine quantisation.

use std::fmt;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    U8,
    I8,
    I32,
    I64,
    Bool,
}

impl DType {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::I64 => 8,
            DType::U8 | DType::I8 | DType::Bool => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U8 => "u8",
            DType::I8 => "i8",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::Bool => "bool",
        })
    }
}

/// Element type and static shape of a value. Feature maps are `[1, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// Element type.
    pub dtype: DType,
    /// Extent of every axis; empty for a scalar.
    pub shape: Vec<usize>,
}

impl Type {
    /// A type from its parts.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        Type { dtype, shape: shape.into() }
    }

    /// Number of elements (1 for a scalar).
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether some axis has extent zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str("x")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}

/// Affine quantisation of a tensor: `real = (stored - zero) * scale`.
///
/// Quantising is `stored = clamp(round_half_even(real / scale) + zero)`, the division rounded to `f32`, as in ONNX.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// One scale, or one per index of `axis`.
    pub scale: Vec<f32>,
    /// Zero points, as many as scales.
    pub zero: Vec<i32>,
    /// The axis that per-channel parameters run along; 0 and unused when `scale.len() == 1`.
    pub axis: usize,
    /// Stored element type: `U8`, `I8`, or (for [`Op::Dequantize`](super::Op::Dequantize) only) `I32`.
    pub dtype: DType,
}

impl Quantization {
    /// Per-tensor quantisation.
    pub fn per_tensor(scale: f32, zero: i32, dtype: DType) -> Self {
        Quantization { scale: vec![scale], zero: vec![zero], axis: 0, dtype }
    }

    /// Scale and zero point when they hold for the whole tensor.
    pub fn as_per_tensor(&self) -> Option<(f32, i32)> {
        (self.scale.len() == 1).then(|| (self.scale[0], self.zero[0]))
    }
}
