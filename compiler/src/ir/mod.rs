//! The intermediate representation: a graph of canonical operators with static shapes and explicit quantisation.
//!
//! # Invariants
//! [`verify()`](verify::verify) checks these; it runs after import and after every pass.
//!
//! 1. Every id in a node, in `inputs` or in `outputs` names an existing value.
//! 2. A value has exactly one source: it is a graph input, a constant, or one output of one node.
//! 3. Nodes are in topological order: a node reads only graph inputs, constants and outputs of earlier nodes.
//! 4. The types of a node's inputs and outputs are those its [`Op`] prescribes; a constant has its value's type.
//! 5. The batch axis of every graph input and feature map is 1: a batch is a loop around the graph.
//! 6. Weights, biases and normalisation parameters are constants. The weight of a convolution may instead be a
//!    dequantised constant, until the quantisation pass has folded or evaluated it.
//! 7. Quantisation scales are finite and positive; zero points lie in the range of the stored type.
//!
//! No ONNX idea survives in here: no attribute bags, no optional inputs, no dynamic axes.

mod graph;
mod op;
pub mod print;
mod tensor;
mod ty;
pub mod verify;

pub use graph::{Graph, Metadata, Node, Value, ValueId};
pub use op::{
    Activation, Binary, Conv, ConvGeometry, ConvQuant, DetectHead, DetectLevel, Epilogue, Op, Pool, Residual, Store,
};
pub use tensor::{Data, Tensor};
pub use ty::{DType, Quantization, Type};
