//! What an operator's import function sees of its node and may do to the graph.

use super::attr::Attributes;
use super::error::{Fault, listed};
use super::import::{Importer, MAX_ELEMENTS};
use super::proto::NodeProto;
use super::tensor::MAX_RANK;
use crate::ir::{DType, Node, Op, Tensor, Type, ValueId};
use std::sync::Arc;

/// Result of importing a node.
pub(super) type Outcome = Result<(), Fault>;

/// A node on its way into the graph.
pub(super) struct NodeContext<'a, 'm> {
    pub(super) importer: &'a mut Importer<'m>,
    pub(super) attributes: Attributes<'m>,
    /// Version of the standard operator set.
    pub(super) opset: i64,
    /// Name for the nodes it becomes.
    pub(super) name: String,
    node: &'m NodeProto,
    inputs: Vec<Option<ValueId>>,
}

/// Name of a node, or of its first output when it has none.
pub(super) fn node_name(node: &NodeProto) -> String {
    let first = || node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
    if node.name().is_empty() { first().to_owned() } else { node.name().to_owned() }
}

impl<'a, 'm> NodeContext<'a, 'm> {
    pub(super) fn new(
        importer: &'a mut Importer<'m>,
        node: &'m NodeProto,
        attributes: Attributes<'m>,
        inputs: Vec<Option<ValueId>>,
        opset: i64,
    ) -> Self {
        NodeContext { importer, attributes, opset, name: node_name(node), node, inputs }
    }

