//! What a compiled model says about itself: shapes, classes, detection head, provenance.

/// Element type of a model input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    U8,
}

impl DType {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::U8 => 1,
        }
    }
}

/// A model input or output.
#[derive(Clone, Copy, Debug)]
pub struct TensorSpec {
    /// Name in the source model.
    pub name: &'static str,
    /// Element type.
    pub dtype: DType,
    /// Shape for one image: axis 0, the batch, is 1. `run` takes any whole number of images.
    pub shape: &'static [usize],
}

impl TensorSpec {
    /// Elements per image.
    pub const fn len(&self) -> usize {
        let mut n = 1;
        let mut i = 0;
        while i < self.shape.len() {
            n *= self.shape[i];
            i += 1;
        }
        n
    }

    /// Whether some axis has extent zero.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Everything about a compiled model that is not code.
#[derive(Clone, Copy, Debug)]
pub struct ModelSpec {
    /// Name of the emitted crate.
    pub name: &'static str,
    /// File name of the source model.
    pub source: &'static str,
    /// SHA-256 of the source model, hexadecimal.
    pub sha256: &'static str,
    /// Version of the compiler.
    pub compiler: &'static str,
    /// Images per call that the model was compiled for; the default of `benchmark -b`.
    pub batch: usize,
    /// Inputs, in the order of the source model.
    pub inputs: &'static [TensorSpec],
    /// Outputs, in the order of the source model.
    pub outputs: &'static [TensorSpec],
    /// Class names by index; empty when the model has none.
    pub class_names: &'static [&'static str],
    /// How to read the outputs as boxes; `None` when the model is not a detector.
    pub detector: Option<DetectorSpec>,
    /// Weights in the source model's convolutions, and how many of them are not zero.
    pub weights: (u64, u64),
    /// Multiply-accumulates per image of the dense network, and those left after skipping zeros.
    pub macs: (u64, u64),
}

/// How a detector's outputs are read.
#[derive(Clone, Copy, Debug)]
pub struct DetectorSpec {
    /// Classes; each row of the output holds `5 + classes` numbers: x, y, w, h (centre, pixels of the network input), objectness, class scores.
    pub classes: usize,
    /// Form of the outputs.
    pub head: Head,
}

/// Form of a detector's outputs.
#[derive(Clone, Copy, Debug)]
pub enum Head {
    /// Output 0 is `[1, candidates, 5 + classes]`, decoded.
    Decoded,
    /// Every level is an output `[1, anchors, h, w, 5 + classes]` before the sigmoid.
    Raw(&'static [RawLevel]),
}

/// One scale of a raw head: `s = sigmoid(raw)`, `x = (2 s0 - 0.5 + column) * stride`, `w = (2 s2)^2 * anchor.w`.
#[derive(Clone, Copy, Debug)]
pub struct RawLevel {
    /// Index among the model's outputs.
    pub output: usize,
    /// Pixels of the network input per cell.
    pub stride: f32,
    /// Width and height of every anchor, in pixels of the network input.
    pub anchors: &'static [[f32; 2]],
}
