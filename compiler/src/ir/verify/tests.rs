//! A sound graph, and each invariant broken once.

use super::*;
use crate::ir::*;

/// `images -> conv (u8 store) -> max pool -> dequantize`.
fn sound() -> Graph {
    let mut g = Graph::default();
    let x = g.add_value("images", Type::new(DType::F32, [1, 2, 6, 6]));
    let w = g.add_constant("w", Tensor::f32([4, 2, 3, 3], vec![1.0; 72]));
    let b = g.add_constant("b", Tensor::f32([4], vec![0.0; 4]));
    let geometry = ConvGeometry { kernel: [3, 3], stride: [2, 2], pad: [1; 4], dilation: [1, 1], group: 1 };
    let epilogue = Epilogue { stores: vec![Store::U8 { scale: 0.5, zero: 3 }], ..Epilogue::default() };
    let conv = Op::Conv(Conv { geometry, quant: None, epilogue });
    let map = |dtype| Type::new(dtype, [1, 4, 3, 3]);
    let y = g.add_node("conv", conv, vec![x, w, b], map(DType::U8));
    let pool = Pool { kernel: [3, 3], stride: [1, 1], pad: [1; 4] };
    let y = g.add_node("pool", Op::MaxPool(pool), vec![y], map(DType::U8));
    let q = Quantization::per_tensor(0.5, 3, DType::U8);
    let y = g.add_node("dequantize", Op::Dequantize(q), vec![y], map(DType::F32));
    g.inputs = vec![x];
    g.outputs = vec![y];
    g
}

/// The error of the sound graph after one change.
fn broken(change: impl FnOnce(&mut Graph)) -> String {
    let mut g = sound();
    change(&mut g);
    verify(&g).expect_err("the change breaks an invariant").to_string()
}

fn conv(g: &mut Graph) -> &mut Conv {
    match &mut g.nodes[0].op {
        Op::Conv(conv) => conv,
        _ => unreachable!("the first node is the convolution"),
    }
}

#[test]
fn a_sound_graph_passes() {
    assert_eq!(verify(&sound()), Ok(()));
    assert_eq!(verify(&Graph::default()), Ok(()));
}

#[test]
fn every_id_exists() {
    let e = broken(|g| g.nodes[1].inputs[0] = ValueId(99));
    assert_eq!(e, "node #1 'pool' (max_pool) refers to %99, which does not exist");
    let e = broken(|g| g.nodes[1].outputs[0] = ValueId(99));
    assert_eq!(e, "node #1 'pool' (max_pool) refers to %99, which does not exist");
    let e = broken(|g| g.inputs.push(ValueId(99)));
    assert_eq!(e, "the graph's inputs refers to %99, which does not exist");
    let e = broken(|g| g.outputs[0] = ValueId(99));
    assert_eq!(e, "the graph's outputs refers to %99, which does not exist");
}

#[test]
fn a_value_has_one_source() {
    let e = broken(|g| g.nodes[1].outputs = g.nodes[0].outputs.clone());
    assert!(e.starts_with("%3 'conv' has two sources: node #0 'conv' (conv) and node #1"), "{e}");
    let e = broken(|g| g.inputs.push(ValueId(1)));
    assert_eq!(e, "%1 'w' has two sources: a constant and the graph's inputs");
    let e = broken(|g| g.inputs.clear());
    assert_eq!(e, "node #0 'conv' (conv) reads %0 'images', which nothing before it produces");
    let e = broken(|g| g.outputs[0] = g.add_value("loose", Type::new(DType::F32, [1])));
    assert_eq!(e, "the graph's outputs reads %6 'loose', which nothing before it produces");
}

#[test]
fn nodes_are_in_topological_order() {
    let e = broken(|g| g.nodes.swap(1, 2));
    assert_eq!(e, "node #1 'dequantize' (dequantize) reads %4 'pool', which nothing before it produces");
}

#[test]
fn types_are_those_of_the_operator() {
    let e = broken(|g| g.values[4].ty.shape = vec![1, 4, 3, 2]);
    assert_eq!(e, "node #1 'pool' (max_pool): output 0 is declared u8[1x4x3x2], the operator makes u8[1x4x3x3]");
    let e = broken(|g| g.nodes[0].inputs.truncate(2));
    assert_eq!(e, "node #0 'conv' (conv): has 2 inputs, the operator takes 3");
    let e = broken(|g| conv(g).geometry.group = 3);
    assert_eq!(e, "node #0 'conv' (conv): 3 groups do not divide 2 input and 4 output channels");
    let e = broken(|g| conv(g).epilogue.stores.clear());
    assert_eq!(e, "node #0 'conv' (conv): the epilogue stores nothing");
    let e = broken(|g| conv(g).epilogue.residual = Some(Residual::AfterActivation));
    assert_eq!(e, "node #0 'conv' (conv): has 3 inputs, the operator takes 4");
    let e = broken(|g| g.nodes[1].op = Op::AveragePool { pool: pool(2, 0), count_include_pad: false });
    assert_eq!(e, "node #1 'pool' (max_pool): the input is u8[1x4x3x3], expected f32".replace("max", "average"));
}

#[test]
fn a_constant_has_the_type_of_its_value() {
    let e = broken(|g| g.values[2].ty.dtype = DType::I32);
    assert_eq!(e, "constant %2 'b' is declared i32[4] but holds 4 elements of f32[4]");
    let e = broken(|g| g.values[0].ty.shape = vec![1, usize::MAX, 2]);
    assert!(e.starts_with("%0 'images' has more elements than can be addressed"), "{e}");
}

