//! A benchmark as JSON: the keys of `deepsparse.benchmark -x`, and ours.

use serde_json::{Map, Value, json};

use super::super::tensors::batched_shape;
use super::measure::{Measured, Plan};
use super::{Scenario, pipeline};
use crate::app::hardware::governor;
use crate::app::memory;
use crate::app::threads::cpu_model;
use crate::engine::ModelSpec;

pub(super) fn json(scenario: Scenario, spec: &ModelSpec, plan: &Plan, measured: &Measured, staged: bool) -> Value {
    let (scenario, scheduler) = match scenario {
        Scenario::Sync => ("singlestream", "single_stream"),
        Scenario::Async => ("multistream", "multi_stream"),
        Scenario::Elastic => ("elastic", "elastic"),
    };
    let shapes: Vec<_> = spec.inputs.iter().map(|input| batched_shape(input, plan.batch)).collect();
    let program = std::env::current_exe().unwrap_or_default();
    let mut value = json!({
        "engine": "peristyle",
        "version": spec.compiler,
        "orig_model_path": spec.source,
        "model_path": program.to_string_lossy(),
        "model_sha256": spec.sha256,
        "batch_size": plan.batch,
        "input_shapes": shapes,
        "num_cores": plan.cores,
        "scenario": scenario,
        "scheduler": scheduler,
        "seconds_to_run": plan.time,
        "num_streams": plan.streams,
        "benchmark_result": measured.latencies.to_json(scenario, measured.items_per_sec(plan.batch), measured.seconds),
        "fraction_of_supported_ops": 1.0,
        "cpu": cpu_model(),
        "isa": measured.isa.name(),
        "governor": governor(),
        "pinned": measured.pinned,
        "peak_rss_bytes": memory::peak(),
        "binary_bytes": std::fs::metadata(&program).ok().map(|m| m.len()),
    });
    if staged {
        let stages = pipeline::stages(measured);
        let stages: Map<String, Value> = stages.iter().map(|(name, _, mean)| ((*name).into(), json!(mean))).collect();
        value["stages_ms_per_batch"] = stages.into();
    }
    value
}
