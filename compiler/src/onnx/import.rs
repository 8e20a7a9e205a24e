//! The walk over the model: inputs get static types, every live node is handed to its operator's import function.

use super::attr::Attributes;
use super::error::{Error, Fault, FaultKind, NodeFault, NodeFaults};
use super::interface::declared_map;
use super::node::NodeContext;
use super::proto::{GraphProto, ModelProto, SparseTensorProto, TensorProto, ValueInfoProto};
use super::{ImportOptions, batch, live, metadata, ops, tensor, topology};
use crate::ir::{Graph, Quantization, ValueId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Supported versions of the standard operator set.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// Most elements a value may have.
pub(super) const MAX_ELEMENTS: usize = 1 << 31;

/// Elements that evaluation of constants may produce, beyond a multiple of the elements stored in the model.
const FOLDED_ELEMENTS: usize = 1 << 25;

/// State of an import.
pub(super) struct Importer<'m> {
    pub(super) graph: Graph,
    pub(super) options: &'m ImportOptions,
    /// The extent of axis 0 of the inputs, where it is stated.
    pub(super) stated_batch: Option<usize>,
    /// That extent when it is above 1: the batch that the model was exported with.
    pub(super) baked_batch: Option<usize>,
    /// Values that depend on the inputs, and so have that batch on axis 0 in the model.
    pub(super) batched: HashSet<ValueId>,
    /// Constants that are kept quantised for a convolution or matrix product, by the value that dequantises them.
    pub(super) quantized_weights: HashMap<ValueId, (ValueId, Quantization)>,
    /// Values that stand for a padded map and must be merged into what reads them.
    pub(super) padded: BTreeMap<ValueId, PaddedMap>,
    /// Names read as the weight of a convolution or matrix product.
    weight_names: HashSet<&'m str>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    sparse_initializers: HashMap<&'m str, &'m SparseTensorProto>,
    pub(super) bindings: HashMap<&'m str, Binding>,
    budget: usize,
    /// Position in the model of the node being imported.
    current: usize,
}

/// A map with a border that no operator computes.
#[derive(Clone, Debug)]
pub(super) struct PaddedMap {
    /// The map without border.
    pub(super) source: ValueId,
    /// Width of the border: top, left, bottom, right.
    pub(super) pad: [usize; 4],
    /// What the border holds: 0, or the lowest value there is.
    pub(super) lowest: bool,
    /// Position in the model of the node that pads.
    node: usize,
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(super) enum Binding {
    /// A value of the graph.
    Value(ValueId),
    /// The output of a node that could not be imported.
    Unknown,
}

pub(super) fn import(model: &ModelProto, options: &ImportOptions) -> Result<Graph, Error> {
    let (imported, resized) = import_at(model, options)?;
    let (Err(_), Some(exported), Some(asked)) = (&imported, resized, options.imgsz) else { return imported };
    // Only a model that imports at its own size fails because of the size.
    let at_exported = ImportOptions { imgsz: Some(exported), ..options.clone() };
    match import_at(model, &at_exported)? {
        (Ok(_), _) => imported.map_err(|source| Error::ExportedSize { exported, asked, source: Box::new(source) }),
        (failed, _) => failed,
    }
}

/// The outcome of an import, and the exported height and width if the options changed them.
type Attempt = (Result<Graph, Error>, Option<[usize; 2]>);

/// Imports at the size in `options`.
fn import_at(model: &ModelProto, options: &ImportOptions) -> Result<Attempt, Error> {
    let source = model.graph.as_ref().ok_or(Error::NoGraph)?;
    let opset = opset(model)?;
    let order = topology::live_nodes(source)?;
    let mut importer = Importer {
        graph: Graph { name: source.name().to_owned(), ..Graph::default() },
        options,
        stated_batch: None,
        baked_batch: None,
        batched: HashSet::new(),
        quantized_weights: HashMap::new(),
        padded: BTreeMap::new(),
        weight_names: weight_names(source),
        initializers: source.initializer.iter().map(|t| (t.name(), t)).collect(),
        sparse_initializers: source
            .sparse_initializer
            .iter()
            .filter_map(|s| Some((s.values.as_ref()?.name(), s)))
            .collect(),
        bindings: HashMap::new(),
        budget: FOLDED_ELEMENTS,
        current: 0,
    };
    importer.graph.metadata = metadata::read(&model.metadata_props);
    let mut resized = None;
    for input in &source.input {
        let stored = importer.initializers.contains_key(input.name());
        if !stored && !importer.sparse_initializers.contains_key(input.name()) {
            resized = importer.add_input(input)?.or(resized);
        }
    }
    let imported = importer.add_nodes(source, &order, opset).and_then(|()| importer.add_outputs(source));
    Ok((imported.map(|()| live::compacted(&importer.graph)), resized))
}

/// Version of the standard operator set.
fn opset(model: &ModelProto) -> Result<i64, Error> {
    let standard = model.opset_import.iter().find(|o| matches!(o.domain(), "" | "ai.onnx"));
    match standard.map(|o| o.version()) {
        Some(version) if OPSETS.contains(&version) => Ok(version),
        version => Err(Error::Opset { version, oldest: *OPSETS.start(), newest: *OPSETS.end() }),
    }
}

/// Names read as the second operand of a convolution or matrix product.
fn weight_names(graph: &GraphProto) -> HashSet<&str> {
    let weighted = graph.node.iter().filter(|n| matches!(n.op_type(), "Conv" | "Gemm" | "MatMul"));
    weighted.filter_map(|n| n.input.get(1).map(String::as_str)).collect()
}

impl<'m> Importer<'m> {
    /// Imports the nodes in `order`, collecting those that fail.
    fn add_nodes(&mut self, source: &'m GraphProto, order: &[usize], opset: i64) -> Result<(), Error> {
        let declared: HashMap<&str, &ValueInfoProto> = source.value_info.iter().map(|v| (v.name(), v)).collect();
        let mut faults = BTreeMap::new();
        for &n in order {
            let node = &source.node[n];
            self.current = n;
            let fault = match ops::find(node.domain(), node.op_type()) {
                None => Some(Fault::Unsupported(ops::hint(node.op_type()))),
                Some(import_node) => match self.resolve(&node.input)? {
                    // Nothing can be said about a node behind one that failed.
                    None => None,
                    Some(inputs) => {
                        let made = self.graph.nodes.len();
                        let mut context = NodeContext::new(self, node, Attributes(&node.attribute), inputs, opset);
                        let fault = batch::check(&mut context).and_then(|()| import_node(&mut context)).err();
                        self.spread_batch(made);
                        fault
                    }
                },
            };
            match fault {
                Some(Fault::Fatal(error)) => return Err(error),
                Some(Fault::Unsupported(reason)) => drop(faults.insert(n, (FaultKind::Unsupported, reason))),
                Some(Fault::Malformed(reason)) => drop(faults.insert(n, (FaultKind::Malformed, reason))),
                None => {}
            }
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                if !self.bindings.contains_key(output.as_str()) {
                    let stand_in = self.stand_in(output, declared.get(output.as_str()).copied());
                    self.bindings.insert(output, stand_in);
                }
            }
        }
        let read = self.graph.nodes.iter().flat_map(|node| &node.inputs);
        for padded in read.filter_map(|id| self.padded.get(id)) {
            let reason = "what reads it is not a convolution or pool that the padding can be merged into".to_owned();
            faults.insert(padded.node, (FaultKind::Unsupported, reason));
        }
        if faults.is_empty() {
            return Ok(());
        }
        let faults = faults.into_iter().map(|(n, (kind, reason))| {
            let node = &source.node[n];
            let (op, domain) =
                (node.op_type().to_owned(), if node.domain().is_empty() { "ai.onnx" } else { node.domain() });
            NodeFault { node: super::node::node_name(node), op, domain: domain.to_owned(), kind, reason }
        });
        Err(Error::Nodes(NodeFaults(faults.collect())))
    }

