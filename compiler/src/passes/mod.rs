//! Graph rewrites between import and planning.
//!
//! # The order, and why
//! 1. `fold-constants`, `simplify-layout`, `drop-dead`, `share-equal`: importers leave shape arithmetic, chains of slices and
//!    equal quantisations behind; every later pattern is written for a graph without them.
//! 2. `unsigned-maps` before anything looks at quantised maps, so that they are all `u8`.
//! 3. `move-quantize` before `fold-quantization`: a `Dequantize` moved down through a `Concat` arrives at the convolution that
//!    can absorb it; a `Quantize` moved up arrives at the convolution that can store it.
//! 4. `fold-quantization` before `fold-affine`: the rescaling `Mul` of a `ConvInteger` is then a factor like any other,
//!    and a batch normalisation scales integers without touching them. What it could not use of dequantised
//!    constants is folded right after. `fold-focus` and `lower-batch-norm` follow: the one takes convolutions of either kind, the
//!    other takes what `fold-affine` left.
//! 5. `detect-head` once convolutions are bounded by their own results (the decode tail starts there), and before
//!    activations are recognised, which would reshape the tail's sigmoids.
//! 6. `recognise-activation`, `fuse-activation`, `fuse-residual`: the residual is added to an activated map, so the activation comes
//!    first; an activation after the sum is taken along by the residual.
//! 7. `fuse-stores` after the residual, because the sum is what gets quantised.
//! 8. `dead-channels` when nothing but the canonical operators is left, so that few operators need a rule.
//! 9. `simplify-layout`, `drop-dead`, `compact`: what the others left behind.

mod compact;
mod dead_channels;
mod dead_code;
mod detect_head;
mod fold_affine;
mod fold_constants;
mod fold_focus;
mod fold_quantization;
mod fuse_epilogue;
mod keep_classes;
mod move_quantize;
mod raw_head;
mod recognise_activation;
mod rewrite;
mod simplify_layout;
mod unsigned_maps;

pub use keep_classes::{ClassesError, keep_classes};
pub use raw_head::{RawLevelInfo, raw_head};

use crate::interp;
use crate::ir::{Graph, verify};

/// One rewrite of the graph.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Name in dumps and errors.
    pub name: &'static str,
    /// The rewrite. It leaves a graph that satisfies [the IR's invariants](crate::ir).
    pub rewrite: fn(&mut Graph, &mut Report) -> Result<(), Error>,
}

/// All passes in the order in which [`run`] applies them; [the module](self) tells why this order.
pub const PASSES: &[Pass] = &[
    Pass { name: "fold-constants", rewrite: fold_constants::fold_constants },
    Pass { name: "simplify-layout", rewrite: simplify_layout::simplify_layout },
    Pass { name: "drop-dead", rewrite: dead_code::drop_dead },
    Pass { name: "share-equal", rewrite: dead_code::share_equal },
    Pass { name: "unsigned-maps", rewrite: unsigned_maps::unsigned_maps },
    Pass { name: "move-quantize", rewrite: move_quantize::move_quantize },
    Pass { name: "fold-quantization", rewrite: fold_quantization::fold_quantization },
    Pass { name: "fold-remaining-constants", rewrite: fold_constants::fold_remaining_constants },
    Pass { name: "fold-affine", rewrite: fold_affine::fold_affine },
    Pass { name: "lower-batch-norm", rewrite: fold_affine::lower_batch_norm },
    Pass { name: "fold-focus", rewrite: fold_focus::fold_focus },
    Pass { name: "detect-head", rewrite: detect_head::detect_head },
    Pass { name: "recognise-activation", rewrite: recognise_activation::recognise_activation },
    Pass { name: "fuse-activation", rewrite: fuse_epilogue::fuse_activation },
    Pass { name: "fuse-residual", rewrite: fuse_epilogue::fuse_residual },
    Pass { name: "fuse-stores", rewrite: fuse_epilogue::fuse_stores },
    Pass { name: "dead-channels", rewrite: dead_channels::dead_channels },
    Pass { name: "simplify-layout", rewrite: simplify_layout::simplify_layout },
    Pass { name: "drop-dead", rewrite: dead_code::drop_dead },
    Pass { name: "compact", rewrite: compact::compact },
];

