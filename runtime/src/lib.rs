//! The runtime that crates emitted by the Peristyle compiler link with.
//!
//! Without the feature `std` it needs `core` and `alloc` only: models run on the caller's own thread, with the kernels
//! that the target is known to have.

#![cfg_attr(not(any(feature = "std", test)), no_std)]

extern crate alloc;

#[cfg(feature = "app")]
pub mod app;
pub mod detect;
pub mod engine;
#[cfg(feature = "ffi")]
pub mod ffi;
pub mod kernels;
#[cfg(feature = "image")]
pub mod picture;
#[cfg(feature = "sbom")]
pub mod sbom;
pub mod simd;
#[cfg(feature = "std")]
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

/// Includes every model that a build script compiled with `peristyle_compiler::compile_all`, each in a public module
/// with the name of the model, `-` becoming `_`.
#[macro_export]
macro_rules! include_models {
    () => {
        include!(concat!(env!("OUT_DIR"), "/peristyle/models.rs"));
    };
}
