//! Why a graph cannot be trained.

/// A graph or an input that [`Network`](super::Network) does not take.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The passes refused the graph.
    #[error("the graph cannot be prepared for training")]
    Passes {
        /// What they said.
        #[from]
        source: crate::passes::Error,
    },
    /// Operators without a gradient here; all of them at once.
    #[error("these nodes cannot be trained: {}; sparsify takes float detectors of convolutions, activations, Add, Concat, MaxPool, nearest Resize and global average pooling", .nodes.join(", "))]
    Unsupported {
        /// Operator and name of every node, with the reason where the operator alone is none.
        nodes: Vec<String>,
    },
    /// Not one image in.
    #[error("the model has {found} inputs, but one image `f32[1, channels, height, width]` is needed")]
    Inputs {
        /// How many there are, or what the only one is.
        found: String,
    },
    /// An input size that the strides do not allow.
    #[error("node `{node}` cannot work on an input of {height}x{width}: {why}; use a multiple of the largest stride")]
    Size {
        /// The node.
        node: String,
        /// Height of the network input.
        height: usize,
        /// Width of the network input.
        width: usize,
        /// What does not fit.
        why: String,
    },
}
