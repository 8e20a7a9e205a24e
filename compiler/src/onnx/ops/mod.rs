//! Import functions by operator, one file per family.

mod activation;
mod arithmetic;
mod conv;
mod generate;
mod layout;
mod normalization;
mod pad;
mod pool;
mod product;
mod qlinear;
mod quantize;
mod reduce;
mod resize;
mod scatter;
mod select;
mod shape;
mod window;

use super::node::{NodeContext, Outcome};

/// Imports one node.
pub(super) type ImportFn = fn(&mut NodeContext<'_, '_>) -> Outcome;

/// Operators and their import functions.
type Table = &'static [(&'static str, ImportFn)];

/// The standard domain.
const STANDARD: &[Table] = &[
    activation::TABLE,
    arithmetic::TABLE,
    conv::TABLE,
    generate::TABLE,
    layout::TABLE,
    normalization::TABLE,
    pad::TABLE,
    pool::TABLE,
    product::TABLE,
    qlinear::TABLE,
    quantize::TABLE,
    reduce::TABLE,
    resize::TABLE,
    scatter::TABLE,
    select::TABLE,
    shape::TABLE,
];

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &[Table] = &[qlinear::MICROSOFT_TABLE, quantize::TABLE];

/// The import function of an operator.
pub(super) fn find(domain: &str, op: &str) -> Option<ImportFn> {
    let tables = match domain {
        "" | "ai.onnx" => STANDARD,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    tables.iter().copied().flatten().find(|(name, _)| *name == op).map(|&(_, import)| import)
}

/// What to do about an operator that has no import function.
pub(super) fn hint(op: &str) -> String {
    let advice = match op {
        "NonMaxSuppression" | "TopK" | "EfficientNMS_TRT" => {
            "export the model without non-maximum suppression; the compiled detector does that itself"
        }
        "DynamicQuantizeLinear" | "MatMulInteger" | "DynamicQuantizeMatMul" => {
            "quantise the model statically (QDQ format, or SparseML's ConvInteger form)"
        }
        "If" | "Loop" | "Scan" => {
            "control flow cannot be compiled; export the model with fixed sizes, or simplify it first"
        }
        "ConvTranspose" => "upsample with Resize (nearest) and a convolution instead",
        "LSTM" | "GRU" | "RNN" => "only convolutional networks can be compiled",
        _ => "there is no such operator here; replace it, or simplify the model first (for example with onnxsim)",
    };
    advice.to_owned()
}
