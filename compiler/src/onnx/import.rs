//! The walk over the model: inputs get static types, every live node is handed to its operator's import function.

use super::attr::Attributes;
use super::error::{Error, Fault, FaultKind, NodeFault, NodeFaults, listed};
use super::node::NodeContext;
use super::proto::tensor_shape_proto::dimension::Value as Extent;
use super::proto::type_proto::Value as TypeValue;
use super::proto::{GraphProto, ModelProto, SparseTensorProto, TensorProto, ValueInfoProto};
use super::{ImportOptions, live, metadata, ops, tensor, topology};
use crate::ir::{Graph, Op, Quantization, Type, ValueId};
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
    /// The static batch above 1 that the model was exported with.
    pub(super) baked_batch: Option<usize>,
    /// Constants that are kept quantised for a convolution or matrix product, by the value that dequantises them.
    pub(super) quantized_weights: HashMap<ValueId, (ValueId, Quantization)>,
    /// Values that stand for a padded map and must be merged into what reads them.
    pub(super) padded: BTreeMap<ValueId, PaddedMap>,
    /// Names read as the weight of a convolution or matrix product.
    weight_names: HashSet<&'m str>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    sparse_initializers: HashMap<&'m str, &'m SparseTensorProto>,
    bindings: HashMap<&'m str, Binding>,
    budget: usize,
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

