//! What is different between two models: layers, weights, scales, classes, and what both find in a picture.
//!
//! Models are compared in the form that is planned, behind all passes: a model that merely spells its nodes in another
//! way is the same model.

mod layer;
mod look;

pub use layer::{Change, Layer, LayerChange, Number};
pub use look::{Looked, Object, Outputs, Pair, look, run_known};

use crate::config::Compilation;
use crate::ir::{Graph, ValueId};
use crate::plan::cost::{Cpu, Prediction};

/// The differences of two models.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The model that was.
    pub old: Summary,
    /// The model that is.
    pub new: Summary,
    /// Layers that were added, removed or changed, in the order of the models.
    pub layers: Vec<LayerChange>,
    /// Layers that are the same in both.
    pub same_layers: usize,
    /// Classes of the new model that the old one lacks.
    pub added_classes: Vec<String>,
    /// Classes of the old model that the new one lacks.
    pub removed_classes: Vec<String>,
}

/// A model in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// File name.
    pub source: String,
    /// SHA-256 of the file and its external data, hexadecimal.
    pub sha256: String,
    /// Inputs with their types.
    pub inputs: Vec<String>,
    /// Outputs with their types.
    pub outputs: Vec<String>,
    /// Class names by index.
    pub class_names: Vec<String>,
    /// Layers behind all passes.
    pub layers: usize,
    /// Weights of all convolutions, and how many of them are not zero.
    pub weights: (u64, u64),
    /// Multiply-accumulates per image, and those left after skipping zeros.
    pub macs: (u64, u64),
    /// Bytes of working memory.
    pub arena_bytes: usize,
    /// Milliseconds per image that the cost model predicts for one thread of its first class of processors.
    pub predicted_ms: f64,
}

impl Summary {
    fn of(model: &Compilation) -> Summary {
        let graph = &model.graph;
        let ports = |ids: &[ValueId]| {
            let port = |id: &ValueId| format!("{}: {}", graph.value(*id).name, graph.ty(*id));
            ids.iter().map(port).collect()
        };
        Summary {
            source: model.identity.source.clone(),
            sha256: model.identity.sha256.clone(),
            inputs: ports(&graph.inputs),
            outputs: ports(&graph.outputs),
            class_names: model.identity.class_names.clone(),
            layers: graph.nodes.len(),
            weights: model.plan.weights(),
            macs: model.plan.macs(),
            arena_bytes: model.plan.arena_bytes,
            predicted_ms: Prediction::new(&model.plan, &Cpu::default(), 1).seconds() * 1e3,
        }
    }
}

impl Difference {
    /// Whether both models compute the same from the same, under the same names.
    pub fn is_none(&self) -> bool {
        let face = |s: &Summary| (s.inputs.clone(), s.outputs.clone(), s.class_names.clone());
        self.layers.is_empty() && face(&self.old) == face(&self.new)
    }
}

/// Compares two models.
pub fn compare(old: &Compilation, new: &Compilation) -> Difference {
    let (layers, same_layers) = layer::compare(&layers(&old.graph), &layers(&new.graph));
    let (old, new) = (Summary::of(old), Summary::of(new));
    let without = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    Difference {
        added_classes: without(&new.class_names, &old.class_names),
        removed_classes: without(&old.class_names, &new.class_names),
        layers,
        same_layers,
        old,
        new,
    }
}

fn layers(graph: &Graph) -> Vec<Layer> {
    graph.nodes.iter().map(|node| Layer::of(graph, node)).collect()
}
