//! Models built in place.

use peristyle_compiler::ir::Graph;
use peristyle_compiler::onnx::proto::attribute_proto::AttributeType;
use peristyle_compiler::onnx::proto::tensor_proto::DataType;
use peristyle_compiler::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use peristyle_compiler::onnx::proto::{
    AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use peristyle_compiler::onnx::{self, Error, ImportOptions, ModelProto};

/// A node named after its first output.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: outputs.iter().map(|&s| s.into()).collect(),
        op_type: Some(op.into()),
        attribute,
        ..NodeProto::default()
    }
}

fn attribute(name: &str, ty: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(ty.into()), ..AttributeProto::default() }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, AttributeType::Int) }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f: Some(f), ..attribute(name, AttributeType::Float) }
}

pub fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.into()), ..attribute(name, AttributeType::String) }
}

fn tensor(name: &str, ty: DataType, dims: &[i64]) -> TensorProto {
    TensorProto { name: Some(name.into()), data_type: Some(ty.into()), dims: dims.to_vec(), ..TensorProto::default() }
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto { float_data: values.to_vec(), ..tensor(name, DataType::Float, dims) }
}

/// Ones.
pub fn ones(name: &str, dims: &[i64]) -> TensorProto {
    floats(name, dims, &vec![1.0; dims.iter().product::<i64>() as usize])
}

pub fn longs(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto { int64_data: values.to_vec(), ..tensor(name, DataType::Int64, dims) }
}

/// A tensor of any type from its little-endian bytes.
pub fn raw(name: &str, ty: DataType, dims: &[i64], bytes: &[u8]) -> TensorProto {
    TensorProto { raw_data: Some(bytes.to_vec()), ..tensor(name, ty, dims) }
}

/// A graph input; an extent of 0 is a symbol.
pub fn input(name: &str, ty: DataType, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| Dimension {
        value: Some(match d {
            0 => dimension::Value::DimParam("size".into()),
            d => dimension::Value::DimValue(d),
        }),
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let value = type_proto::Value::TensorType(type_proto::Tensor { elem_type: Some(ty.into()), shape });
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { value: Some(value) }) }
}

/// A model with outputs of unstated type.
pub fn model(
    opset: i64,
    input: Vec<ValueInfoProto>,
    initializer: Vec<TensorProto>,
    node: Vec<NodeProto>,
    outputs: &[&str],
) -> ModelProto {
    let output = outputs.iter().map(|&o| ValueInfoProto { name: Some(o.into()), r#type: None }).collect();
    let domains = [("", opset), ("com.microsoft", 1)];
    let opset_import =
        domains.map(|(domain, v)| OperatorSetIdProto { domain: Some(domain.into()), version: Some(v) }).into();
    let graph = GraphProto { name: Some("net".into()), node, initializer, input, output, ..GraphProto::default() };
    ModelProto { ir_version: Some(8), opset_import, graph: Some(graph), ..ModelProto::default() }
}

/// A model of one node `y` over the feature map `x: f32[1, 4, 6, 6]`.
pub fn one_node(opset: i64, initializer: Vec<TensorProto>, node: NodeProto) -> ModelProto {
    model(opset, vec![input("x", DataType::Float, &[1, 4, 6, 6])], initializer, vec![node], &["y"])
}

pub fn import(model: &ModelProto) -> Result<Graph, Error> {
    onnx::import(model, &ImportOptions::default())
}
