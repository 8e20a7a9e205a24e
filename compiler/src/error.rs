//! What can go wrong between a model file and its emitted source.

use std::path::PathBuf;

/// A failed compilation. Every message names the file and, where there is one, the node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model file cannot be read.
    #[error("cannot read model `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a model that can be imported.
    #[error("model `{}`: {source}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::onnx::Error,
    },
    /// A pass refused the graph.
    #[error("model `{}`: {source}", path.display())]
    Passes {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::passes::Error,
    },
    /// The planner refused the graph.
    #[error("model `{}`: {source}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: crate::plan::PlanErrors,
    },
    /// Emitted files cannot be written.
    #[error("cannot write {what}: {source}")]
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
    #[error("cannot assemble the kernels of `{name}`: {source}; a C compiler is needed (`cc`, or what `CC` names)")]
    Assemble {
        /// Name of the model.
        name: String,
        /// What the C compiler said.
        source: cc::Error,
    },
}
