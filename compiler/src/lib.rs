//! Ahead-of-time compiler from sparse ONNX detectors to specialised Rust crates.

pub mod interp;
pub mod ir;
pub mod onnx;
pub mod passes;
