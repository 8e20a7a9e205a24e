//! Predictions against a measured profile.

use super::Inspection;
use serde_json::Value;

/// A layer that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Index of the inspection's layer.
    pub layer: usize,
    /// Fastest time of an image.
    pub milliseconds: f64,
}

/// Measured layers of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Against {
    /// All layers, in order.
    pub layers: Vec<Measured>,
    /// Sums of measured and predicted milliseconds.
    pub total: (f64, f64),
    /// The sum of all layers' errors, whatever their sign, as a share of the measured time.
    pub error_by_layer: f64,
}

impl Against {
    /// Error of the total, as a share of the measured time; positive when too much was predicted.
    pub fn error(&self) -> f64 {
        self.total.1 / self.total.0.max(1e-9) - 1.0
    }
}

/// Compares an inspection with what `profile -x` of a detector wrote.
///
/// # Errors
/// In words, when the text is no such profile, or that of another model, instruction set or number of threads.
pub fn against(inspection: &Inspection, profile: &str) -> Result<Against, String> {
    let profile: Value = serde_json::from_str(profile).map_err(|e| format!("not a profile: {e}"))?;
    let Some(layers) = profile["layer_info"].as_array() else {
        return Err("not a profile: it has no `layer_info`; write one with `DETECTOR profile -x FILE`".to_string());
    };
    let isa = profile["isa"].as_str().unwrap_or_default();
    if isa != inspection.cpu.isa.name() {
        let wanted = inspection.cpu.isa.name();
        return Err(format!("it was measured with {isa}, and `{}` has {wanted}: pass --cpu", inspection.cpu.name));
    }
    let threads = profile["num_threads"].as_u64().unwrap_or(1);
    if threads != inspection.threads as u64 {
        return Err(format!("it was measured with {threads} threads: pass --threads {threads}"));
    }
    let images = profile["batch_size"].as_f64().unwrap_or(1.0).max(1.0);
    let names = || layers.iter().map(|layer| layer["canonical_name"].as_str().unwrap_or_default());
    if !names().eq(inspection.layers.iter().map(|layer| layer.name.as_str())) {
        return Err("its layers are not those of this model".to_string());
    }
    let mut result = Against { layers: Vec::new(), total: (0.0, 0.0), error_by_layer: 0.0 };
    for (index, (layer, predicted)) in layers.iter().zip(&inspection.layers).enumerate() {
        let kernel = layer["kernel"].as_str().unwrap_or_default();
        if kernel != predicted.kernel {
            return Err(format!(
                "layer `{}` was computed by {kernel}, and is now by {}: build the detector again",
                predicted.name, predicted.kernel
            ));
        }
        let milliseconds = layer["min_run_time_in_ms"].as_f64().unwrap_or(0.0) / images;
        result.total = (result.total.0 + milliseconds, result.total.1 + predicted.milliseconds);
        result.error_by_layer += (milliseconds - predicted.milliseconds).abs();
        result.layers.push(Measured { layer: index, milliseconds });
    }
    result.error_by_layer /= result.total.0.max(1e-9);
    Ok(result)
}
