//! The interpreter against ONNX Runtime: whole tensors, before and after the passes.
//!
//! The corpus carries ONNX Runtime's outputs. Real models are run by `reference.py` on the spot, so those tests are
//! ignored by default: `cargo test --release --test differential -- --ignored --nocapture` with `PERISTYLE_TEST_DATA`
//! naming a folder with `models/` and `images/` (by default `../shared` of the repository) and `PERISTYLE_PYTHON` a
//! Python that has onnxruntime, onnx and opencv (by default `python3`).

#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/corpus.rs"]
mod corpus;
#[path = "differential/models.rs"]
mod models;
#[path = "differential/nodes.rs"]
mod nodes;
#[path = "differential/reference.rs"]
mod reference;
