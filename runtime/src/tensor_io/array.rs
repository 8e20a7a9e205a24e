//! A tensor of any element type that a model has at its ends.

/// A dense row-major array. Invariant: as many elements as `shape` says.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    F32 { shape: Vec<usize>, data: Vec<f32> },
    U8 { shape: Vec<usize>, data: Vec<u8> },
    I8 { shape: Vec<usize>, data: Vec<i8> },
    I32 { shape: Vec<usize>, data: Vec<i32> },
    I64 { shape: Vec<usize>, data: Vec<i64> },
}

impl Array {
    /// Extent of every axis; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        match self {
            Array::F32 { shape, .. }
            | Array::U8 { shape, .. }
            | Array::I8 { shape, .. }
            | Array::I32 { shape, .. }
            | Array::I64 { shape, .. } => shape,
        }
    }

    /// Name of the element type, as in `f32`.
    pub fn dtype(&self) -> &'static str {
        match self {
            Array::F32 { .. } => "f32",
            Array::U8 { .. } => "u8",
            Array::I8 { .. } => "i8",
            Array::I32 { .. } => "i32",
            Array::I64 { .. } => "i64",
        }
    }

    /// Element type and shape as messages show them: `f32[1x3x640x640]`.
    pub fn type_name(&self) -> String {
        let extents: Vec<String> = self.shape().iter().map(usize::to_string).collect();
        format!("{}[{}]", self.dtype(), extents.join("x"))
    }
}
