//! The runtime that crates emitted by the Peristyle compiler link with.

#[cfg(feature = "app")]
pub mod app;
pub mod detect;
pub mod engine;
pub mod kernels;
pub mod simd;
