use super::build::*;
use peristyle_compiler::ir::{Activation, DType, Graph, Op, Quantization, Tensor, Type};
use peristyle_compiler::onnx::proto::tensor_proto::DataType;
use peristyle_compiler::onnx::proto::{AttributeProto, ModelProto, TensorProto};

/// Imports what must import, and checks it.
fn imported(model: &ModelProto) -> Graph {
    let graph = import(model).unwrap_or_else(|e| panic!("{e}"));
    peristyle_compiler::ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e}"));
    graph
}

/// The operators and the type of the first output of a model of one node.
fn ops(
    opset: i64,
    initializers: Vec<TensorProto>,
    op: &str,
    inputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> (Vec<Op>, Type) {
    let graph = imported(&one_node(opset, initializers, node(op, inputs, &["y"], attributes)));
    (graph.nodes.iter().map(|n| n.op.clone()).collect(), graph.ty(graph.outputs[0]).clone())
}

fn f32_type(shape: &[usize]) -> Type {
    Type::new(DType::F32, shape)
}

fn constant(graph: &Graph, node: usize, input: usize) -> &Tensor {
    graph.constant(graph.nodes[node].inputs[input]).expect("a constant input")
}

/// Same-padding resolves to explicit pads, on the side that it names.
#[test]
fn convolution_auto_pad() {
    for (auto_pad, expected) in [("SAME_UPPER", [0, 0, 1, 1]), ("SAME_LOWER", [1, 1, 0, 0]), ("VALID", [0; 4])] {
        let attributes = vec![string("auto_pad", auto_pad), ints("strides", &[2, 2])];
        let (ops, ty) = ops(13, vec![ones("w", &[2, 4, 3, 3])], "Conv", &["x", "w"], attributes);
        let [Op::Conv(conv)] = &ops[..] else { panic!("{ops:?}") };
        assert_eq!(conv.geometry.pad, expected, "{auto_pad}");
        let extent = if auto_pad == "VALID" { 2 } else { 3 };
        assert_eq!(ty, f32_type(&[1, 2, extent, extent]));
    }
}

/// A convolution without a bias gets zeros.
#[test]
fn convolution_bias_is_always_there() {
    let graph = imported(&one_node(13, vec![ones("w", &[2, 4, 3, 3])], node("Conv", &["x", "w"], &["y"], vec![])));
    assert_eq!(constant(&graph, 0, 2), &Tensor::f32([2], vec![0.0; 2]));
}

/// `ceil_mode` becomes padding at the bottom and right.
#[test]
fn pool_ceil_mode_becomes_padding() {
    let attributes = vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
    let (ops, ty) = ops(13, vec![], "MaxPool", &["x"], attributes);
    let [Op::MaxPool(pool)] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!((pool.pad, ty), ([0, 0, 1, 1], f32_type(&[1, 4, 3, 3])));
}

/// Padding is merged into the window behind it.
#[test]
fn padding_joins_the_window() {
    let pads = || longs("p", &[8], &[0, 0, 1, 2, 0, 0, 3, 4]);
    let nodes = vec![
        node("Pad", &["x", "p"], &["a"], vec![]),
        node("Conv", &["a", "w"], &["y"], vec![ints("pads", &[1, 1, 1, 1])]),
    ];
    let x = vec![input("x", DataType::Float, &[1, 4, 6, 6])];
    let graph = imported(&model(13, x, vec![pads(), ones("w", &[2, 4, 3, 3])], nodes, &["y"]));
    let [Op::Conv(conv)] = &graph.nodes.iter().map(|n| n.op.clone()).collect::<Vec<_>>()[..] else {
        panic!("{graph:?}")
    };
    assert_eq!(conv.geometry.pad, [2, 3, 4, 5]);
    assert_eq!(graph.ty(graph.outputs[0]), &f32_type(&[1, 2, 10, 12]));
}

#[test]
fn activations() {
    let relu6 = Activation::Clip { lo: 0.0, hi: 6.0 };
    let bounds = || vec![floats("lo", &[], &[0.0]), floats("hi", &[], &[6.0])];
    type Case<'a> = (i64, Vec<TensorProto>, &'a str, &'a [&'a str], Vec<AttributeProto>, Activation);
    let cases: Vec<Case> = vec![
        (10, vec![], "Clip", &["x"], vec![float("min", 0.0), float("max", 6.0)], relu6),
        (13, bounds(), "Clip", &["x", "lo", "hi"], vec![], relu6),
        (13, bounds(), "Clip", &["x", "lo"], vec![], Activation::Clip { lo: 0.0, hi: f32::MAX }),
        (13, vec![], "LeakyRelu", &["x"], vec![], Activation::LeakyRelu { alpha: 0.01 }),
        (
            13,
            vec![floats("s", &[4, 1, 1], &[0.5; 4])],
            "PRelu",
            &["x", "s"],
            vec![],
            Activation::LeakyRelu { alpha: 0.5 },
        ),
        (14, vec![], "HardSwish", &["x"], vec![], Activation::HardSwish),
        (13, vec![], "HardSigmoid", &["x"], vec![], Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }),
    ];
    for (opset, initializers, op, inputs, attributes, expected) in cases {
        assert_eq!(ops(opset, initializers, op, inputs, attributes).0, [Op::Activation(expected)], "{op}");
    }
}

