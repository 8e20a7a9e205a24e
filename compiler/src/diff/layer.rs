//! The facts of a layer, and which of them differ.

use crate::ir::{Data, Graph, Node, Op, Store, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A layer as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Name in the source model.
    pub name: String,
    /// Operator.
    pub op: &'static str,
    /// What it computes, in words: shapes, window, activation, stores.
    facts: Vec<(&'static str, String)>,
    /// Arrays of numbers: weights, bias, scales.
    numbers: Vec<(&'static str, Array)>,
}

/// Numbers of a layer, one after another.
#[derive(Clone, Debug, PartialEq)]
enum Array {
    Tensor(Arc<Tensor>),
    F32(Vec<f32>),
    I32(Vec<i32>),
}

impl Array {
    fn len(&self) -> usize {
        match self {
            Array::Tensor(tensor) => tensor.len(),
            Array::F32(values) => values.len(),
            Array::I32(values) => values.len(),
        }
    }

    fn at(&self, index: usize) -> f64 {
        match self {
            Array::F32(values) => values[index].into(),
            Array::I32(values) => values[index].into(),
            Array::Tensor(tensor) => match &tensor.data {
                Data::F32(v) => v[index].into(),
                Data::I8(v) => v[index].into(),
                Data::U8(v) => v[index].into(),
                Data::I32(v) => v[index].into(),
                Data::I64(v) => v[index] as f64,
                Data::Bool(v) => v[index].into(),
            },
        }
    }

    fn nonzeros(&self) -> usize {
        (0..self.len()).filter(|&i| self.at(i) != 0.0).count()
    }
}

/// What happened to a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerChange {
    /// The new model has it.
    Added(Layer),
    /// The old model had it.
    Removed(Layer),
    /// Both have it, with these differences.
    Changed(Layer, Vec<Change>),
}

/// A difference of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Of what it computes.
    Fact {
        /// Which: `shape`, `window`, ...
        what: &'static str,
        /// In the old model.
        old: String,
        /// In the new model.
        new: String,
    },
    /// Of its numbers.
    Numbers(Number),
}

/// How an array of numbers differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Which: `weights`, `bias`, `scales`, ...
    pub what: &'static str,
    /// How many there were and are.
    pub count: (usize, usize),
    /// How many were and are not zero.
    pub nonzeros: (usize, usize),
    /// How many differ, and by how much at most; `None` when there is another number of them.
    pub differ: Option<(usize, f64)>,
}

impl Layer {
    pub(super) fn of(graph: &Graph, node: &Node) -> Layer {
        let outputs: Vec<String> = node.outputs.iter().map(|&o| graph.ty(o).to_string()).collect();
        let mut facts = vec![("output", outputs.join(", "))];
        let mut numbers = Vec::new();
        let mut constants = node.inputs.iter().filter_map(|&input| graph.constant(input));
        match &node.op {
            Op::Conv(conv) => {
                let weight = constants.next().expect("weights are constant");
                let g = &conv.geometry;
                facts.push(("weight", weight.ty().to_string()));
                facts.push((
                    "window",
                    format!(
                        "{}x{} stride {:?} pad {:?} dilation {:?} group {}",
                        g.kernel[0], g.kernel[1], g.stride, g.pad, g.dilation, g.group
                    ),
                ));
                facts.push(("activation", format!("{:?}", conv.epilogue.activation)));
                facts.push(("residual", format!("{:?}", conv.epilogue.residual)));
                facts.push(("arithmetic", if conv.quant.is_some() { "int8" } else { "f32" }.to_string()));
                numbers.push(("weights", Array::Tensor(weight.clone())));
                if let Some(bias) = constants.next() {
                    numbers.push(("bias", Array::Tensor(bias.clone())));
                }
                if let Some(quant) = &conv.quant {
                    facts.push(("zero point", quant.x_zero.to_string()));
                    numbers.push(("scales", Array::F32(quant.scale.clone())));
                    numbers.push(("integer bias", Array::I32(quant.acc_bias.clone())));
                }
                for store in &conv.epilogue.stores {
                    if let Store::U8 { scale, zero } = store {
                        facts.push(("stored zero point", zero.to_string()));
                        numbers.push(("stored scale", Array::F32(vec![*scale])));
                    }
                }
            }
            op => {
                facts.push(("parameters", format!("{op:?}")));
                numbers.extend(constants.map(|constant| ("constant", Array::Tensor(constant.clone()))));
            }
        }
        Layer { name: node.name.clone(), op: node.op.name(), facts, numbers }
    }

