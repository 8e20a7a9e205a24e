//! Typed access to the attributes of a node.

use super::error::Fault;
use super::proto::attribute_proto::AttributeType;
use super::proto::{AttributeProto, SparseTensorProto, TensorProto};

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'m>(pub(super) &'m [AttributeProto]);

impl<'m> Attributes<'m> {
    fn find(self, name: &str, expected: AttributeType) -> Result<Option<&'m AttributeProto>, Fault> {
        let Some(attribute) = self.0.iter().find(|a| a.name() == name) else { return Ok(None) };
        if !attribute.ref_attr_name().is_empty() {
            return Fault::malformed(format!("attribute `{name}` refers to an attribute of an enclosing function"));
        }
        let found = match attribute.r#type {
            None | Some(0) => inferred(attribute),
            Some(code) => match AttributeType::try_from(code) {
                Ok(ty) => Some(ty),
                Err(_) => return Fault::malformed(format!("attribute `{name}` has the unknown type {code}")),
            },
        };
        match found {
            Some(found) if found != expected => Fault::malformed(format!(
                "attribute `{name}` has type {}, expected {}",
                found.as_str_name(),
                expected.as_str_name()
            )),
            _ => Ok(Some(attribute)),
        }
    }

    /// An integer.
    pub(super) fn int(self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self.find(name, AttributeType::Int)?.map(AttributeProto::i))
    }

    /// An integer with a default.
    pub(super) fn int_or(self, name: &str, default: i64) -> Result<i64, Fault> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A list of integers.
    pub(super) fn ints(self, name: &str) -> Result<Option<&'m [i64]>, Fault> {
        Ok(self.find(name, AttributeType::Ints)?.map(|a| a.ints.as_slice()))
    }

    /// A float.
    pub(super) fn float(self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self.find(name, AttributeType::Float)?.map(AttributeProto::f))
    }

    /// A finite float with a default.
    pub(super) fn float_or(self, name: &str, default: f32) -> Result<f32, Fault> {
        match self.float(name)? {
            Some(x) if !x.is_finite() => {
                Fault::malformed(format!("attribute `{name}` is {x}, expected a finite number"))
            }
            found => Ok(found.unwrap_or(default)),
        }
    }

    /// A list of floats.
    pub(super) fn floats(self, name: &str) -> Result<Option<&'m [f32]>, Fault> {
        Ok(self.find(name, AttributeType::Floats)?.map(|a| a.floats.as_slice()))
    }

    /// A string; empty when the attribute is absent.
    pub(super) fn string(self, name: &str) -> Result<&'m str, Fault> {
        let bytes = self.find(name, AttributeType::String)?.map_or(&[][..], AttributeProto::s);
        std::str::from_utf8(bytes).map_err(|_| Fault::Malformed(format!("attribute `{name}` is not UTF-8")))
    }

    /// A tensor.
    pub(super) fn tensor(self, name: &str) -> Result<Option<&'m TensorProto>, Fault> {
        Ok(self.find(name, AttributeType::Tensor)?.and_then(|a| a.t.as_ref()))
    }

    /// A sparse tensor.
    pub(super) fn sparse_tensor(self, name: &str) -> Result<Option<&'m SparseTensorProto>, Fault> {
        Ok(self.find(name, AttributeType::SparseTensor)?.and_then(|a| a.sparse_tensor.as_ref()))
    }
}

/// Type of an attribute that does not state it, as models older than IR version 3 may.
fn inferred(attribute: &AttributeProto) -> Option<AttributeType> {
    if attribute.f.is_some() {
        Some(AttributeType::Float)
    } else if attribute.i.is_some() {
        Some(AttributeType::Int)
    } else if attribute.s.is_some() {
        Some(AttributeType::String)
    } else if attribute.t.is_some() {
        Some(AttributeType::Tensor)
    } else if !attribute.floats.is_empty() {
        Some(AttributeType::Floats)
    } else if !attribute.ints.is_empty() {
        Some(AttributeType::Ints)
    } else {
        None
    }
}
