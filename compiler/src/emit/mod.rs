//! From a plan to source code: one module per layer, its tables beside it, unrolled kernels as assembly text.
//!
//! The emitter decides nothing and touches no file: it maps a plan to a [`Package`], the same bytes every time.

mod cargo;
mod classes;
mod entry;
mod info;
pub mod kernel;
mod layer;
mod literal;
mod package;
mod profile;

pub use cargo::{c_name, header_path};
pub use literal::hexadecimal;
pub use package::Package;

use crate::plan::Plan;
use peristyle_runtime::engine::Kind;

/// What the emitted source says about its origin, and how it refers to the runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Name of the emitted crate, also that of its binary.
    pub name: String,
    /// File name of the source model.
    pub source: String,
    /// SHA-256 of the source model followed by its external data files, hexadecimal.
    pub sha256: String,
    /// Nominal images per call.
    pub batch: usize,
    /// Class names by index.
    pub class_names: Vec<String>,
    /// How the outputs are read as boxes.
    pub detector: Option<Detector>,
    /// Path of the runtime crate in the emitted code.
    pub runtime: String,
    /// What every layer must compute from the golden input; empty when `selftest` is not wanted.
    pub golden: Vec<u8>,
    /// Threads of `Model::start`; as many as there are cores when nothing is said.
    pub threads: Option<usize>,
    /// Whether the source is laid out for readers.
    pub format: bool,
    /// Version of the emitted crate.
    pub version: String,
    /// Licence of the emitted crate, an SPDX expression; without one the crate cannot be published by mistake.
    pub license: Option<String>,
    /// How long the Rust compiler may take over the emitted crate.
    pub opt_time: OptTime,
}

/// How long the Rust compiler may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OptTime {
    /// As short as possible: kernels are compiled as ever, and everything else is not optimised.
    Fast,
    /// As long as it makes binaries faster.
    #[default]
    Full,
}

/// How a detector's outputs are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Detector {
    /// Number of classes.
    pub classes: usize,
    /// One per raw output; empty when output 0 is decoded.
    pub raw: Vec<RawLevel>,
}

/// One scale of a raw head.
#[derive(Clone, Debug, PartialEq)]
pub struct RawLevel {
    /// Index among the outputs.
    pub output: usize,
    /// Pixels per cell.
    pub stride: f32,
    /// Width and height of every anchor, in pixels.
    pub anchors: Vec<[f32; 2]>,
}

/// Where the emitted crate finds the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeSource {
    /// A path, as written into `Cargo.toml`.
    Path(String),
    /// The version of this compiler, from the registry.
    Registry,
}

/// Emits the model's modules: `mod.rs`, one file per layer, tables and assembly.
pub fn modules(plan: &Plan, identity: &Identity) -> Package {
    let mut package = Package::default();
    let names = layer::module_names(plan);
    for (index, name) in names.iter().enumerate() {
        layer::emit(plan, identity, index, name, &mut package);
    }
    if !identity.golden.is_empty() {
        package.insert("golden.bin", identity.golden.clone());
    }
    package.insert("mod.rs", entry::emit(plan, identity, &names));
    package
}

/// Emits a whole crate with a library and the detector's program.
pub fn crate_package(plan: &Plan, identity: &Identity, runtime: &RuntimeSource) -> Package {
    let mut package = modules(plan, identity).prefixed("src/model");
    let assembly: Vec<String> = package.paths().filter(|p| p.ends_with(".S")).map(str::to_string).collect();
    cargo::emit(identity, runtime, &assembly, &mut package);
    package
}

/// Emits the crate of a program of several models, whose crates lie in the folders beside it, each with the name of its
/// model.
pub fn program_package(name: &str, models: &[&Identity], runtime: &RuntimeSource) -> Package {
    cargo::several(name, models, runtime)
}

/// Whether a layer's kernel is unrolled.
fn unrolled(plan: &Plan, layer: usize) -> bool {
    matches!(plan.layers[layer].kind, Kind::Conv(_))
        && plan.notes[layer].conv.as_ref().is_some_and(|c| c.choice.unrolled)
}
