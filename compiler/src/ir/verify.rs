//! Checks the invariants that [the module](super) lists, each error naming the node or value at fault.

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{check, infer};

use super::{DType, Graph, Node, Op, Quantization, Store, Type, ValueId};

/// A broken invariant. `node` is `#index 'name' (operator)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum VerifyError {
    #[error("{place} refers to {id}, which does not exist")]
    UnknownValue { place: String, id: ValueId },
    #[error("{id} '{name}' has two sources: {first} and {second}")]
    TwoSources { id: ValueId, name: String, first: String, second: String },
    #[error("{place} reads {id} '{name}', which nothing before it produces")]
    NoSource { place: String, id: ValueId, name: String },
    #[error("constant {id} '{name}' is declared {declared} but holds {count} elements of {held}")]
    ConstantType { id: ValueId, name: String, declared: Type, held: Type, count: usize },
    #[error("{id} '{name}' has more elements than can be addressed: {ty}")]
    TooLarge { id: ValueId, name: String, ty: Type },
    #[error("graph input {id} '{name}' is {ty}; its first axis must have extent 1")]
    Batch { id: ValueId, name: String, ty: Type },
    #[error("{node}: {message}")]
    Type { node: String, message: String },
    #[error("{node}: input {input} ({id}) must be a constant")]
    NotConstant { node: String, input: usize, id: ValueId },
    #[error("{node}: {message}")]
    Quantization { node: String, message: String },
}

/// Checks every invariant of `graph`.
///
/// # Errors
/// The first broken invariant, in the order: values, graph inputs, nodes, graph outputs.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut sources = Sources { graph, source: vec![None; graph.values.len()] };
    check_values(graph, &mut sources)?;
    for &id in &graph.inputs {
        sources.set(id, || "the graph's inputs".into())?;
        let value = graph.value(id);
        if value.ty.shape.first() != Some(&1) {
            return Err(VerifyError::Batch { id, name: value.name.clone(), ty: value.ty.clone() });
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let place = || place_of(index, node);
        for &id in &node.inputs {
            sources.require(id, place)?;
        }
        for &id in &node.outputs {
            sources.set(id, place)?;
        }
        check_node(graph, node, place)?;
    }
    graph.outputs.iter().try_for_each(|&id| sources.require(id, || "the graph's outputs".into()))
}

fn place_of(index: usize, node: &Node) -> String {
    format!("node #{index} '{}' ({})", node.name, node.op.name())
}

/// Who makes each value, as far as the walk has come.
struct Sources<'a> {
    graph: &'a Graph,
    source: Vec<Option<String>>,
}

impl Sources<'_> {
    fn set(&mut self, id: ValueId, place: impl Fn() -> String) -> Result<(), VerifyError> {
        let Some(slot) = self.source.get_mut(id.index()) else {
            return Err(VerifyError::UnknownValue { place: place(), id });
        };
        if let Some(first) = slot {
            let name = self.graph.value(id).name.clone();
            return Err(VerifyError::TwoSources { id, name, first: first.clone(), second: place() });
        }
        *slot = Some(place());
        Ok(())
    }

    fn require(&self, id: ValueId, place: impl Fn() -> String) -> Result<(), VerifyError> {
        match self.source.get(id.index()) {
            None => Err(VerifyError::UnknownValue { place: place(), id }),
            Some(None) => Err(VerifyError::NoSource { place: place(), id, name: self.graph.value(id).name.clone() }),
            Some(Some(_)) => Ok(()),
        }
    }
}

/// Sizes that fit memory, constants of their declared type; registers the constants as sources.
fn check_values(graph: &Graph, sources: &mut Sources<'_>) -> Result<(), VerifyError> {
    for (index, value) in graph.values.iter().enumerate() {
        let id = ValueId(u32::try_from(index).expect("fewer than 2^32 values"));
        let name = || value.name.clone();
        let len = value.ty.shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        let Some(len) = len.filter(|&n| n <= isize::MAX as usize / 8) else {
            return Err(VerifyError::TooLarge { id, name: name(), ty: value.ty.clone() });
        };
        if let Some(tensor) = &value.constant {
            if tensor.ty() != value.ty || tensor.len() != len {
                let (declared, held, count) = (value.ty.clone(), tensor.ty(), tensor.len());
                return Err(VerifyError::ConstantType { id, name: name(), declared, held, count });
            }
            sources.set(id, || "a constant".into())?;
        }
    }
    Ok(())
}

fn check_node(graph: &Graph, node: &Node, place: impl Fn() -> String) -> Result<(), VerifyError> {
    let types = |ids: &[ValueId]| ids.iter().map(|&id| graph.ty(id)).collect::<Vec<_>>();
    let (inputs, outputs) = (types(&node.inputs), types(&node.outputs));
    check(&node.op, &inputs, &outputs).map_err(|message| VerifyError::Type { node: place(), message })?;
    let constant_inputs = match node.op {
        Op::Conv(_) => 1..3,
        Op::ConvInteger { .. } => 1..2,
        Op::BatchNorm { .. } => 1..5,
        _ => 0..0,
    };
    for input in constant_inputs {
        let id = node.inputs[input];
        let is_weight = matches!(node.op, Op::Conv(_)) && input == 1;
        if graph.constant(id).is_none() && !(is_weight && is_dequantized_constant(graph, id)) {
            return Err(VerifyError::NotConstant { node: place(), input, id });
        }
    }
    check_quantization(&node.op, &inputs).map_err(|message| VerifyError::Quantization { node: place(), message })
}

fn is_dequantized_constant(graph: &Graph, id: ValueId) -> bool {
    let dequantizes = |node: &Node| matches!(node.op, Op::Dequantize(_)) && graph.constant(node.inputs[0]).is_some();
    graph.nodes.iter().any(|node| node.outputs.contains(&id) && dequantizes(node))
}

fn check_quantization(op: &Op, inputs: &[&Type]) -> Result<(), String> {
    match op {
        Op::Quantize(Quantization { scale, zero, dtype, .. })
        | Op::Dequantize(Quantization { scale, zero, dtype, .. }) => {
            check_scales(scale)?;
            zero.iter().try_for_each(|&z| check_zero(z, *dtype))
        }
        Op::Conv(conv) => {
            if let Some(quant) = &conv.quant {
                check_scales(&quant.scale)?;
            }
            conv.epilogue.stores.iter().try_for_each(|store| match store {
                Store::F32 => Ok(()),
                Store::U8 { scale, .. } => check_scales(&[*scale]),
            })
        }
        Op::ConvInteger { x_zero, w_zero, .. } => {
            check_zero(*x_zero, inputs[0].dtype)?;
            w_zero.iter().try_for_each(|&z| check_zero(z, inputs[1].dtype))
        }
        _ => Ok(()),
    }
}

fn check_scales(scales: &[f32]) -> Result<(), String> {
    match scales.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
        Some(i) => Err(format!("scale {} (channel {i}) is not a finite positive number", scales[i])),
        None => Ok(()),
    }
}

fn check_zero(zero: i32, dtype: DType) -> Result<(), String> {
    let range = match dtype {
        DType::U8 => 0..=255,
        DType::I8 => -128..=127,
        _ => i32::MIN..=i32::MAX,
    };
    if range.contains(&zero) {
        return Ok(());
    }
    Err(format!("zero point {zero} does not fit {dtype}"))
}
