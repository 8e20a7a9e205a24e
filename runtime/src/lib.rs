//! The runtime that crates emitted by the Peristyle compiler link with.

#[cfg(feature = "app")]
pub mod app;
pub mod detect;
pub mod engine;
pub mod kernels;
#[cfg(feature = "image")]
pub mod picture;
pub mod simd;
pub mod tensor_io;

/// Includes a model that a build script compiled with `peristyle_compiler::compile`: `Model`, `SPEC`, `PROGRAM`.
///
/// Use it in a module of its own: `mod detector { peristyle_runtime::include_model!("yolov5s"); }`.
#[macro_export]
macro_rules! include_model {
    ($name:literal) => {
        include!(concat!(env!("OUT_DIR"), "/peristyle/", $name, "/mod.rs"));
    };
}