    /// What stands for the output of a node that could not be imported: a map of the type that the model declares for
    /// it, so that the nodes behind it are looked at too, or nothing.
    fn stand_in(&mut self, name: &str, declared: Option<&ValueInfoProto>) -> Binding {
        match declared.and_then(declared_map) {
            Some(ty) if self.options.imgsz.is_none() && self.baked_batch.is_none() => {
                Binding::Value(self.graph.add_value(name, ty))
            }
            _ => Binding::Unknown,
        }
    }

    /// The values behind input names; `None` when one of them could not be imported.
    fn resolve(&mut self, names: &'m [String]) -> Result<Option<Vec<Option<ValueId>>>, Error> {
        let mut inputs = Vec::with_capacity(names.len());
        for name in names {
            inputs.push(match name.as_str() {
                "" => None,
                name => match self.lookup(name)? {
                    Binding::Value(id) => Some(id),
                    Binding::Unknown => return Ok(None),
                },
            });
        }
        Ok(Some(inputs))
    }

    pub(super) fn lookup(&mut self, name: &'m str) -> Result<Binding, Error> {
        if let Some(&binding) = self.bindings.get(name) {
            return Ok(binding);
        }
        let base_dir = self.options.base_dir.as_deref();
        let tensor = if let Some(stored) = self.initializers.get(name) {
            tensor::read(stored, base_dir)?
        } else if let Some(stored) = self.sparse_initializers.get(name) {
            let tensor = tensor::read_sparse(stored, base_dir)?;
            self.charge(tensor.len()).map_err(|reason| Error::Tensor { tensor: name.to_owned(), reason })?;
            tensor
        } else {
            return Err(Error::Graph(format!("`{name}` is not defined")));
        };
        self.budget = self.budget.saturating_add(tensor.len().saturating_mul(4));
        let binding = Binding::Value(self.graph.add_constant(name, tensor));
        self.bindings.insert(name, binding);
        Ok(binding)
    }

    /// Makes `name` stand for `id`.
    pub(super) fn bind(&mut self, name: &'m str, id: ValueId) {
        self.bindings.insert(name, Binding::Value(id));
    }

    /// Marks what the nodes from `first` on make of batched values as batched.
    fn spread_batch(&mut self, first: usize) {
        for node in &self.graph.nodes[first..] {
            if node.inputs.iter().any(|input| self.batched.contains(input)) {
                self.batched.extend(&node.outputs);
            }
        }
    }

    /// Registers a value that stands for a padded map.
    pub(super) fn pad(&mut self, id: ValueId, source: ValueId, pad: [usize; 4], lowest: bool) {
        // The source may be of the node being imported, whose outputs are not marked yet.
        self.batched.insert(id);
        self.padded.insert(id, PaddedMap { source, pad, lowest, node: self.current });
    }

    /// Whether some convolution or matrix product reads this name as its weight.
    pub(super) fn is_weight(&self, name: &str) -> bool {
        self.weight_names.contains(name)
    }

    /// Takes elements from what evaluation of constants may produce.
    pub(super) fn charge(&mut self, elements: usize) -> Result<(), String> {
        self.budget = self.budget.checked_sub(elements).ok_or("its constants expand to too many elements")?;
        Ok(())
    }
}
