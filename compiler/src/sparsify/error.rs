//! What can keep a model from being sparsified.

use super::recipe::RecipeError;
use std::path::PathBuf;

/// Why a model was not sparsified; no message repeats that of its [source](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model cannot be read or compiled.
    #[error(transparent)]
    Model(#[from] crate::Error),
    /// The model is not one that can be made sparse.
    #[error("model `{}`: {reason}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Options that make no sense.
    #[error("{0}")]
    Options(String),
    /// The calibration images cannot be used.
    #[error("calibration images `{}`: {reason}", path.display())]
    Images {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A node has no result on the calibration images.
    #[error("the model cannot be run on the calibration images")]
    Run(#[source] crate::interp::Error),
    /// A layer's inputs or weights are not finite.
    #[error("layer `{layer}`: {reason}")]
    Layer {
        /// Name of its node.
        layer: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The network has something that cannot be trained.
    #[error("the model cannot be distilled; leave out --distill")]
    Network(#[source] super::network::Error),
    /// Training failed.
    #[error("distillation failed")]
    Distill(#[source] super::distill::Error),
    /// The new model cannot be made from the old one.
    #[error("cannot write the weights into the model")]
    Rewrite(#[source] crate::onnx::Error),
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