/// Imports at the size in `options`; also returns the exported height and width if they were changed.
fn import_at(model: &ModelProto, options: &ImportOptions) -> Result<(Result<Graph, Error>, Option<[usize; 2]>), Error> {
    let source = model.graph.as_ref().ok_or(Error::NoGraph)?;
    let opset = opset(model)?;
    let order = topology::live_nodes(source)?;
    let mut importer = Importer {
        graph: Graph { name: source.name().to_owned(), ..Graph::default() },
        options,
        baked_batch: None,
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
    let weighted = graph.node.iter().filter(|n| matches!(n.op_type(), "Conv" | "Gemm" | "MatMul" | "FusedConv"));
    weighted.filter_map(|n| n.input.get(1).map(String::as_str)).collect()
}

impl<'m> Importer<'m> {
    /// Adds a graph input with its batch set to 1; returns the exported height and width when the options change them.
    fn add_input(&mut self, input: &'m ValueInfoProto) -> Result<Option<[usize; 2]>, Error> {
        let name = input.name();
        let fail = |reason: String| Error::Input { input: name.to_owned(), reason };
        let Some(TypeValue::TensorType(declared)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
            return Err(fail("it is not a tensor".to_owned()));
        };
        let dtype = tensor::dtype(declared.elem_type()).ok_or_else(|| {
            fail(format!("element type {} is not supported", tensor::dtype_name(declared.elem_type())))
        })?;
        let Some(dims) = declared.shape.as_ref().map(|s| &s.dim) else {
            return Err(fail(
                "its number of axes is not stated: export the model with a shape for its input".to_owned(),
            ));
        };
        if dims.len() > tensor::MAX_RANK {
            return Err(fail(format!("{} axes, at most {} are supported", dims.len(), tensor::MAX_RANK)));
        }
        let mut extents: Vec<Option<usize>> = Vec::new();
        for dim in dims {
            extents.push(match dim.value {
                Some(Extent::DimValue(n)) if n > 0 => {
                    Some(usize::try_from(n).map_err(|_| fail(format!("extent {n}")))?)
                }
                Some(Extent::DimValue(n)) if n < -1 => return Err(fail(format!("the extent {n} is negative"))),
                _ => None,
            });
        }
        let shown = || {
            listed(dims.iter().map(|d| match &d.value {
                Some(Extent::DimValue(n)) => n.to_string(),
                Some(Extent::DimParam(symbol)) if !symbol.is_empty() => symbol.clone(),
                _ => "?".to_owned(),
            }))
        };
        if extents.is_empty() {
            return Err(fail("it is a scalar, expected a tensor with a batch axis".to_owned()));
        }
        self.baked_batch = extents[0].filter(|&n| n > 1).or(self.baked_batch);
        extents[0] = Some(1);
        let mut resized = None;
        if let ([_, _, height, width], Some(asked)) = (&mut extents[..], self.options.imgsz) {
            if asked.contains(&0) {
                return Err(fail("--imgsz needs a height and width above 0".to_owned()));
            }
            let exported = [height.unwrap_or(asked[0]), width.unwrap_or(asked[1])];
            resized = (exported != asked).then_some(exported);
            (*height, *width) = (Some(asked[0]), Some(asked[1]));
        }
        let shape = match extents.iter().copied().collect::<Option<Vec<_>>>() {
            Some(shape) => shape,
            None if extents.len() == 4 && extents[1].is_some() => {
                return Err(Error::SymbolicSize { input: name.to_owned(), shape: shown() });
            }
            None => {
                return Err(fail(format!("the shape [{}] is not static: export the model with fixed sizes", shown())));
            }
        };
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            return Err(fail(format!("the shape [{}] is too large", listed(&shape))));
        }
        let id = self.graph.add_value(name, Type::new(dtype, shape));
        self.graph.inputs.push(id);
        self.bindings.insert(name, Binding::Value(id));
        Ok(resized)
    }

    /// Imports the nodes in `order`, collecting those that fail.
    fn add_nodes(&mut self, source: &'m GraphProto, order: &[usize], opset: i64) -> Result<(), Error> {
        let mut faults = BTreeMap::new();
        for &n in order {
            let node = &source.node[n];
            let fault = match ops::find(node.domain(), node.op_type()) {
                None => Some(Fault::Unsupported(ops::hint(node.op_type()))),
                Some(import_node) => match self.resolve(&node.input)? {
                    // Nothing can be said about a node behind one that failed.
                    None => None,
                    Some(inputs) => {
                        let mut context = NodeContext::new(self, node, Attributes(&node.attribute), inputs, opset);
                        import_node(&mut context).err()
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
                self.bindings.entry(output).or_insert(Binding::Unknown);
            }
            let at = self.padded.values_mut().filter(|p| p.node == usize::MAX);
            at.for_each(|p| p.node = n);
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

    /// Makes the declared outputs outputs of the graph, each a value of its own made by a node.
    fn add_outputs(&mut self, source: &'m GraphProto) -> Result<(), Error> {
        if source.output.is_empty() {
            return Err(Error::Graph("the graph has no outputs".to_owned()));
        }
        for output in &source.output {
            let name = output.name();
            let fail = |reason: &str| Error::Output { output: name.to_owned(), reason: reason.to_owned() };
            let id = match self.lookup(name)? {
                Binding::Value(id) => id,
                Binding::Unknown => return Err(fail("it could not be imported")),
            };
            if self.padded.contains_key(&id) {
                return Err(fail("it is a padded map; padding is supported only in front of a convolution or pool"));
            }
            let ty = self.graph.ty(id).clone();
            if self.baked_batch.is_some_and(|n| ty.shape.first() == Some(&n))
                && declared_batch(output) == self.baked_batch
            {
                return Err(fail(
                    "the batch that the model was exported with cannot be removed: export it with batch 1",
                ));
            }
            let shared = self.graph.inputs.contains(&id) || self.graph.outputs.contains(&id);
            if shared || self.graph.constant(id).is_some() {
                let copy = self.graph.add_node(name, Op::Reshape, vec![id], ty);
                self.graph.outputs.push(copy);
            } else {
                name.clone_into(&mut self.graph.values[id.index()].name);
                self.graph.outputs.push(id);
            }
        }
        Ok(())
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

    fn lookup(&mut self, name: &'m str) -> Result<Binding, Error> {
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

    /// Registers a value that stands for a padded map.
    pub(super) fn pad(&mut self, id: ValueId, source: ValueId, pad: [usize; 4], lowest: bool) {
        self.padded.insert(id, PaddedMap { source, pad, lowest, node: usize::MAX });
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

/// The leading extent that an output declares.
fn declared_batch(output: &ValueInfoProto) -> Option<usize> {
    let Some(TypeValue::TensorType(declared)) = output.r#type.as_ref()?.value.as_ref() else { return None };
    match declared.shape.as_ref()?.dim.first()?.value {
        Some(Extent::DimValue(n)) => usize::try_from(n).ok(),
        _ => None,
    }
}
