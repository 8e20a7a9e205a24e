//! The C interface of a compiled model: what every exported function does, written once.
//!
//! An emitted crate instantiates it with [`export_c_api!`](crate::export_c_api); every symbol then carries the model's
//! name, so that several models link into one program. [`HEADER`] is the header, with `@name@` and `@NAME@` where the
//! name stands; it is the documentation of the interface.
//!
//! Everything a caller may see lives in the handle: there is no global state. No panic crosses the boundary: a function
//! that would panic returns [`Status::Internal`], and its handle refuses every later call.

mod detect;
mod export;
mod handle;
mod tensors;
mod types;

pub use detect::{default_params, detect, detect_file};
pub use handle::{Handle, NewEngine, class_count, class_name, create, free, last_error, model_info};
pub use tensors::{run, tensor_count, tensor_info};
pub use types::{ConstBuffer, Found, Image, ModelInfo, Params, Status, TensorBuffer, TensorInfo};

/// Version of the interface that [`HEADER`] describes; it grows when a caller has to be compiled again.
pub const ABI_VERSION: u32 = 1;

/// The header of a model, with `@name@` and `@NAME@` for its name in lower and upper case.
pub const HEADER: &str = include_str!("header.h");

/// A Python package around the shared libraries of models; it imports `MODELS` from its module `_models`.
pub const PYTHON: &str = include_str!("pipeline.py");
