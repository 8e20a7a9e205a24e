//! Narrows the detection head to some of its classes: the rows of the others leave the head's convolutions.
//!
//! The rows `x, y, w, h, objectness, class...` of every anchor are cut out of weights, biases and scales, and the cut is
//! followed through everything between the convolutions and the outputs. Nothing else changes, so that what remains in
//! the outputs is equal to the bit.

use super::rewrite::Uses;
use super::{Error, Report, raw_head, run_some};
use crate::ir::{Conv, Data, Graph, Op, Tensor, ValueId};

/// Numbers before the class scores of a row.
const BOX_FIELDS: usize = 5;

/// The passes that use what the cut leaves unused.
const AFTERWARDS: &[&str] = &["dead-channels", "simplify-layout", "drop-dead", "compact"];

/// Why a model cannot be narrowed to some classes.
#[derive(Debug, thiserror::Error)]
pub enum ClassesError {
    /// A class that the model does not have.
    #[error("the model has no class `{name}`; {has}")]
    Unknown {
        /// As it was asked for.
        name: String,
        /// Names that are near, or those that there are.
        has: String,
    },
    /// No class is named.
    #[error("no class is named; name at least one, or leave the choice out")]
    None,
    /// The outputs cannot be read as boxes with classes.
    #[error(
        "the model has no detection head with classes that is known here (rows of x, y, w, h, objectness and one score \
         per class), so no class can be left out"
    )]
    NoHead,
    /// Something reads the head that does not keep its rows apart.
    #[error("node `{node}` ({op}) reads the detection head and mixes its classes, so none can be left out")]
    Mixed {
        /// The node.
        node: String,
        /// Its operator.
        op: &'static str,
    },
    /// A pass failed on what is left.
    #[error(transparent)]
    Pass(#[from] Error),
}

/// Keeps the classes with these names, or numbers where a model has no names, in the order of the model. Class ids
/// count what is kept. The graph has gone through [`run`](super::run).
///
/// # Errors
/// [`ClassesError`]; the graph may then be half cut.
pub fn keep_classes(graph: &mut Graph, wanted: &[String], report: &mut Report) -> Result<(), ClassesError> {
    let heads = heads(graph)?;
    let classes = heads.first().ok_or(ClassesError::NoHead)?.numbers - BOX_FIELDS;
    let kept = chosen(&names(graph, classes), wanted)?;
    if kept.len() < classes {
        let macs = graph.macs();
        let columns: Vec<usize> = (0..BOX_FIELDS).chain(kept.iter().map(|class| BOX_FIELDS + class)).collect();
        let mut cut = Cut { numbers: BOX_FIELDS + classes, columns, cuts: vec![None; graph.values.len()] };
        for head in &heads {
            cut.convolution(graph, head)?;
        }
        cut.follow(graph)?;
        report.removed_classes += classes - kept.len();
        report.class_macs += macs - graph.macs();
    }
    let names = names(graph, classes);
    graph.metadata.class_names = kept.iter().map(|class| names[*class].clone()).collect();
    Ok(run_some(graph, report, AFTERWARDS)?)
}

/// The names of all classes; their numbers where the model has no names.
fn names(graph: &Graph, classes: usize) -> Vec<String> {
    let names = &graph.metadata.class_names;
    (0..classes).map(|class| names.get(class).cloned().unwrap_or_else(|| class.to_string())).collect()
}

/// Indices of the wanted classes, ascending.
fn chosen(names: &[String], wanted: &[String]) -> Result<Vec<usize>, ClassesError> {
    let mut kept = Vec::new();
    for name in wanted.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        let same = |other: &String| other == name;
        let alike = |other: &String| other.to_lowercase() == name.to_lowercase();
        let class = names.iter().position(same).or_else(|| names.iter().position(alike));
        kept.push(class.ok_or_else(|| ClassesError::Unknown { name: name.to_string(), has: near(names, name) })?);
    }
    if kept.is_empty() {
        return Err(ClassesError::None);
    }
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}

