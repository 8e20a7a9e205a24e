//! What can go wrong between a model file and its emitted source.

use std::path::PathBuf;

/// A failed compilation. The chain of messages down its [sources](std::error::Error::source) names the file and, where
/// there is one, the node; no message repeats that of its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model file cannot be read.
    #[error("cannot read model `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a model that can be imported.
    #[error("model `{}`", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::onnx::Error,
    },
    /// A pass refused the graph.
    #[error("model `{}`", path.display())]
    Passes {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::passes::Error,
    },
    /// The model cannot be narrowed to the classes that are wanted.
    #[error("model `{}`", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::passes::ClassesError,
    },
    /// The planner refused the graph.
    #[error("model `{}`", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::plan::PlanErrors,
    },
    /// Emitted files cannot be written.
    #[error("cannot write {what}")]
    Write {
        /// What was written.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// [`Config::compile`](crate::Config::compile) was called outside a build script.
    #[error("`{variable}` is not set: `compile` is for build scripts; elsewhere use `Config::generate`")]
    NotABuildScript {
        /// The variable that cargo sets for build scripts.
        variable: &'static str,
    },
    /// The unrolled kernels do not assemble.
    #[error("cannot assemble the kernels of `{name}` with a C compiler (`cc`, or what `CC` names)")]
    Assemble {
        /// Name of the model.
        name: String,
        /// What the C compiler said.
        source: cc::Error,
    },
}
