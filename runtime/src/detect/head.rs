//! A detector's head, checked once so that reading it cannot fail.

use super::Error;
use super::decode::{self, Filter};
use super::nms::Candidate;
use crate::engine::{DType, Head, ModelSpec, RawLevel, TensorMut, TensorSpec};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The parts of a [`ModelSpec`] that turn pictures into boxes.
pub(super) struct Detector {
    /// The only input, `[1, 3, height, width]`.
    pub input: &'static TensorSpec,
    /// Width and height of the network input.
    pub size: [usize; 2],
    /// Classes.
    pub classes: usize,
    levels: Vec<Level>,
}

/// One output that holds candidates.
struct Level {
    output: usize,
    /// Elements per image.
    len: usize,
    raw: Option<(&'static RawLevel, [usize; 2])>,
}

impl Detector {
    /// # Errors
    /// [`Error::NotADetector`], or [`Error::Unsupported`] when input or outputs contradict the head.
    pub(super) fn new(spec: &'static ModelSpec) -> Result<Self, Error> {
        let head = spec.detector.as_ref().ok_or(Error::NotADetector { model: spec.source })?;
        let unsupported = |reason: String| Error::Unsupported { model: spec.source, reason };
        let input = match spec.inputs {
            [input] => input,
            inputs => return Err(unsupported(format!("it has {} inputs, expected one", inputs.len()))),
        };
        let size = match *input.shape {
            [1, 3, height, width] if height > 0 && width > 0 => [width, height],
            _ => {
                let reason =
                    format!("input `{}` has shape {:?}, expected [1, 3, height, width]", input.name, input.shape);
                return Err(unsupported(reason));
            }
        };
        let row = head.classes + 5;
        let output = |index: usize| {
            let output = spec.outputs.get(index).ok_or_else(|| unsupported(format!("it has no output {index}")))?;
            match (output.dtype, output.shape.last()) {
                (DType::F32, Some(last)) if *last == row && head.classes > 0 => Ok(output),
                (dtype, _) => Err(unsupported(format!(
                    "output `{}` is {dtype:?} of shape {:?}, expected F32 with {row} numbers per candidate",
                    output.name, output.shape
                ))),
            }
        };
        let levels = match head.head {
            Head::Decoded => vec![Level { output: 0, len: output(0)?.len(), raw: None }],
            Head::Raw(levels) => levels
                .iter()
                .map(|level| {
                    let tensor = output(level.output)?;
                    match *tensor.shape {
                        [1, anchors, height, width, _] if anchors == level.anchors.len() && height * width > 0 => {
                            Ok(Level { output: level.output, len: tensor.len(), raw: Some((level, [height, width])) })
                        }
                        _ => Err(unsupported(format!(
                            "output `{}` has shape {:?}, expected [1, {}, height, width, {row}]",
                            tensor.name,
                            tensor.shape,
                            level.anchors.len()
                        ))),
                    }
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { input, size, classes: head.classes, levels })
    }

    /// Appends the candidates of image `image` of a run.
    pub(super) fn candidates(
        &self,
        outputs: &[TensorMut<'_>],
        image: usize,
        filter: &Filter<'_>,
        candidates: &mut Vec<Candidate>,
    ) {
        for level in &self.levels {
            let TensorMut::F32(data) = &outputs[level.output] else {
                unreachable!("the outputs of the head were checked to be F32")
            };
            let rows = &data[image * level.len..][..level.len];
            match level.raw {
                None => decode::decoded(rows, self.classes, filter, candidates),
                Some((raw, grid)) => decode::raw(rows, self.classes, raw, grid, filter, candidates),
            }
        }
    }
}