    /// Operator of the node.
    pub(super) fn op(&self) -> &'m str {
        self.node.op_type()
    }

    /// Number of inputs, absent ones included.
    pub(super) fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// An input that must be present.
    pub(super) fn input(&self, index: usize) -> Result<ValueId, Fault> {
        self.optional(index).ok_or_else(|| Fault::Malformed(format!("input {index} is missing")))
    }

    /// An input that may be absent.
    pub(super) fn optional(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Makes the import function see `id` as input `index`.
    pub(super) fn replace_input(&mut self, index: usize, id: ValueId) {
        self.inputs[index] = Some(id);
    }

    /// All inputs, which must be present and at least one.
    pub(super) fn all_inputs(&self) -> Result<Vec<ValueId>, Fault> {
        if self.inputs.is_empty() {
            return Fault::malformed("it has no inputs");
        }
        (0..self.inputs.len()).map(|i| self.input(i)).collect()
    }

    /// The type of a value.
    pub(super) fn ty(&self, id: ValueId) -> &Type {
        self.importer.graph.ty(id)
    }

    /// The shape of a value.
    pub(super) fn shape(&self, id: ValueId) -> Vec<usize> {
        self.ty(id).shape.clone()
    }

    /// The elements of a value when they are known.
    pub(super) fn constant_of(&self, id: ValueId) -> Option<Arc<Tensor>> {
        self.importer.graph.constant(id).cloned()
    }

    /// An input whose elements must be known.
    pub(super) fn constant(&self, index: usize, what: &str) -> Result<Arc<Tensor>, Fault> {
        let id = self.input(index)?;
        self.constant_of(id).ok_or_else(|| Fault::Unsupported(format!("its {what} (input {index}) must be a constant")))
    }

    /// An input that may be absent and whose elements must be known otherwise.
    pub(super) fn optional_constant(&self, index: usize, what: &str) -> Result<Option<Arc<Tensor>>, Fault> {
        self.optional(index).map(|_| self.constant(index, what)).transpose()
    }

    /// A constant input as integers.
    pub(super) fn integers(&self, index: usize, what: &str) -> Result<Vec<i64>, Fault> {
        let tensor = self.constant(index, what)?;
        let integers = tensor.to_i64s();
        integers.ok_or_else(|| {
            Fault::Malformed(format!("its {what} (input {index}) is {}, expected integers", tensor.ty()))
        })
    }

    /// A constant input as floats of a given shape.
    pub(super) fn floats(&self, index: usize, what: &str) -> Result<Vec<f32>, Fault> {
        let tensor = self.constant(index, what)?;
        let floats = tensor.as_f32().map(<[f32]>::to_vec);
        floats.ok_or_else(|| Fault::Malformed(format!("its {what} (input {index}) is {}, expected f32", tensor.ty())))
    }

    /// Integers that older operator sets give as an attribute and newer ones as an input.
    pub(super) fn integers_or_attribute(&self, index: usize, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        match self.optional(index) {
            Some(_) => self.integers(index, name).map(Some),
            None => Ok(self.attributes.ints(name)?.map(<[i64]>::to_vec)),
        }
    }

    /// Requires the element type of a value to be one of `allowed`.
    pub(super) fn expect_dtype(&self, id: ValueId, allowed: &[DType]) -> Outcome {
        let ty = self.ty(id);
        if allowed.contains(&ty.dtype) {
            return Ok(());
        }
        Fault::unsupported(format!("its input `{}` is {ty}, expected {}", self.value_name(id), listed(allowed)))
    }

    /// Requires a feature map `[1, channels, height, width]`; returns its extents.
    pub(super) fn expect_map(&self, id: ValueId) -> Result<[usize; 4], Fault> {
        match self.ty(id).shape[..] {
            [1, c, h, w] => Ok([1, c, h, w]),
            _ => Fault::unsupported(format!(
                "its input `{}` is {}, expected 1 x channels x height x width",
                self.value_name(id),
                self.ty(id)
            )),
        }
    }

    /// Name of a value in the model.
    pub(super) fn value_name(&self, id: ValueId) -> &str {
        &self.importer.graph.value(id).name
    }

    /// Whether output `index` is used by the model.
    pub(super) fn has_output(&self, index: usize) -> bool {
        self.node.output.get(index).is_some_and(|o| !o.is_empty())
    }

    /// Number of outputs, absent ones included.
    pub(super) fn output_count(&self) -> usize {
        self.node.output.len()
    }

    /// Name of output `index`.
    pub(super) fn output_name(&self, index: usize) -> &'m str {
        self.node.output.get(index).map_or("", String::as_str)
    }

    /// Makes output `index` stand for `id`.
    pub(super) fn bind(&mut self, index: usize, id: ValueId) -> Outcome {
        if self.has_output(index) {
            self.importer.bind(self.output_name(index), id);
        }
        Ok(())
    }

    /// Binds output 0 to a value that is there already.
    pub(super) fn alias(&mut self, id: ValueId) -> Outcome {
        self.bind(0, id)
    }

    /// Takes `elements` from what evaluation of constants may produce; call before allocating them.
    pub(super) fn charge(&mut self, elements: Option<usize>) -> Outcome {
        match elements {
            Some(n) => self.importer.charge(n).map_err(Fault::Unsupported),
            None => Fault::unsupported("its constants expand to too many elements"),
        }
    }

    /// Adds a constant of the importer's making.
    pub(super) fn add_constant(&mut self, suffix: &str, tensor: Tensor) -> ValueId {
        let name = self.suffixed(suffix);
        self.importer.graph.add_constant(name, tensor)
    }

    /// Binds output `index` to a constant.
    pub(super) fn bind_constant(&mut self, index: usize, tensor: Tensor) -> Outcome {
        let id = self.importer.graph.add_constant(self.output_name(index), tensor);
        self.bind(index, id)
    }

    /// A type after checking its size.
    pub(super) fn checked(&self, dtype: DType, shape: &[usize]) -> Result<Type, Fault> {
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match elements {
            _ if shape.len() > MAX_RANK => {
                Fault::unsupported(format!("its output has {} axes, at most {MAX_RANK} are supported", shape.len()))
            }
            Some(0) => Fault::unsupported(format!("its output of shape [{}] is empty", listed(shape))),
            Some(n) if n <= MAX_ELEMENTS => Ok(Type::new(dtype, shape)),
            _ => Fault::unsupported(format!("its output of shape [{}] is too large", listed(shape))),
        }
    }

    fn suffixed(&self, suffix: &str) -> String {
        if suffix.is_empty() { self.name.clone() } else { format!("{}.{suffix}", self.name) }
    }

    /// Adds an intermediate node, named after this one (`suffix` may be empty), and returns its output.
    pub(super) fn emit(
        &mut self,
        suffix: &str,
        op: Op,
        inputs: Vec<ValueId>,
        dtype: DType,
        shape: &[usize],
    ) -> Result<ValueId, Fault> {
        let ty = self.checked(dtype, shape)?;
        let name = self.suffixed(suffix);
        Ok(self.importer.graph.add_node(name, op, inputs, ty))
    }

    /// Adds the node that makes output `index`.
    pub(super) fn finish_at(
        &mut self,
        index: usize,
        op: Op,
        inputs: Vec<ValueId>,
        dtype: DType,
        shape: &[usize],
    ) -> Outcome {
        let ty = self.checked(dtype, shape)?;
        let output = self.importer.graph.add_value(self.output_name(index), ty);
        let name = if index == 0 { self.name.clone() } else { format!("{}.{index}", self.name) };
        self.importer.graph.nodes.push(Node { name, op, inputs, outputs: vec![output] });
        self.bind(index, output)
    }

    /// Adds the node that makes output 0.
    pub(super) fn finish(&mut self, op: Op, inputs: Vec<ValueId>, dtype: DType, shape: &[usize]) -> Outcome {
        self.finish_at(0, op, inputs, dtype, shape)
    }
}

/// An axis that may count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start.and_then(|a| usize::try_from(a).ok()) {
        Some(a) if a < rank => Ok(a),
        _ => Fault::malformed(format!("axis {axis} does not exist in {rank} axes")),
    }
}
