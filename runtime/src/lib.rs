//! The runtime that crates emitted by the Peristyle compiler link with.

pub mod detect;
pub mod engine;
pub mod simd;