/// Means over height and width are global pools, whatever they are called.
#[test]
fn reductions_become_pools() {
    let (mean, ty) = ops(13, vec![], "ReduceMean", &["x"], vec![ints("axes", &[2, -1])]);
    assert_eq!((mean, ty), (vec![Op::GlobalAveragePool], f32_type(&[1, 4, 1, 1])));
    let (mean, ty) = ops(18, vec![longs("a", &[2], &[2, 3])], "ReduceMean", &["x", "a"], vec![int("keepdims", 0)]);
    assert_eq!((mean, ty), (vec![Op::GlobalAveragePool, Op::Reshape], f32_type(&[1, 4])));
}

/// A matrix product of one row is a 1x1 convolution with the weight transposed to output channels first.
#[test]
fn row_products_become_convolutions() {
    let x = vec![input("x", DataType::Float, &[1, 3])];
    let weight = floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let bias = floats("b", &[2], &[1.0, 2.0]);
    let gemm = node("Gemm", &["x", "w", "b"], &["y"], vec![float("beta", 2.0)]);
    let graph = imported(&model(13, x, vec![weight, bias], vec![gemm], &["y"]));
    let kinds: Vec<_> = graph.nodes.iter().map(|n| std::mem::discriminant(&n.op)).collect();
    assert_eq!(kinds[0], std::mem::discriminant(&Op::Reshape));
    assert!(matches!(graph.nodes[1].op, Op::Conv(_)) && graph.nodes.len() == 3);
    assert_eq!(constant(&graph, 1, 1), &Tensor::f32([2, 3, 1, 1], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0]));
    assert_eq!(constant(&graph, 1, 2), &Tensor::f32([2], vec![2.0, 4.0]));
    assert_eq!(graph.ty(graph.outputs[0]), &f32_type(&[1, 2]));
}

/// Before operator set 13, softmax sees everything from its axis on as one.
#[test]
fn softmax_axis_by_operator_set() {
    assert_eq!(ops(13, vec![], "Softmax", &["x"], vec![int("axis", 1)]).0, [Op::Softmax { axis: 1 }]);
    assert_eq!(ops(13, vec![], "Softmax", &["x"], vec![]).0, [Op::Softmax { axis: 3 }]);
    let flattened = [Op::Reshape, Op::Softmax { axis: 1 }, Op::Reshape];
    assert_eq!(ops(11, vec![], "Softmax", &["x"], vec![]).0, flattened);
    assert_eq!(ops(11, vec![], "Softmax", &["x"], vec![int("axis", 3)]).0, [Op::Softmax { axis: 3 }]);
}

/// Every form of doubling that exporters write.
#[test]
fn enlargement_by_whole_factors() {
    let scales = || floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let sizes = || longs("n", &[4], &[1, 4, 12, 12]);
    let floor = || vec![string("coordinate_transformation_mode", "asymmetric"), string("nearest_mode", "floor")];
    for (opset, op, inputs, attributes) in [
        (9, "Upsample", &["x", "s"][..], vec![]),
        (10, "Resize", &["x", "s"], vec![]),
        (11, "Resize", &["x", "", "s"], floor()),
        (13, "Resize", &["x", "", "s"], vec![]),
        (13, "Resize", &["x", "", "", "n"], floor()),
        (18, "Resize", &["x", "", "", "n"], vec![string("coordinate_transformation_mode", "pytorch_half_pixel")]),
    ] {
        let (ops, ty) = ops(opset, vec![scales(), sizes()], op, inputs, attributes);
        assert_eq!((ops, ty), (vec![Op::ResizeNearest { scale: [2, 2] }], f32_type(&[1, 4, 12, 12])), "{op} {opset}");
    }
}