/// Classes whose names are like `name`, as a sentence.
fn near(names: &[String], name: &str) -> String {
    let likeness = |other: &&String| {
        let (a, b) = (other.to_lowercase(), name.to_lowercase());
        if a.contains(&b) || b.contains(&a) { 1.0 } else { strsim::jaro_winkler(&a, &b) }
    };
    let mut near: Vec<&String> = names.iter().filter(|other| likeness(other) > 0.75).collect();
    near.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    let quoted = |names: &[&String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match near.len() {
        0 if names.len() <= 10 => format!("it has {}", quoted(&names.iter().collect::<Vec<_>>())),
        0 => format!("it has {} and {} more", quoted(&names.iter().take(10).collect::<Vec<_>>()), names.len() - 10),
        n => format!("near ones are {}", quoted(&near[..n.min(5)])),
    }
}

/// A convolution that computes the rows of a head, `numbers` channels per anchor.
struct HeadConv {
    node: usize,
    numbers: usize,
}

/// The convolutions of the decoded and raw heads among the graph's outputs.
fn heads(graph: &Graph) -> Result<Vec<HeadConv>, ClassesError> {
    let mut rows: Vec<(ValueId, usize)> = Vec::new();
    for node in &graph.nodes {
        if let Op::DetectHead(head) = &node.op {
            rows.extend(node.inputs.iter().map(|&raw| (raw, head.outputs)));
        }
    }
    if rows.is_empty() {
        rows.extend(raw_head(graph).into_iter().flatten().map(|level| (graph.outputs[level.output], level.outputs)));
    }
    if rows.iter().any(|row| row.1 <= BOX_FIELDS || row.1 != rows[0].1) {
        return Err(ClassesError::NoHead);
    }
    let uses = Uses::of(graph);
    let mut heads: Vec<HeadConv> = Vec::new();
    for (mut value, numbers) in rows {
        let node = loop {
            let node = uses.producer(value).ok_or(ClassesError::NoHead)?;
            match &graph.nodes[node].op {
                Op::Conv(_) => break node,
                Op::Reshape | Op::Transpose { .. } | Op::Quantize(_) | Op::Dequantize(_) | Op::Activation(_) => {
                    value = graph.nodes[node].inputs[0];
                }
                op => return Err(ClassesError::Mixed { node: graph.nodes[node].name.clone(), op: op.name() }),
            }
        };
        if heads.iter().all(|head| head.node != node) {
            heads.push(HeadConv { node, numbers });
        }
    }
    Ok(heads)
}

/// What is cut from which values.
struct Cut {
    /// Numbers per row before the cut.
    numbers: usize,
    /// Those that are kept, ascending.
    columns: Vec<usize>,
    /// For every value that is cut the axis along which it is: rows of `numbers`, one or more behind each other.
    cuts: Vec<Option<usize>>,
}

impl Cut {
    /// What is kept of an axis of `extent`.
    fn kept(&self, extent: usize) -> Vec<usize> {
        let row = |row: usize| self.columns.iter().map(move |column| row * self.numbers + column);
        (0..extent / self.numbers).flat_map(row).collect()
    }

    /// Cuts the rows of a head out of its convolution.
    fn convolution(&mut self, graph: &mut Graph, head: &HeadConv) -> Result<(), ClassesError> {
        let node = &graph.nodes[head.node];
        let Op::Conv(conv) = &node.op else { unreachable!("`heads` found a convolution here") };
        let (inputs, outputs) = (node.inputs.clone(), node.outputs.clone());
        let weight = graph.constant(inputs[1]).expect("weights are constant").clone();
        let bias = graph.constant(inputs[2]).and_then(|b| b.as_f32()).expect("biases are constant f32").to_vec();
        if conv.geometry.group != 1 || inputs.len() > 3 || !weight.shape[0].is_multiple_of(self.numbers) {
            return Err(ClassesError::Mixed { node: node.name.clone(), op: node.op.name() });
        }
        let kept = self.kept(weight.shape[0]);
        let mut conv: Conv = conv.clone();
        if let Some(quant) = &mut conv.quant {
            quant.scale = kept.iter().map(|&row| quant.scale[row]).collect();
            quant.acc_bias = kept.iter().map(|&row| quant.acc_bias[row]).collect();
        }
        let row = weight.len() / weight.shape[0];
        let data = match &weight.data {
            Data::F32(w) => Data::F32(kept.iter().flat_map(|&o| w[o * row..][..row].iter().copied()).collect()),
            Data::I8(w) => Data::I8(kept.iter().flat_map(|&o| w[o * row..][..row].iter().copied()).collect()),
            _ => unreachable!("a convolution's weight is f32 or i8"),
        };
        let mut shape = weight.shape.clone();
        shape[0] = kept.len();
        let names = [1, 2].map(|input: usize| graph.value(inputs[input]).name.clone());
        let [weight_name, bias_name] = names;
        let weight = graph.add_constant(weight_name, Tensor::new(shape, data));
        let bias = graph.add_constant(bias_name, Tensor::f32([kept.len()], kept.iter().map(|&o| bias[o]).collect()));
        self.cuts.resize(graph.values.len(), None);
        let node = &mut graph.nodes[head.node];
        (node.op, node.inputs[1], node.inputs[2]) = (Op::Conv(conv), weight, bias);
        outputs.into_iter().for_each(|output| self.narrow(graph, output, 1));
        Ok(())
    }

    /// Records that `value` is cut along `axis`, and narrows its type.
    fn narrow(&mut self, graph: &mut Graph, value: ValueId, axis: usize) {
        self.cuts[value.index()] = Some(axis);
        let extent = &mut graph.values[value.index()].ty.shape[axis];
        *extent = *extent / self.numbers * self.columns.len();
    }

    /// Carries the cut through all that reads what is cut.
    fn follow(&mut self, graph: &mut Graph) -> Result<(), ClassesError> {
        for n in 0..graph.nodes.len() {
            let node = graph.nodes[n].clone();
            let cuts: Vec<Option<usize>> = node.inputs.iter().map(|input| self.cuts[input.index()]).collect();
            if cuts.iter().all(Option::is_none) || matches!(node.op, Op::Conv(_)) && self.is_cut(node.outputs[0]) {
                continue;
            }
            let mixed = || ClassesError::Mixed { node: node.name.clone(), op: node.op.name() };
            let all_alike = cuts.iter().all(|cut| *cut == cuts[0]);
            let axis = cuts[0].filter(|_| all_alike).ok_or_else(mixed)?;
            let output = node.outputs[0];
            match &node.op {
                Op::DetectHead(head) if axis == 1 => {
                    let mut head = head.clone();
                    head.outputs = self.columns.len();
                    graph.nodes[n].op = Op::DetectHead(head);
                    self.narrow(graph, output, 2);
                }
                Op::Activation(_) => self.narrow(graph, output, axis),
                Op::Quantize(q) | Op::Dequantize(q) if q.as_per_tensor().is_some() => self.narrow(graph, output, axis),
                Op::Concat { axis: joined } if *joined != axis => self.narrow(graph, output, axis),
                Op::Transpose { perm } => {
                    let to = perm.iter().position(|from| *from == axis).ok_or_else(mixed)?;
                    self.narrow(graph, output, to);
                }
                Op::Reshape => {
                    let to = self.reshaped(graph, node.inputs[0], axis, output).ok_or_else(mixed)?;
                    self.narrow(graph, output, to);
                }
                _ => return Err(mixed()),
            }
        }
        Ok(())
    }

    fn is_cut(&self, value: ValueId) -> bool {
        self.cuts[value.index()].is_some()
    }

    /// The axis of the rows behind a reshape: the one whose rows start where those of the input do.
    fn reshaped(&self, graph: &Graph, input: ValueId, axis: usize, output: ValueId) -> Option<usize> {
        let mut before = graph.ty(input).shape.clone();
        before[axis] = before[axis] / self.columns.len() * self.numbers;
        let after = &graph.ty(output).shape;
        let behind: usize = before[axis + 1..].iter().product();
        let fits =
            |to: &usize| after[to + 1..].iter().product::<usize>() == behind && after[*to].is_multiple_of(self.numbers);
        (0..after.len()).find(fits)
    }
}
