//! Ahead-of-time compiler from sparse ONNX detectors to specialised Rust crates.
//!
//! Data flows one way, through types: bytes, [`onnx::ModelProto`], [`ir::Graph`], the [`passes`], [`plan::Plan`],
//! [`emit::Package`], files. [`Config`] runs the stages in order; [`compile`] is the one-call form for build scripts:
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     peristyle_compiler::compile("model.onnx")?;
//!     Ok(())
//! }
//! ```
//!
//! and the crate then holds `peristyle_runtime::include_model!("model");` in a module of its own.

mod config;
pub mod emit;
mod error;
pub mod golden;
pub mod interp;
pub mod ir;
pub mod onnx;
pub mod passes;
pub mod plan;
pub mod sparsify;
#[doc(hidden)]
pub mod unfinished;

pub use config::{Compilation, Config, compile, crate_name};
pub use error::Error;
