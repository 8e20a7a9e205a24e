//! What can go wrong between a model file and its emitted source.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;

/// A failed compilation. The chain of messages down its [sources](std::error::Error::source) names the file and, where
/// there is one, the node; no message repeats that of its source.
///
/// Its `Debug` form is that chain, for that is what is printed when the `main` of a build script returns it.
#[derive(thiserror::Error)]
pub enum Error {
    /// There is no such model.
    #[error(
        "there is no model `{}`: paths in a build script are relative to the folder of the package's Cargo.toml, `{}`",
        path.display(), package.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The folder of the package.
        package: PathBuf,
    },
    /// There is no such model in the folders of models.
    #[error("cannot find the model")]
    Store(#[from] crate::store::Error),
    /// The model does not compute what its folder says.
    #[error("model `{}`", path.display())]
    Sample {
        /// The model.
        path: PathBuf,
        /// What is different.
        source: Box<crate::sample::SampleError>,
    },
    /// Two models of a build script would be written to the same place.
    #[error(
        "two models are called `{name}`: {first} and {second}; call one of them something else with `Config::module_name`"
    )]
    SameName {
        /// The name of both.
        name: String,
        /// The model that was compiled first.
        first: String,
        /// The other one.
        second: String,
    },
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
