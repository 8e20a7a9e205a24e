//! A dense model made sparse: pruning, quantisation, and the training that wins the accuracy back.

pub mod distill;
pub mod network;
