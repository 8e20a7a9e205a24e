//! Activations, residuals and stores in the epilogue.

use crate::graphs::{Build, check, ops};
use peristyle_compiler::ir::{Activation, Binary, DType, Graph, Op, Residual, Store, ValueId};
use peristyle_compiler::plan::{self, Options};

fn only_conv_activation(graph: &Graph) -> Activation {
    assert_eq!(graph.nodes.len(), 1, "{graph}");
    let Op::Conv(conv) = &graph.nodes[0].op else { panic!("a convolution is left") };
    conv.epilogue.activation
}

fn fused(spell: impl Fn(&mut Build, ValueId) -> ValueId) -> Activation {
    let mut b = Build::new(1);
    let x = b.input(DType::F32, [1, 3, 4, 4]);
    let y = b.conv(x, 4, 3, 1);
    let y = spell(&mut b, y);
    only_conv_activation(&check(&b.finish(&[y]), 1e-5).0)
}

#[test]
fn every_activation_fuses() {
    for activation in [
        Activation::Relu,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Silu,
        Activation::Sigmoid,
        Activation::HardSwish,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::Clip { lo: 0.0, hi: 6.0 },
    ] {
        assert_eq!(fused(|b, x| b.activation(activation, x)), activation);
    }
}

#[test]
fn silu_is_recognised_in_either_order() {
    assert_eq!(fused(|b, x| b.spelled_silu(x)), Activation::Silu);
    let swapped = fused(|b, x| {
        let gate = b.activation(Activation::Sigmoid, x);
        b.binary(Binary::Mul, gate, x)
    });
    assert_eq!(swapped, Activation::Silu);
}

#[test]
fn hard_swish_is_recognised_in_all_its_spellings() {
    let gate = |b: &mut Build, x| {
        let three = b.scalar(3.0);
        let shifted = b.binary(Binary::Add, x, three);
        b.activation(Activation::Clip { lo: 0.0, hi: 6.0 }, shifted)
    };
    let product_then_division = fused(|b, x| {
        let clipped = gate(b, x);
        let product = b.binary(Binary::Mul, x, clipped);
        let six = b.scalar(6.0);
        b.binary(Binary::Div, product, six)
    });
    let division_then_product = fused(|b, x| {
        let clipped = gate(b, x);
        let sixth = b.scalar(1.0 / 6.0);
        let divided = b.binary(Binary::Mul, clipped, sixth);
        b.binary(Binary::Mul, x, divided)
    });
    let hard_sigmoid = fused(|b, x| {
        let gate = b.activation(Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, x);
        b.binary(Binary::Mul, gate, x)
    });
    assert_eq!([product_then_division, division_then_product, hard_sigmoid], [Activation::HardSwish; 3]);
}

#[test]
fn maximum_and_minimum_are_a_clip() {
    let clip = fused(|b, x| {
        let (zero, six) = (b.scalar(0.0), b.scalar(6.0));
        let y = b.binary(Binary::Max, x, zero);
        b.binary(Binary::Min, y, six)
    });
    assert_eq!(clip, Activation::Clip { lo: 0.0, hi: 6.0 });
}

#[test]
fn an_activation_of_a_map_that_others_read_stays() {
    let mut b = Build::new(2);
    let x = b.input(DType::F32, [1, 3, 4, 4]);
    let y = b.conv(x, 4, 3, 1);
    let z = b.activation(Activation::Relu, y);
    let (after, _) = check(&b.finish(&[y, z]), 0.0);
    assert_eq!(after.nodes.len(), 2);
}

fn residual_of(graph: &Graph) -> Vec<Option<Residual>> {
    graph
        .nodes
        .iter()
        .filter_map(|n| if let Op::Conv(conv) = &n.op { Some(conv.epilogue.residual) } else { None })
        .collect()
}

#[test]
fn a_yolo_bottleneck_adds_after_the_activation() {
    let mut b = Build::new(3);
    let x = b.input(DType::F32, [1, 4, 4, 4]);
    let first = b.conv(x, 4, 1, 0);
    let first = b.spelled_silu(first);
    let second = b.conv(first, 4, 3, 1);
    let second = b.spelled_silu(second);
    let sum = b.binary(Binary::Add, first, second);
    let (after, _) = check(&b.finish(&[sum]), 1e-4);
    assert_eq!(residual_of(&after), [None, Some(Residual::AfterActivation)]);
    assert_eq!(after.nodes.len(), 2);
}

#[test]
fn a_resnet_block_adds_before_the_activation_to_the_later_convolution() {
    let mut b = Build::new(4);
    let x = b.input(DType::F32, [1, 4, 4, 4]);
    let main = b.conv(x, 4, 3, 1);
    let shortcut = b.conv(x, 4, 1, 0);
    let sum = b.binary(Binary::Add, main, shortcut);
    let y = b.activation(Activation::Relu, sum);
    let (after, _) = check(&b.finish(&[y]), 0.0);
    assert_eq!(residual_of(&after), [None, Some(Residual::BeforeActivation)]);
    assert_eq!(after.nodes.len(), 2);
}

#[test]
fn a_residual_made_later_moves_its_reader() {
    let mut b = Build::new(5);
    let x = b.input(DType::F32, [1, 4, 4, 4]);
    let y = b.conv(x, 4, 3, 1);
    let pooled = b.max_pool(x);
    let sum = b.binary(Binary::Add, y, pooled);
    let (after, _) = check(&b.finish(&[sum]), 0.0);
    assert_eq!(after.nodes.len(), 2);
    assert!(matches!(after.nodes[1].op, Op::Conv(_)));
}

/// A constant has no buffer that an epilogue could read, so its sum stays a layer.
#[test]
fn a_constant_is_no_residual() {
    for constant_first in [false, true] {
        let mut b = Build::new(7);
        let x = b.input(DType::F32, [1, 4, 4, 4]);
        let y = b.conv(x, 4, 3, 1);
        let table = b.random(DType::F32, &[1, 4, 4, 4]);
        let sum = if constant_first { b.binary(Binary::Add, table, y) } else { b.binary(Binary::Add, y, table) };
        let (after, _) = check(&b.finish(&[sum]), 0.0);
        assert_eq!(residual_of(&after), [None]);
        assert_eq!(after.nodes.len(), 2);
        plan::build(&after, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn a_sum_that_is_quantised_twice_and_read_as_float_has_three_stores() {
    let mut b = Build::new(6);
    let x = b.input(DType::U8, [1, 4, 4, 4]);
    let first = b.integer_conv(x, 9, 4, 1, 0);
    let first = b.spelled_silu(first);
    let q = b.quantize(first, 0.02, 10, DType::U8);
    let second = b.integer_conv(q, 10, 4, 3, 1);
    let second = b.spelled_silu(second);
    let sum = b.binary(Binary::Add, second, first);
    let [a, c, d] = [(0.03, 11), (0.04, 12), (0.03, 11)].map(|(s, z)| b.quantize(sum, s, z, DType::U8));
    let [a, c, d] = [(a, 11), (c, 12), (d, 11)].map(|(q, z)| b.integer_conv(q, z, 2, 1, 0));
    let (after, _) = check(&b.finish(&[sum, a, c, d]), 2e-2);
    let Op::Conv(conv) = &after.nodes[1].op else { panic!("the second node is a convolution") };
    let stores = [Store::F32, Store::U8 { scale: 0.03, zero: 11 }, Store::U8 { scale: 0.04, zero: 12 }];
    assert_eq!(conv.epilogue.stores, stores);
    assert!(ops(&after).iter().all(|op| *op == ops(&after)[0]));
    insta::assert_snapshot!(after.to_string());
}
