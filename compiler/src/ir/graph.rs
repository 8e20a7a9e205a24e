//! Values, nodes, and the graph that holds them.

use super::op::Op;
use super::tensor::Tensor;
use super::ty::Type;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Index of a value in its graph. Displays as `%12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// As an index into [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// A tensor that flows through the graph: a graph input, a constant, or a node's output.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name in the source model, for messages and dumps.
    pub name: String,
    /// Element type and shape.
    pub ty: Type,
    /// The elements when they are known at compile time.
    pub constant: Option<Arc<Tensor>>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name in the source model, for messages, dumps and emitted module names.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Operands in the order [`Op`] documents.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

/// What the source model says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Class names by index, from `names`.
    pub class_names: Vec<String>,
    /// Largest stride of the detector, from `stride`.
    pub stride: Option<usize>,
    /// Every other entry of the model's metadata, unparsed.
    pub properties: BTreeMap<String, String>,
}

/// A network with static shapes. The invariants are listed in [the module](super).
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name of the graph.
    pub name: String,
    /// All values ever made; unused ones are allowed.
    pub values: Vec<Value>,
    /// Operations, each after the producers of its inputs.
    pub nodes: Vec<Node>,
    /// Inputs in the order of the source model.
    pub inputs: Vec<ValueId>,
    /// Outputs in the order of the source model.
    pub outputs: Vec<ValueId>,
    /// What the source model says about itself.
    pub metadata: Metadata,
}

impl Graph {
    /// Adds a value without a producer or constant; the caller makes it an input or a node's output.
    pub fn add_value(&mut self, name: impl Into<String>, ty: Type) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(Value { name: name.into(), ty, constant: None });
        id
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let id = self.add_value(name, tensor.ty());
        self.values[id.index()].constant = Some(Arc::new(tensor));
        id
    }

    /// Appends a node with one fresh output of type `ty`, named like the node, and returns that output.
    pub fn add_node(&mut self, name: impl Into<String>, op: Op, inputs: Vec<ValueId>, ty: Type) -> ValueId {
        let name = name.into();
        let output = self.add_value(name.clone(), ty);
        self.nodes.push(Node { name, op, inputs, outputs: vec![output] });
        output
    }

    /// The value with this id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Type of a value.
    pub fn ty(&self, id: ValueId) -> &Type {
        &self.values[id.index()].ty
    }

    /// Elements of a value known at compile time.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        self.values[id.index()].constant.as_ref()
    }

    /// Multiply-accumulates of all convolutions per image, zeros included.
    pub fn macs(&self) -> u64 {
        let of = |node: &Node| {
            let (Op::Conv(_) | Op::ConvInteger { .. }, [_, weight, ..]) = (&node.op, node.inputs.as_slice()) else {
                return 0;
            };
            let pixels: usize = self.ty(node.outputs[0]).shape.iter().skip(2).product();
            self.ty(*weight).len() as u64 * pixels as u64
        };
        self.nodes.iter().map(of).sum()
    }

    /// For every value, the index of the node that produces it.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for &o in &node.outputs {
                producers[o.index()] = Some(n);
            }
        }
        producers
    }

    /// For every value, the indices of the nodes that read it, ascending; a node that reads it twice appears twice.
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (n, node) in self.nodes.iter().enumerate() {
            for &i in &node.inputs {
                consumers[i.index()].push(n);
            }
        }
        consumers
    }

    /// Makes every reader of `from` (nodes and graph outputs) read `to`.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        for node in &mut self.nodes {
            for i in &mut node.inputs {
                if *i == from {
                    *i = to;
                }
            }
        }
        for o in &mut self.outputs {
            if *o == from {
                *o = to;
            }
        }
    }
}
