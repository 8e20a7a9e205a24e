//! An inspection as JSON, and as the same in YAML.
//!
//! Keys, which stay as they are: `model` (`name`, `bytes`, `sha256`), `cpu` (`name`, `description`, `isa`, `gigahertz`,
//! `measured`), `threads`, `layers`, `by_kernel`, `totals`, and where asked for `what_if`, `compare` (each with `asked` or
//! `model`, `layers`, `by_kernel`, `totals`, `speedup`) and `against`. A layer has `module`, `name`, `op`, `output`,
//! `window`, `strides`, `parameters`, `nonzeros`, `sparsity`, `pattern`, `quantisation`, `kernel`, `reason`, `macs`,
//! `nonzero_macs`, `milliseconds`, `code_bytes`, `data_bytes`; what it does not have is null.

use super::{Against, Inspection, LayerRow, Totals};
use serde_json::{Value, json};

/// The inspection.
pub fn value(inspection: &Inspection) -> Value {
    let cpu = &inspection.cpu;
    let mut value = json!({
        "model": {
            "name": inspection.model.name,
            "bytes": inspection.model.bytes,
            "sha256": inspection.model.sha256,
        },
        "cpu": {
            "name": cpu.name,
            "description": cpu.description,
            "isa": cpu.isa.name(),
            "gigahertz": cpu.gigahertz,
            "measured": cpu.measured,
        },
        "threads": inspection.threads,
    });
    append(&mut value, inspection);
    value
}

/// Another inspection beside the first one: `asked` says what it is.
pub fn beside(first: &Inspection, other: &Inspection, asked: &str) -> Value {
    let mut value = json!({
        "asked": asked,
        "model": { "name": other.model.name, "bytes": other.model.bytes, "sha256": other.model.sha256 },
        "speedup": round(first.totals.milliseconds / other.totals.milliseconds.max(1e-9)),
    });
    append(&mut value, other);
    value
}

/// Measured times beside the predicted ones.
pub fn against(against: &Against) -> Value {
    json!({
        "measured_milliseconds": round(against.total.0),
        "predicted_milliseconds": round(against.total.1),
        "error": round(against.error()),
        "error_by_layer": round(against.error_by_layer),
        "layers": against.layers.iter().map(|layer| round(layer.milliseconds)).collect::<Vec<_>>(),
    })
}

fn append(value: &mut Value, inspection: &Inspection) {
    value["layers"] = inspection.layers.iter().map(layer).collect();
    let kernel = |(kernel, layers, milliseconds): (&str, usize, f64)| json!({ "kernel": kernel, "layers": layers, "milliseconds": round(milliseconds) });
    value["by_kernel"] = inspection.by_kernel().into_iter().map(kernel).collect();
    value["totals"] = totals(&inspection.totals);
}

fn layer(layer: &LayerRow) -> Value {
    let weights = layer.weights.as_ref();
    let reason = (!layer.reason.is_empty()).then_some(&layer.reason);
    json!({
        "module": layer.module,
        "name": layer.name,
        "op": layer.op,
        "output": layer.output,
        "window": layer.window.map(|[height, width, ..]| [height, width]),
        "strides": layer.window.map(|[.., down, across]| [down, across]),
        "parameters": weights.map(|w| w.count + w.shape[0] as u64),
        "nonzeros": weights.map(|w| w.nonzeros),
        "sparsity": weights.map(|w| round(w.sparsity())),
        "pattern": weights.map(|w| w.pattern),
        "quantisation": weights.map(|w| w.quantisation.name()),
        "kernel": layer.kernel,
        "reason": reason,
        "macs": layer.macs.0,
        "nonzero_macs": layer.macs.1,
        "milliseconds": round(layer.milliseconds),
        "code_bytes": layer.size.code,
        "data_bytes": layer.size.data,
    })
}

fn totals(totals: &Totals) -> Value {
    json!({
        "layers": totals.layers,
        "parameters": totals.parameters,
        "nonzeros": totals.weights.1,
        "sparsity": round(totals.sparsity()),
        "quantised": round(totals.quantised as f64 / totals.weights.0.max(1) as f64),
        "macs": totals.macs.0,
        "nonzero_macs": totals.macs.1,
        "arena_bytes": totals.arena_bytes,
        "code_bytes": totals.size.code,
        "data_bytes": totals.size.data,
        "binary_bytes": totals.binary_bytes,
        "build_seconds": round(totals.build.seconds()),
        "milliseconds": round(totals.milliseconds),
        "images_per_second": round(totals.images_per_second()),
    })
}

/// Six digits say all that there is to say.
fn round(number: f64) -> f64 {
    format!("{number:.6}").parse().unwrap_or(number)
}

/// The same value in YAML.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    let mut emitter = yaml_rust2::YamlEmitter::new(&mut text);
    emitter.dump(&node(value)).expect("writing to a string succeeds");
    text.push('\n');
    text
}

fn node(value: &Value) -> yaml_rust2::Yaml {
    use yaml_rust2::Yaml;
    match value {
        Value::Null => Yaml::Null,
        Value::Bool(value) => Yaml::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Yaml::Integer(number),
            None => Yaml::Real(number.to_string()),
        },
        Value::String(text) => Yaml::String(text.clone()),
        Value::Array(values) => Yaml::Array(values.iter().map(node).collect()),
        Value::Object(entries) => {
            Yaml::Hash(entries.iter().map(|(key, value)| (Yaml::String(key.clone()), node(value))).collect())
        }
    }
}