/// What the passes did, in counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Nodes evaluated at compile time.
    pub folded_constants: usize,
    /// Nodes that were a repetition of another.
    pub shared_nodes: usize,
    /// Convolutions that run on integers.
    pub quantized_convs: usize,
    /// Batch normalisations, multiplications and additions folded into convolutions.
    pub folded_affine: usize,
    /// Focus stems folded into their convolution.
    pub folded_focus: usize,
    /// Detection decodes replaced by [`Op::DetectHead`](crate::ir::Op::DetectHead).
    pub detect_heads: usize,
    /// Activations recognised in several nodes.
    pub recognised_activations: usize,
    /// Activations fused into convolutions.
    pub fused_activations: usize,
    /// Additions fused into convolutions.
    pub fused_residuals: usize,
    /// Quantisations fused into convolutions.
    pub fused_stores: usize,
    /// Output channels removed from convolutions.
    pub removed_outputs: usize,
    /// Input channels removed from convolutions.
    pub removed_inputs: usize,
    /// Input channels that held one value throughout and moved into the bias of a convolution that reads them.
    pub folded_inputs: usize,
    /// Convolutions that lost channels.
    pub narrowed_layers: usize,
    /// Multiply-accumulates of dense convolutions that went with the channels, per image.
    pub channel_macs: u64,
    /// Classes that [`keep_classes`] removed.
    pub removed_classes: usize,
    /// Multiply-accumulates of dense convolutions that went with the classes, per image.
    pub class_macs: u64,
}

/// Why a graph cannot be brought into the form the planner takes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Evaluating a node of constants failed.
    #[error("node `{node}`: cannot be evaluated at compile time")]
    Evaluate {
        /// The node.
        node: String,
        /// What the interpreter said.
        source: Box<interp::Error>,
    },
    /// An integer convolution in none of the forms exporters write.
    #[error(
        "node `{node}`: ConvInteger cannot be compiled because {why}; \
         export the model in QDQ form, or with a constant scale and bias after each ConvInteger"
    )]
    IntegerConv {
        /// The node.
        node: String,
        /// What is in the way.
        why: &'static str,
    },
    /// A pass broke an invariant of the IR. This is a defect of the compiler.
    #[error("the graph is invalid after pass `{pass}` (a defect of the compiler)")]
    Invalid {
        /// The pass.
        pass: &'static str,
        /// What the verifier said.
        source: Box<verify::VerifyError>,
    },
}

/// The pass after which channels without a use are removed.
pub fn before_dead_channels() -> Option<&'static str> {
    PASSES.windows(2).find(|pair| pair[1].name == "dead-channels").map(|pair| pair[0].name)
}

/// Brings an imported graph into the form the planner takes.
pub fn run(graph: &mut Graph) -> Result<Report, Error> {
    run_with(graph, &mut |_, _| {})
}

/// [`run`], showing `observer` the name of every pass and the graph it left.
pub fn run_with(graph: &mut Graph, observer: &mut dyn FnMut(&str, &Graph)) -> Result<Report, Error> {
    let mut report = Report::default();
    for pass in PASSES {
        pass.apply(graph, &mut report)?;
        observer(pass.name, graph);
    }
    Ok(report)
}

/// Applies the last passes once more: those with these names, in this order.
fn run_some(graph: &mut Graph, report: &mut Report, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let pass = PASSES.iter().rfind(|pass| pass.name == *name).expect("the name of a pass");
        pass.apply(graph, report)?;
    }
    Ok(())
}

impl Pass {
    fn apply(&self, graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
        (self.rewrite)(graph, report)?;
        verify::verify(graph).map_err(|source| Error::Invalid { pass: self.name, source: source.into() })
    }
}
