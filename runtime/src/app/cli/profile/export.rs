//! A report as JSON: the keys of `deepsparse.debug_analysis`, and ours.

use serde_json::{Value, json};

use super::report::{LayerTime, Report};
use crate::app::threads::cpu_model;
use crate::engine::ModelSpec;
use crate::simd::peak::Rate;

pub(super) fn json(report: &Report, iterations: &[f64], spec: &ModelSpec) -> Value {
    let layers: Vec<Value> = report.layers.iter().map(|layer| self::layer(layer, report)).collect();
    let kinds = report.kinds();
    let breakdown = kinds.iter().map(|kind| {
        json!({
            "kind": kind.name,
            "layers": kind.layers,
            "average_run_time_in_ms": kind.mean,
            "min_run_time_in_ms": kind.min,
            "attainable_time_in_ms": kind.attainable,
            "lost_time_in_ms": kind.lost(),
        })
    });
    let next = report.worst().map(|layer| {
        json!({
            "name": layer.module(),
            "canonical_name": layer.name,
            "lost_time_in_ms": layer.lost(),
            "kind": kinds[0].name,
            "kind_lost_time_in_ms": kinds[0].lost(),
        })
    });
    json!({
        "batch_size": report.batch,
        "num_threads": report.threads,
        "average_total_time": report.total,
        "items_per_second": report.items_per_second(),
        "iteration_times": iterations,
        "layer_info": layers,
        "engine": "peristyle",
        "version": spec.compiler,
        "orig_model_path": spec.source,
        "model_sha256": spec.sha256,
        "cpu": cpu_model(),
        "isa": report.isa.name(),
        "peak": { "f32": rate(&report.peak.f32), "u8s8": rate(&report.peak.u8s8) },
        "average_time_outside_layers": report.outside(),
        "layer_breakdown": breakdown.collect::<Vec<_>>(),
        "next_to_improve": next,
    })
}

fn rate(rate: &Rate) -> Value {
    json!({ "gmacs_per_second_per_thread": rate.macs_per_second / 1e9, "instructions": rate.instructions })
}

/// `required_flops` and `average_teraflops_per_second` count the dense layer, two operations per multiply-accumulate;
/// `average_utilization` is the share of the peak that the nonzeros reach.
fn layer(layer: &LayerTime, report: &Report) -> Value {
    let flops = 2.0 * layer.info.macs.0 as f64 * report.batch as f64;
    let kernel_dims = match layer.kernel_dims().as_deref() {
        Some([o, i, y, x]) => json!({ "output_channels": o, "input_channels": i, "z": 1, "y": y, "x": x }),
        Some([y, x]) => json!({ "z": 1, "y": y, "x": x }),
        _ => json!({}),
    };
    let [y, x] = layer.info.window.map_or([1, 1], |window| window.stride);
    json!({
        "name": layer.module(),
        "canonical_name": layer.name,
        "input_dims": dims(&layer.input_dims(report.batch)),
        "output_dims": dims(&layer.output_dims(report.batch)),
        "kernel_dims": kernel_dims,
        "strides": { "z": 1, "y": y, "x": x },
        "required_flops": flops as u64,
        "activation_sparsity": null,
        "kernel_sparsity": layer.density().map_or(0.0, |density| 1.0 - density),
        "kernel_bits_per_ele": layer.info.weight_bits,
        "average_run_time_in_ms": layer.mean,
        "average_utilization": layer.of_peak().unwrap_or(0.0),
        "average_teraflops_per_second": flops / layer.mean.max(1e-9) / 1e9,
        "sub_layer_info": [],
        "kind": layer.kind(),
        "kernel": layer.info.kernel,
        "kernel_reason": layer.info.reason,
        "macs": layer.info.macs.0 * report.batch as u64,
        "nonzero_macs": layer.info.macs.1 * report.batch as u64,
        "min_run_time_in_ms": layer.min,
        "share_of_total_time": report.share(layer.mean),
        "attainable_time_in_ms": layer.attainable,
        "lost_time_in_ms": layer.lost(),
    })
}

/// Batches, channels, depth, height and width; what a shape lacks is 1, and what it has too much is channels.
fn dims(shape: &[usize]) -> Value {
    let (batches, rest) = shape.split_first().map_or((1, &[][..]), |(first, rest)| (*first, rest));
    let (channels, [y, x]) = match rest {
        [] => (1, [1, 1]),
        [channels] => (*channels, [1, 1]),
        [channels, x] => (*channels, [1, *x]),
        [channels @ .., y, x] => (channels.iter().product(), [*y, *x]),
    };
    json!({ "batches": batches, "channels": channels, "z": 1, "y": y, "x": x })
}
