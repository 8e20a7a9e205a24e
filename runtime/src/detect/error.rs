//! What can go wrong between a picture and its boxes.

use crate::engine::RunError;
use alloc::string::String;

/// A detection that could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The model has no detection head.
    #[error("the model `{model}` has no detection head, so its outputs cannot be read as boxes; use its raw tensors")]
    NotADetector {
        /// Source file of the model.
        model: &'static str,
    },
    /// The model says that it is a detector, but its tensors do not fit one.
    #[error("the detector `{model}` cannot take pictures or give boxes: {reason}")]
    Unsupported {
        /// Source file of the model.
        model: &'static str,
        /// The tensor and what was expected of it.
        reason: String,
    },
    /// The memory handed over does not hold the picture.
    #[error("a picture of {width}x{height} RGB pixels with rows {stride} bytes apart does not fit {got} bytes")]
    Image {
        /// Pixels per row.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes from one row to the next.
        stride: usize,
        /// Bytes handed over.
        got: usize,
    },
    /// A parameter outside its range.
    #[error("{name} is {value}, expected {expected}")]
    Param {
        /// Field of [`Params`](super::Params).
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// The model refused the tensors.
    #[error(transparent)]
    Run(#[from] RunError),
}
