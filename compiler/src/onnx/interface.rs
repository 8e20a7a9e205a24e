//! Inputs and outputs of the graph, and the types that the model declares.

use super::error::{Error, listed};
use super::import::{Binding, Importer, MAX_ELEMENTS};
use super::proto::tensor_shape_proto::dimension::Value as Extent;
use super::proto::type_proto::Value as TypeValue;
use super::proto::{GraphProto, ValueInfoProto};
use super::tensor;
use crate::ir::{DType, Op, Type};

/// Largest batch of a model.
const MAX_BATCH: usize = 1 << 16;

impl<'m> Importer<'m> {
    /// Adds a graph input with its batch set to 1; returns the exported height and width when the options change them.
    pub(super) fn add_input(&mut self, input: &'m ValueInfoProto) -> Result<Option<[usize; 2]>, Error> {
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
        if let Some(n) = extents[0] {
            let batch = *self.stated_batch.get_or_insert(n);
            if n != batch {
                return Err(fail(format!(
                    "it has {n} entries on axis 0 and another input has {batch}: axis 0 must be the batch of all inputs"
                )));
            }
            if n > MAX_BATCH {
                return Err(fail(format!("a batch of {n}, at most {MAX_BATCH} is supported")));
            }
            self.baked_batch = (n > 1).then_some(n);
        }
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
        self.batched.insert(id);
        self.bindings.insert(name, Binding::Value(id));
        Ok(resized)
    }

    /// Makes the declared outputs outputs of the graph, each a value of its own made by a node.
    pub(super) fn add_outputs(&mut self, source: &'m GraphProto) -> Result<(), Error> {
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
            if self.baked_batch.is_some() && !self.batched.contains(&id) {
                return Err(fail(
                    "it does not depend on the inputs, and so has no batch to remove: export the model with batch 1",
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
}

/// The type of a feature map as the model declares it, when all of it is stated.
pub(super) fn declared_map(value: &ValueInfoProto) -> Option<Type> {
    let TypeValue::TensorType(declared) = value.r#type.as_ref()?.value.as_ref()?;
    let dtype = tensor::dtype(declared.elem_type()).filter(|t| matches!(t, DType::F32 | DType::U8 | DType::I8))?;
    let extents = declared.shape.as_ref()?.dim.iter().map(|d| match d.value {
        Some(Extent::DimValue(n)) => usize::try_from(n).ok().filter(|&n| n > 0),
        _ => None,
    });
    let shape: Vec<usize> = extents.collect::<Option<_>>()?;
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (shape.len() == 4 && elements <= MAX_ELEMENTS).then(|| Type::new(dtype, shape))
}