#[test]
fn the_batch_is_one() {
    let e = broken(|g| g.values[0].ty.shape[0] = 2);
    assert_eq!(e, "graph input %0 'images' is f32[2x2x6x6]; its first axis must have extent 1");
}

#[test]
fn weights_are_constants() {
    let e = broken(|g| {
        let w = g.add_value("computed", Type::new(DType::F32, [1, 2, 3, 3]));
        let w4 = g.add_value("computed", Type::new(DType::F32, [4, 2, 3, 3]));
        g.inputs.push(w);
        let joined = Node { name: "join".into(), op: Op::Concat { axis: 0 }, inputs: vec![w; 4], outputs: vec![w4] };
        g.nodes.insert(0, joined);
        g.nodes[1].inputs[1] = w4;
    });
    assert_eq!(e, "node #1 'conv' (conv): input 1 (%7) must be a constant");
}

#[test]
fn scales_are_positive_and_zero_points_fit() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let e = broken(|g| conv(g).epilogue.stores[0] = Store::U8 { scale, zero: 0 });
        assert_eq!(e, format!("node #0 'conv' (conv): scale {scale} (channel 0) is not a finite positive number"));
    }
    let q = Quantization::per_tensor(0.5, 256, DType::U8);
    let e = broken(|g| g.nodes[2].op = Op::Dequantize(q));
    assert_eq!(e, "node #2 'dequantize' (dequantize): zero point 256 does not fit u8");
}

fn pool(kernel: usize, pad: usize) -> Pool {
    Pool { kernel: [kernel; 2], stride: [1, 1], pad: [pad; 4] }
}

fn f32s(shape: &[usize]) -> Type {
    Type::new(DType::F32, shape)
}

#[test]
fn shapes_follow_from_the_operator() {
    let one = |op: Op, inputs: &[Type]| {
        let inputs: Vec<&Type> = inputs.iter().collect();
        infer(&op, &inputs).map(|t| t[0].shape.clone())
    };
    let pair = |a: &[usize], b: &[usize]| [f32s(a), f32s(b)];
    assert_eq!(one(Op::Binary(Binary::Add), &pair(&[1, 3, 1], &[2, 1, 4])), Ok(vec![2, 3, 4]));
    assert_eq!(one(Op::Binary(Binary::Add), &pair(&[], &[2])), Ok(vec![2]));
    assert!(one(Op::Binary(Binary::Add), &pair(&[3], &[2])).is_err());
    assert_eq!(one(Op::MatMul, &pair(&[5, 1, 2, 3], &[4, 3, 7])), Ok(vec![5, 4, 2, 7]));
    assert!(one(Op::MatMul, &pair(&[2, 3], &[2, 3])).is_err());
    assert_eq!(one(Op::Concat { axis: 1 }, &pair(&[1, 2, 3], &[1, 5, 3])), Ok(vec![1, 7, 3]));
    assert!(one(Op::Concat { axis: 1 }, &pair(&[1, 2, 3], &[1, 5, 4])).is_err());
    assert_eq!(one(Op::Transpose { perm: vec![2, 0, 1] }, &[f32s(&[4, 5, 6])]), Ok(vec![6, 4, 5]));
    assert!(one(Op::Transpose { perm: vec![0, 0, 1] }, &[f32s(&[4, 5, 6])]).is_err());
    assert_eq!(one(Op::ResizeNearest { scale: [2, 3] }, &[f32s(&[1, 2, 4, 5])]), Ok(vec![1, 2, 8, 15]));
    assert!(one(Op::ResizeNearest { scale: [0, 1] }, &[f32s(&[1, 2, 4, 5])]).is_err());
    assert!(one(Op::MaxPool(pool(2, 2)), &[f32s(&[1, 2, 4, 5])]).is_err());
    assert!(one(Op::MaxPool(pool(7, 0)), &[f32s(&[1, 2, 4, 5])]).is_err());
    let levels = vec![DetectLevel { stride: 8.0, anchors: vec![[1.0, 1.0]; 3] }];
    let head = DetectHead { outputs: 6, levels };
    assert_eq!(one(Op::DetectHead(head.clone()), &[f32s(&[1, 18, 4, 5])]), Ok(vec![1, 60, 6]));
    assert!(one(Op::DetectHead(head), &[f32s(&[1, 17, 4, 5])]).is_err());
}

#[test]
fn a_slice_stays_inside_its_input() {
    let slice = |start, step, extent| {
        let op = Op::Slice { starts: vec![0, start], steps: vec![1, step] };
        check(&op, &[&f32s(&[2, 10])], &[&f32s(&[2, extent])])
    };
    assert_eq!(slice(1, 3, 3), Ok(()));
    assert_eq!(slice(0, 2, 0), Ok(()));
    assert!(slice(2, 4, 3).is_err());
    assert!(slice(0, 0, 1).is_err());
    assert!(slice(usize::MAX, usize::MAX, 2).is_err());
    assert!(check(&Op::Reshape, &[&f32s(&[2, 6])], &[&f32s(&[3, 4])]).is_ok());
    assert!(check(&Op::Reshape, &[&f32s(&[2, 6])], &[&f32s(&[3, 5])]).is_err());
}
