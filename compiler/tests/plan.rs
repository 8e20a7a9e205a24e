//! Graphs that cannot be planned: errors name every node at fault and say what to do. And what steps need of the step before.

use peristyle_compiler::ir::{
    Activation, Conv, ConvGeometry, DType, Epilogue, Graph, Op, Residual, Tensor, Type, ValueId,
};
use peristyle_compiler::plan::{self, Columns, Options, PlanErrors};
use peristyle_runtime::engine::Needs;

fn input(graph: &mut Graph, shape: [usize; 4]) -> ValueId {
    let x = graph.add_value("x", Type::new(DType::F32, shape));
    graph.inputs.push(x);
    x
}

/// A 1x1 convolution of a map of one channel.
fn conv(graph: &mut Graph, name: &str, x: ValueId, outputs: usize, stride: usize) -> ValueId {
    let weight = graph.add_constant("w", Tensor::f32([outputs, 1, 1, 1], vec![1.0; outputs]));
    let bias = graph.add_constant("b", Tensor::f32([outputs], vec![0.0; outputs]));
    let shape = &graph.ty(x).shape;
    let ty = Type::new(DType::F32, [1, outputs, shape[2].div_ceil(stride), shape[3].div_ceil(stride)]);
    let geometry = ConvGeometry { kernel: [1, 1], stride: [stride, stride], pad: [0; 4], dilation: [1, 1], group: 1 };
    let op = Op::Conv(Conv { geometry, quant: None, epilogue: Epilogue::default() });
    graph.add_node(name, op, vec![x, weight, bias], ty)
}

fn refused(graph: &Graph) -> PlanErrors {
    peristyle_compiler::ir::verify::verify(graph).expect("a valid graph");
    plan::build(graph, &Options::default()).map(drop).expect_err("the graph cannot be planned")
}

#[test]
fn maps_over_two_gigabytes_are_refused() {
    let mut graph = Graph::default();
    let x = input(&mut graph, [1, 1, 8192, 8192]);
    let wide = conv(&mut graph, "wide", x, 16, 1);
    let y = conv(&mut graph, "narrow", x, 1, 2);
    graph.outputs.extend([wide, y]);
    let errors = refused(&graph).to_string();
    assert_eq!(
        errors,
        "node `wide`: its feature map f32[1x16x8192x8192] takes 4.0 GiB in memory with its padding, and 2 GiB is the \
         most that kernels can address: compile the model for a smaller input (--imgsz)"
    );
}

#[test]
fn an_input_over_two_gigabytes_is_refused() {
    let mut graph = Graph::default();
    let x = input(&mut graph, [1, 1, 1 << 15, 1 << 15]);
    let y = conv(&mut graph, "down", x, 1, 2);
    graph.outputs.push(y);
    let errors = refused(&graph).to_string();
    assert!(errors.starts_with("node `x`: its feature map f32[1x1x32768x32768] takes 4.0 GiB"), "{errors}");
}

/// Epilogues read maps only; a graph that did not go through the passes may say otherwise.
#[test]
fn a_constant_residual_is_refused() {
    let mut graph = Graph::default();
    let x = input(&mut graph, [1, 1, 4, 4]);
    let y = conv(&mut graph, "sum", x, 2, 1);
    let table = graph.add_constant("table", Tensor::f32([1, 2, 4, 4], vec![1.0; 32]));
    let node = &mut graph.nodes[0];
    node.inputs.push(table);
    let Op::Conv(conv) = &mut node.op else { unreachable!("a convolution was added") };
    conv.epilogue.residual = Some(Residual::AfterActivation);
    graph.outputs.push(y);
    assert_eq!(
        refused(&graph).to_string(),
        "node `sum` (Conv): its residual is a constant; add it in a node of its own"
    );
}

#[test]
fn all_faults_are_reported_at_once() {
    let mut graph = Graph::default();
    let x = input(&mut graph, [1, 1, 4, 4]);
    let many = conv(&mut graph, "many", x, 65_536, 1);
    let whole = graph.add_node("cast", Op::Cast(DType::I64), vec![x], Type::new(DType::I64, [1, 1, 4, 4]));
    let joined = graph.add_node("join", Op::Concat { axis: 2 }, vec![x, x], Type::new(DType::F32, [1, 1, 8, 4]));
    let last =
        graph.add_node("fine", Op::Activation(Activation::Relu), vec![joined], Type::new(DType::F32, [1, 1, 8, 4]));
    graph.outputs.extend([many, whole, last]);
    let errors = refused(&graph);
    let text = errors.to_string();
    assert!(text.starts_with(&format!("{} parts of the model cannot be compiled:\n", errors.0.len())), "{text}");
    for fault in [
        "node `many` (Conv): it has 65536 output channels, at most 65535 are supported: split it into several",
        "value `cast` is i64;",
        "node `cast` (Cast): no pass could fold it",
        "node `join` (Concat): joining along an axis other than the channels",
    ] {
        assert_eq!(text.matches(fault).count(), 1, "{fault}: {text}");
    }
    assert_eq!(errors.0.len(), 4, "{text}");
}

#[test]
fn steps_need_what_they_read_of_the_step_before() {
    let mut graph = Graph::default();
    let x = input(&mut graph, [1, 1, 16, 16]);
    let first = conv(&mut graph, "first", x, 1, 1);
    let same = conv(&mut graph, "same", first, 1, 1);
    let down = conv(&mut graph, "down", same, 1, 2);
    let beside = conv(&mut graph, "beside", first, 1, 1);
    let window = conv(&mut graph, "window", beside, 1, 1);
    let Op::Conv(windowed) = &mut graph.nodes[4].op else { unreachable!("a convolution was added") };
    windowed.geometry = ConvGeometry { kernel: [3, 3], pad: [2; 4], dilation: [2, 2], ..windowed.geometry };
    let taps = graph.add_constant("taps", Tensor::f32([1, 1, 3, 3], vec![1.0; 9]));
    graph.nodes[4].inputs[1] = taps;
    let last = graph.add_node("relu", Op::Activation(Activation::Relu), vec![window], graph.ty(window).clone());
    graph.outputs.extend([down, last]);
    peristyle_compiler::ir::verify::verify(&graph).expect("a valid graph");
    let needs = |columns: Columns| {
        let plan = plan::build(&graph, &Options { columns, ..Options::default() }).expect("a plan");
        let named = plan.schedule.iter().map(|step| (plan.layers[step.layer as usize].name.to_string(), step.needs));
        named.filter(|(name, _)| graph.nodes.iter().any(|node| node.name == *name)).collect::<Vec<_>>()
    };
    let window = |stride, reach| Needs::Window { stride, reach };
    let expected = [
        ("first", Needs::All),
        ("same", window(1, [0; 4])),
        ("down", window(2, [0; 4])),
        ("beside", Needs::Nothing),
        ("window", window(1, [2; 4])),
        ("relu", Needs::All),
    ];
    // Then the outputs are copied out.
    let found = needs(Columns::Off);
    assert_eq!(found[..6].iter().map(|(name, needs)| (name.as_str(), *needs)).collect::<Vec<_>>(), expected);
    assert!(needs(Columns::Rows(4)).iter().filter(|(name, _)| name == "same").all(|step| step.1 == Needs::All));
}
