//! Reading ONNX: from bytes to [`ir::Graph`](crate::ir::Graph).
//!
//! [`decode`] parses the protobuf; [`import`] gives every value a static type, evaluates whatever depends only on
//! constants and shapes, and expresses the rest in canonical operators. After it nothing of ONNX is left.
//!
//! - The batch axis becomes 1: a symbolic or static batch on the inputs is dropped, since a batch is a loop around the
//!   compiled graph. A model that mixes or moves the entries of a static batch is refused.
//! - Symbolic height and width are fixed by [`ImportOptions::imgsz`].
//! - `float16`, `bfloat16` and `double` become `f32`; a rounding to `float16` between layers is not reproduced.
//! - Only nodes that the graph's outputs depend on are read.
//! - Hostile input gives an [`Error`]: nothing panics, and no allocation exceeds a small multiple of the input's size or
//!   a fixed limit.

mod attr;
mod batch;
mod constant;
mod error;
mod external;
mod import;
mod interface;
mod live;
mod metadata;
mod node;
mod ops;
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto;
pub mod rewrite;
mod tensor;
mod topology;

pub use error::{Error, FaultKind, NodeFault, NodeFaults};
pub use proto::ModelProto;

use crate::ir::Graph;
use prost::Message;
use std::path::{Path, PathBuf};

/// What the model itself does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Height and width of the network input. Needed when the model leaves them symbolic; a model exported at another
    /// fixed size is refused when it depends on that size.
    pub imgsz: Option<[usize; 2]>,
    /// The folder of the model file, where files of external data are looked for (and nowhere outside it).
    pub base_dir: Option<PathBuf>,
}

/// Parses the protobuf of a model.
///
/// # Errors
/// When the bytes are not an ONNX model or were cut short.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    let model = ModelProto::decode(bytes)?;
    if model.graph.is_none() {
        return Err(Error::NoGraph);
    }
    Ok(model)
}

/// Turns a decoded model into a graph of canonical operators with static shapes.
///
/// # Errors
/// When the model is malformed, leaves a size open that `options` does not give, or has nodes that cannot be compiled;
/// then all such nodes are listed at once.
pub fn import(model: &ModelProto, options: &ImportOptions) -> Result<Graph, Error> {
    import::import(model, options)
}

/// The files of external data of a model in the folder `base_dir`: those that are there and lie inside, each once, in
/// the order of their names.
pub fn external_files(model: &ModelProto, base_dir: &Path) -> Vec<PathBuf> {
    external::files(model, base_dir)
}