/// A quantised weight stays a dequantised constant; a quantised bias becomes floats.
#[test]
fn quantised_weights_stay_quantised() {
    let initializers = vec![
        raw("w", DataType::Int8, &[2, 4, 1, 1], &[1, 2, 3, 4, 255, 254, 253, 252]),
        floats("s", &[2], &[0.5, 0.25]),
        raw("z", DataType::Int8, &[2], &[0, 0]),
        raw("b", DataType::Int32, &[2], &[4, 0, 0, 0, 255, 255, 255, 255]),
    ];
    let nodes = vec![
        node("DequantizeLinear", &["w", "s", "z"], &["wf"], vec![int("axis", 0)]),
        node("DequantizeLinear", &["b", "s"], &["bf"], vec![int("axis", 0)]),
        node("Conv", &["x", "wf", "bf"], &["y"], vec![]),
    ];
    let x = vec![input("x", DataType::Float, &[1, 4, 6, 6])];
    let graph = imported(&model(13, x, initializers, nodes, &["y"]));
    let expected = Quantization { scale: vec![0.5, 0.25], zero: vec![0, 0], axis: 0, dtype: DType::I8 };
    assert_eq!(graph.nodes[0].op, Op::Dequantize(expected));
    assert_eq!(constant(&graph, 1, 2), &Tensor::f32([2], vec![2.0, -0.25]));
}

/// Shapes and what is computed from them leave no trace.
#[test]
fn shape_arithmetic_is_evaluated() {
    let nodes = vec![
        node("Shape", &["x"], &["shape"], vec![]),
        node("Gather", &["shape", "zero"], &["batch"], vec![]),
        node("Unsqueeze", &["batch"], &["lead"], vec![ints("axes", &[0])]),
        node("Concat", &["lead", "rest"], &["target"], vec![int("axis", 0)]),
        node("Reshape", &["x", "target"], &["y"], vec![]),
    ];
    let initializers = vec![longs("zero", &[], &[0]), longs("rest", &[1], &[-1])];
    let x = vec![input("x", DataType::Float, &[0, 4, 6, 6])];
    let graph = imported(&model(11, x, initializers, nodes, &["y"]));
    assert_eq!(graph.nodes.iter().map(|n| &n.op).collect::<Vec<_>>(), [&Op::Reshape]);
    assert_eq!(graph.ty(graph.outputs[0]), &f32_type(&[1, 144]));
    assert_eq!(graph.values.len(), 2, "folded constants are gone");
}

/// A static batch is taken out of shapes that bake it in.
#[test]
fn static_batch_becomes_one() {
    for target in [&[8, 2, 2, 36][..], &[8, -1], &[-1, 144], &[0, -1, 6], &[16, 2, 36]] {
        let x = vec![input("x", DataType::Float, &[8, 4, 6, 6])];
        let shape = longs("s", &[target.len() as i64], target);
        let graph = imported(&model(13, x, vec![shape], vec![node("Reshape", &["x", "s"], &["y"], vec![])], &["y"]));
        let ty = graph.ty(graph.outputs[0]);
        assert_eq!(ty.len(), 144);
        assert_eq!(ty.shape[0], if target[0] == 16 { 2 } else { 1 }, "{target:?}: {ty}");
    }
}

/// Nodes may come in any order, unread nodes are not looked at, and a stored default is not an input.
#[test]
fn order_and_liveness() {
    let nodes = vec![
        node("Relu", &["a"], &["y"], vec![]),
        node("TopK", &["x"], &["unread"], vec![]),
        node("Mul", &["x", "w"], &["a"], vec![]),
    ];
    let inputs = vec![input("x", DataType::Float, &[1, 4, 6, 6]), input("w", DataType::Float, &[1])];
    let graph = imported(&model(13, inputs, vec![ones("w", &[1])], nodes, &["y"]));
    assert_eq!((graph.nodes.len(), graph.inputs.len()), (2, 1));
}

/// An output is always a value of its own, made by a node.
#[test]
fn outputs_are_results() {
    let nodes = vec![
        node("Relu", &["x"], &["a"], vec![]),
        node("Identity", &["a"], &["b"], vec![]),
        node("Identity", &["x"], &["c"], vec![]),
        node("Identity", &["w"], &["d"], vec![]),
    ];
    let x = vec![input("x", DataType::Float, &[1, 4])];
    let graph = imported(&model(13, x, vec![ones("w", &[3])], nodes, &["a", "b", "c", "d"]));
    let names: Vec<_> = graph.outputs.iter().map(|&o| graph.value(o).name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let mut made: Vec<_> = graph.nodes.iter().flat_map(|n| n.outputs.clone()).collect();
    made.sort();
    assert!(graph.outputs.iter().all(|o| made.contains(o)));
}
