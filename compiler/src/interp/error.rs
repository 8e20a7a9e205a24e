//! What can go wrong while a graph is interpreted.

use crate::ir::{Type, ValueId};

/// A failed interpretation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("the graph has {expected} inputs, {got} were given")]
    InputCount { expected: usize, got: usize },
    #[error("input '{name}' is {expected}, a tensor {got} was given")]
    InputType { name: String, expected: Type, got: Type },
    #[error("{0} is read before anything produces it")]
    NoSource(ValueId),
    /// The operands do not fit the operator.
    #[error("{0}")]
    Type(String),
    #[error("the accumulator of output channel {channel} overflows i32")]
    AccumulatorOverflow { channel: usize },
    #[error("integer {operation} of {a} and {b} has no result")]
    Arithmetic { operation: &'static str, a: i64, b: i64 },
    #[error("node '{name}' ({op}): {fault}")]
    Node { name: String, op: &'static str, fault: String },
}
