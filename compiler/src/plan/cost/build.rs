//! How large a binary becomes, and how long building it takes.

use super::super::Plan;
use super::size::LayerSize;
use peristyle_runtime::engine::Kind;

/// Bytes of the program of a detector without a model.
const PROGRAM_BYTES: usize = 9_500_000;
/// Bytes that a group of outputs and an output add beside code and tables: numbers, and where they are.
const GROUP_BYTES: usize = 110;
const OUTPUT_BYTES: usize = 16;

/// Seconds to pack a nonzero, to interpret a nonzero multiply-accumulate for golden values, to assemble a byte of code, and
/// to compile a layer and a group of it; to link.
const PACK: f64 = 1.2e-6;
const INTERPRET: f64 = 0.6e-9;
const ASSEMBLE: f64 = 1.5e-6;
const LAYER: f64 = 0.03;
const GROUP: f64 = 60e-6;
const LINK: f64 = 4.0;
/// Seconds to build the program's own dependencies once.
const DEPENDENCIES: f64 = 300.0;

/// Predicted seconds of one processor core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BuildTime {
    /// From the model to its crate.
    pub compile: f64,
    /// From the crate to the binary.
    pub build: f64,
    /// Beside that once, when the runtime is built for the first time.
    pub dependencies: f64,
}

impl BuildTime {
    /// Of a plan whose code and tables have this size.
    pub fn of(plan: &Plan, size: LayerSize) -> BuildTime {
        let (nonzeros, macs) = (plan.weights().1 as f64, plan.macs().1 as f64);
        let build = size.code as f64 * ASSEMBLE + plan.layers.len() as f64 * LAYER + groups(plan) as f64 * GROUP + LINK;
        BuildTime { compile: nonzeros * PACK + macs * INTERPRET, build, dependencies: DEPENDENCIES }
    }

    /// When the dependencies are built already.
    pub fn seconds(&self) -> f64 {
        self.compile + self.build
    }
}

/// Predicted bytes of the binary of a plan.
pub fn binary_bytes(plan: &Plan, size: LayerSize) -> usize {
    let outputs = |kind: &Kind| if let Kind::Conv(conv) = kind { conv.epilogue.bias.len() } else { 0 };
    let outputs: usize = plan.layers.iter().map(|layer| outputs(&layer.kind)).sum();
    PROGRAM_BYTES + size.total() + groups(plan) * GROUP_BYTES + outputs * OUTPUT_BYTES
}

fn groups(plan: &Plan) -> usize {
    let tables = |kind: &Kind| match kind {
        Kind::Conv(conv) => [Some(&conv.table), conv.quads.as_ref(), conv.unrolled.as_ref()]
            .into_iter()
            .flatten()
            .map(|table| table.groups.len())
            .sum(),
        _ => 0,
    };
    plan.layers.iter().map(|layer| tables(&layer.kind)).sum()
}