    /// Its weights, and how many of them are not zero; `None` for a layer without.
    pub fn weights(&self) -> Option<(usize, usize)> {
        let weights = self.numbers.iter().find(|(what, _)| *what == "weights")?;
        Some((weights.1.len(), weights.1.nonzeros()))
    }

    /// Types of its outputs.
    pub fn output(&self) -> &str {
        &self.facts[0].1
    }

    fn changes(&self, new: &Layer) -> Vec<Change> {
        if self == new {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let mut fact = |what: &'static str, old: &str, new: &str| {
            if old != new {
                changes.push(Change::Fact { what, old: old.to_string(), new: new.to_string() });
            }
        };
        fact("operator", self.op, new.op);
        for (what, old, new) in paired(&self.facts, &new.facts) {
            let text = |fact: Option<&String>| fact.cloned().unwrap_or_else(|| "none".to_string());
            fact(what, &text(old), &text(new));
        }
        for (what, old, new) in paired(&self.numbers, &new.numbers) {
            let empty = Array::F32(Vec::new());
            let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
            if old == new {
                continue;
            }
            let differ = (old.len() == new.len()).then(|| {
                (0..old.len())
                    .map(|i| (old.at(i) - new.at(i)).abs())
                    .filter(|d| *d != 0.0)
                    .fold((0, 0.0f64), |(count, most), d| (count + 1, most.max(d)))
            });
            if differ != Some((0, 0.0)) {
                let (count, nonzeros) = ((old.len(), new.len()), (old.nonzeros(), new.nonzeros()));
                changes.push(Change::Numbers(Number { what, count, nonzeros, differ }));
            }
        }
        changes
    }
}

/// Entries of both lists by their name and how often it came before, in the order of the old list, then of the new.
fn paired<'a, T>(
    old: &'a [(&'static str, T)],
    new: &'a [(&'static str, T)],
) -> Vec<(&'static str, Option<&'a T>, Option<&'a T>)> {
    let find = |list: &'a [(&'static str, T)], what: &str, turn: usize| {
        list.iter().filter(|entry| entry.0 == what).nth(turn).map(|entry| &entry.1)
    };
    let turn = |list: &[(&'static str, T)], at: usize| list[..at].iter().filter(|e| e.0 == list[at].0).count();
    let mut pairs = Vec::new();
    for (at, (what, value)) in old.iter().enumerate() {
        pairs.push((*what, Some(value), find(new, what, turn(old, at))));
    }
    for (at, (what, value)) in new.iter().enumerate() {
        if find(old, what, turn(new, at)).is_none() {
            pairs.push((*what, None, Some(value)));
        }
    }
    pairs
}

/// Pairs layers by name and compares them; also how many are the same.
pub(super) fn compare(old: &[Layer], new: &[Layer]) -> (Vec<LayerChange>, usize) {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, layer) in old.iter().enumerate().rev() {
        places.entry(&layer.name).or_default().push(at);
    }
    let partners: Vec<Option<usize>> =
        new.iter().map(|layer| places.get_mut(layer.name.as_str()).and_then(Vec::pop)).collect();
    let mut changes = Vec::new();
    let mut same = 0;
    let mut next_old = 0;
    for (layer, partner) in new.iter().zip(&partners) {
        let Some(at) = *partner else {
            changes.push(LayerChange::Added(layer.clone()));
            continue;
        };
        // What was before this layer and is gone stands before it.
        for (gone, removed) in old.iter().enumerate().take(at).skip(next_old) {
            if !partners.contains(&Some(gone)) {
                changes.push(LayerChange::Removed(removed.clone()));
            }
        }
        next_old = next_old.max(at + 1);
        match old[at].changes(layer) {
            none if none.is_empty() => same += 1,
            some => changes.push(LayerChange::Changed(layer.clone(), some)),
        }
    }
    for (gone, removed) in old.iter().enumerate().skip(next_old) {
        if !partners.contains(&Some(gone)) {
            changes.push(LayerChange::Removed(removed.clone()));
        }
    }
    (changes, same)
}
