//! A compilation described for machines.

use crate::Compilation;
use crate::error::Error;
use peristyle_runtime::engine::{Kind, Layer};
use peristyle_runtime::simd::Isa;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

impl Compilation {
    /// The model, every layer with its kernel and the reason for it, and what remains of weights and
    /// multiply-accumulates.
    pub fn to_json(&self) -> Value {
        let (plan, identity) = (&self.plan, &self.identity);
        let ((weights, nonzero_weights), (macs, nonzero_macs)) = (plan.weights(), plan.macs());
        let port = |port: &crate::plan::Port| json!({ "name": port.name, "shape": port.shape });
        let layers = plan.layers.iter().enumerate().map(|(index, layer)| self.layer(index, layer));
        json!({
            "name": identity.name,
            "source": identity.source,
            "sha256": identity.sha256,
            "compiler": env!("CARGO_PKG_VERSION"),
            "inputs": plan.inputs.iter().map(port).collect::<Vec<_>>(),
            "outputs": plan.outputs.iter().map(port).collect::<Vec<_>>(),
            "classes": identity.class_names,
            "arena_bytes": plan.arena_bytes,
            "weights": weights,
            "nonzero_weights": nonzero_weights,
            "macs": macs,
            "nonzero_macs": nonzero_macs,
            "layers": layers.collect::<Vec<_>>(),
        })
    }

    fn layer(&self, index: usize, layer: &Layer) -> Value {
        let info = &layer.info;
        let kernels = match (&layer.kind, &self.plan.notes[index].conv) {
            (Kind::Conv(_), Some(note)) => {
                let kernel = |isa: Isa| note.choice.kernel(isa.min(layer.widest_isa())).name;
                json!(Isa::ALL.map(|isa| (isa.name(), kernel(isa))).into_iter().collect::<BTreeMap<_, _>>())
            }
            _ => json!(info.kernel),
        };
        json!({
            "name": layer.name,
            "op": info.op,
            "inputs": info.inputs,
            "outputs": info.outputs,
            "kernel": kernels,
            "reason": info.reason,
            "weights": info.weights.0,
            "nonzero_weights": info.weights.1,
            "macs": info.macs.0,
            "nonzero_macs": info.macs.1,
        })
    }

    /// Writes [`Compilation::to_json`] to a file, unless that is what it holds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_report(&self, file: &Path) -> Result<(), Error> {
        let text = format!("{:#}\n", self.to_json());
        let error = |source| Error::Write { what: format!("the report `{}`", file.display()), source };
        if std::fs::read_to_string(file).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let write = || {
            file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(file, text)
        };
        write().map_err(|e: io::Error| error(e))
    }
}
