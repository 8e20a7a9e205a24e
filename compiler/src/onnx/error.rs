//! What can be wrong with a model, in words for the person who has to fix it.

use std::fmt;
use std::path::PathBuf;

/// Why a model was not imported; no message repeats that of its [source](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no bytes.
    #[error("the model is empty (0 bytes): check that the file was written completely")]
    Empty,
    /// The bytes are not a protobuf of the ONNX schema.
    #[error("not an ONNX model, or cut short: check that the file was copied completely and is not a Git LFS pointer")]
    Decode(#[from] prost::DecodeError),
    /// The protobuf holds no graph.
    #[error("the file holds no graph: it is not an ONNX model")]
    NoGraph,
    /// The operator set is missing or outside the supported range.
    #[error("the model uses operator set {}: export it with an opset between {} and {}", version.map_or_else(|| "(none stated)".to_owned(), |v| v.to_string()), oldest, newest)]
    Opset {
        /// What the model states.
        version: Option<i64>,
        /// The oldest supported version.
        oldest: i64,
        /// The newest supported version.
        newest: i64,
    },
    /// Nodes, inputs and outputs do not form a graph.
    #[error("malformed graph: {0}")]
    Graph(String),
    /// A graph input that cannot be given a static type.
    #[error("graph input `{input}`: {reason}")]
    Input {
        /// Name of the input.
        input: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The model leaves height or width open and the options do not fix them.
    #[error(
        "graph input `{input}` has the shape [{shape}]: give its height and width with --imgsz (for example --imgsz 640)"
    )]
    SymbolicSize {
        /// Name of the input.
        input: String,
        /// The declared shape.
        shape: String,
    },
    /// The model depends on the size that it was exported at.
    #[error("the model was exported at {}x{} and does not work at {}x{}: leave out --imgsz or export the model again", exported[0], exported[1], asked[0], asked[1])]
    ExportedSize {
        /// Height and width in the model.
        exported: [usize; 2],
        /// Height and width in the options.
        asked: [usize; 2],
        /// What went wrong at the size that was asked for.
        source: Box<Error>,
    },
    /// A constant tensor that cannot be read.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of external data that cannot be read.
    #[error("tensor `{tensor}` is stored in the file `{}`: {reason}", file.display())]
    ExternalData {
        /// Name of the tensor.
        tensor: String,
        /// The file, as far as it is known.
        file: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A graph output that cannot be compiled.
    #[error("graph output `{output}`: {reason}")]
    Output {
        /// Name of the output.
        output: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Nodes that cannot be compiled, all of them.
    #[error("{0}")]
    Nodes(NodeFaults),
}

/// Whose fault a [`NodeFault`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Valid ONNX that is not supported.
    Unsupported,
    /// Not valid ONNX.
    Malformed,
}

/// A node that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFault {
    /// Name of the node, or of its first output when it has none.
    pub node: String,
    /// Operator.
    pub op: String,
    /// Domain of the operator; `ai.onnx` for the standard one.
    pub domain: String,
    /// Unsupported or malformed.
    pub kind: FaultKind,
    /// What was found, what was expected, and what to do.
    pub reason: String,
}

/// The nodes that cannot be compiled, in graph order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFaults(pub Vec<NodeFault>);

/// Faults shown in full; the others are counted.
const SHOWN: usize = 50;

impl fmt::Display for NodeFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.len();
        write!(f, "{n} {} cannot be compiled:", if n == 1 { "node" } else { "nodes" })?;
        for fault in self.0.iter().take(SHOWN) {
            let kind = match fault.kind {
                FaultKind::Unsupported => "unsupported",
                FaultKind::Malformed => "malformed",
            };
            write!(f, "\n  `{}` ({}, domain {}): {kind}: {}", fault.node, fault.op, fault.domain, fault.reason)?;
        }
        if n > SHOWN {
            write!(f, "\n  and {} more", n - SHOWN)?;
        }
        Ok(())
    }
}

/// Why one node was not imported.
#[derive(Debug)]
pub(super) enum Fault {
    /// Valid ONNX that is not supported.
    Unsupported(String),
    /// Not valid ONNX.
    Malformed(String),
    /// Import stops at once.
    Fatal(Error),
}

impl Fault {
    pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::Unsupported(reason.into()))
    }

    pub(super) fn malformed<T>(reason: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::Malformed(reason.into()))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Fatal(error)
    }
}

/// A list as it appears in messages: `1, 3, 640, 640`.
pub(super) fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
