//! Dead channels.

use crate::graphs::{Build, largest_difference, window};
use peristyle_compiler::ir::{
    Activation, Conv, ConvQuant, DType, Data, Epilogue, Graph, Op, Residual, Store, Tensor, ValueId,
};
use peristyle_compiler::passes::{PASSES, Report};
use proptest::prelude::*;

const STORE: Store = Store::U8 { scale: 0.03, zero: 60 };

/// A quantised convolution with SiLU of a map with zero point 60; windows that `keep` denies are zero.
fn qconv(
    b: &mut Build,
    x: ValueId,
    (outputs, kernel, pad): (usize, usize, usize),
    keep: impl Fn(usize, usize) -> bool,
    bias: f32,
) -> ValueId {
    let channels = b.shape(x)[1];
    let elements = (0..outputs * channels * kernel * kernel)
        .map(|i| {
            let window = i / (kernel * kernel);
            if keep(window / channels, window % channels) { (b.noise.below(254) as i32 - 127) as i8 | 1 } else { 0 }
        })
        .collect();
    let weight = b.constant(Tensor::new([outputs, channels, kernel, kernel], Data::I8(elements)));
    let bias = b.constant(Tensor::f32([outputs], vec![bias; outputs]));
    let acc_bias = (0..outputs).map(|_| b.noise.below(200) as i32 - 100).collect();
    let geometry = window(kernel, 1, pad);
    let shape = b.output_shape(x, outputs, &geometry);
    let quant = ConvQuant { x_zero: 60, scale: vec![0.000_2; outputs], acc_bias };
    let epilogue = Epilogue { activation: Activation::Silu, residual: None, stores: vec![STORE] };
    b.node("qconv", Op::Conv(Conv { geometry, quant: Some(quant), epilogue }), vec![x, weight, bias], DType::U8, &shape)
}

fn without_dead_channels(graph: &Graph) -> (Graph, Report) {
    let pass = PASSES.iter().find(|p| p.name == "dead-channels").expect("there is such a pass");
    let (mut after, mut report) = (graph.clone(), Report::default());
    (pass.rewrite)(&mut after, &mut report).expect("the pass succeeds");
    peristyle_compiler::ir::verify::verify(&after).expect("the graph stays valid");
    (after, report)
}

fn check_exactly(graph: &Graph) -> (Graph, Report) {
    let (after, report) = without_dead_channels(graph);
    assert_eq!(largest_difference(graph, &after), 0.0);
    (after, report)
}

fn conv_shapes(graph: &Graph) -> Vec<Vec<usize>> {
    let convs = graph.nodes.iter().filter(|n| matches!(n.op, Op::Conv(_)));
    convs.map(|n| graph.ty(n.inputs[1]).shape[..2].to_vec()).collect()
}

#[test]
fn a_constant_channel_moves_into_the_accumulator_of_an_unpadded_reader() {
    let mut b = Build::new(1);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let y = qconv(&mut b, x, (5, 3, 1), |o, _| o != 2, 0.7);
    let z = qconv(&mut b, y, (4, 1, 0), |_, _| true, 0.1);
    let (after, report) = check_exactly(&b.finish(&[z]));
    assert_eq!(conv_shapes(&after), [[4, 3], [4, 4]]);
    assert_eq!((report.folded_inputs, report.removed_outputs, report.removed_inputs), (1, 1, 1));
}

#[test]
fn a_constant_channel_that_differs_from_the_padding_stays() {
    let mut b = Build::new(2);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let y = qconv(&mut b, x, (5, 3, 1), |o, _| o != 2, 0.7);
    let z = qconv(&mut b, y, (4, 3, 1), |_, _| true, 0.1);
    let (after, _) = check_exactly(&b.finish(&[z]));
    assert_eq!(conv_shapes(&after), [[5, 3], [4, 5]]);
}

#[test]
fn a_channel_that_always_is_the_zero_point_leaves_padded_readers() {
    let mut b = Build::new(3);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let y = qconv(&mut b, x, (5, 3, 1), |o, _| o != 2, 0.0);
    let z = qconv(&mut b, y, (4, 3, 1), |_, _| true, 0.1);
    let mut graph = b.finish(&[z]);
    let Op::Conv(conv) = &mut graph.nodes[0].op else { panic!("the first node is a convolution") };
    conv.quant.as_mut().expect("it is quantised").acc_bias[2] = 0;
    let (after, _) = check_exactly(&graph);
    assert_eq!(conv_shapes(&after), [[4, 3], [4, 4]]);
}

#[test]
fn a_channel_no_reader_weighs_is_not_computed_through_pools_concats_and_layers() {
    let mut b = Build::new(4);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let first = qconv(&mut b, x, (4, 3, 1), |_, _| true, 0.1);
    let second = qconv(&mut b, first, (4, 3, 1), |o, c| c != 1 || o == 0, 0.1);
    let pooled = b.max_pool(second);
    let joined = b.concat(&[second, pooled]);
    let large = b.resize(joined);
    let z = qconv(&mut b, large, (2, 1, 0), |_, c| c % 4 != 0, 0.1);
    let (after, _) = check_exactly(&b.finish(&[z]));
    assert_eq!(conv_shapes(&after), [[3, 3], [3, 3], [2, 6]]);
}

#[test]
fn a_whole_branch_without_readers_disappears() {
    let mut b = Build::new(5);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let first = qconv(&mut b, x, (4, 3, 1), |_, _| true, 0.1);
    let second = qconv(&mut b, x, (4, 3, 1), |_, _| true, 0.1);
    let joined = b.concat(&[first, second]);
    let z = qconv(&mut b, joined, (2, 1, 0), |_, c| c < 4, 0.1);
    let (after, _) = check_exactly(&b.finish(&[z]));
    assert_eq!(conv_shapes(&after), [[4, 3], [2, 4]]);
}

#[test]
fn a_convolution_of_zeros_only_keeps_one_input_channel() {
    let mut b = Build::new(6);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let first = qconv(&mut b, x, (4, 3, 1), |_, _| true, 0.1);
    let z = qconv(&mut b, first, (2, 3, 1), |_, _| false, 0.1);
    let (after, _) = check_exactly(&b.finish(&[z]));
    assert_eq!(conv_shapes(&after), [[1, 3], [2, 1]]);
}

#[test]
fn float_channels_fold_within_the_rounding_of_a_bias() {
    let mut b = Build::new(7);
    let x = b.input(DType::F32, [1, 3, 4, 4]);
    let y = b.conv(x, 5, 3, 1);
    let y = b.activation(Activation::Relu, y);
    let z = b.conv(y, 4, 1, 0);
    let mut graph = b.finish(&[z]);
    let weight = graph.nodes[0].inputs[1];
    let mut elements = graph.constant(weight).and_then(|t| t.as_f32()).expect("an f32 weight").to_vec();
    elements[27..54].fill(0.0);
    graph.values[weight.index()].constant = Some(Tensor::f32([5, 3, 3, 3], elements).into());
    let (after, _) = without_dead_channels(&graph);
    assert!(largest_difference(&graph, &after) < 1e-4);
    assert_eq!(conv_shapes(&after), [[4, 3], [4, 4]]);
}

#[test]
fn depthwise_convolutions_shrink_with_their_input() {
    let mut b = Build::new(8);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let first = qconv(&mut b, x, (4, 1, 0), |_, _| true, 0.1);
    let depthwise = qconv_depthwise(&mut b, first);
    let z = qconv(&mut b, depthwise, (2, 1, 0), |_, c| c != 3, 0.1);
    let (after, _) = check_exactly(&b.finish(&[z]));
    assert_eq!(conv_shapes(&after), [[3, 3], [3, 1], [2, 3]]);
}

fn qconv_depthwise(b: &mut Build, x: ValueId) -> ValueId {
    let channels = b.shape(x)[1];
    let y = qconv(b, x, (channels, 3, 1), |_, _| true, 0.1);
    let weight = b.random(DType::I8, &[channels, 1, 3, 3]);
    let node = b.graph.nodes.last_mut().expect("just added");
    node.inputs[1] = weight;
    let Op::Conv(conv) = &mut node.op else { unreachable!("just added") };
    conv.geometry.group = channels;
    y
}

/// Adds `other`, dequantised, to the sum of the last convolution.
fn add_residual(b: &mut Build, other: ValueId) {
    let residual = b.dequantize(other, 0.03, 60);
    let dequantize = b.graph.nodes.pop().expect("just added");
    let at = b.graph.nodes.len() - 1;
    b.graph.nodes.insert(at, dequantize);
    let node = b.graph.nodes.last_mut().expect("the convolution");
    node.inputs.push(residual);
    let Op::Conv(conv) = &mut node.op else { unreachable!("the last node is a convolution") };
    conv.epilogue.residual = Some(Residual::AfterActivation);
}

/// A random network of quantised convolutions with many zero windows, pools, concats, slices and residuals.
fn random_network(seed: u32) -> Graph {
    let mut b = Build::new(u64::from(seed) + 1);
    let x = b.input(DType::U8, [1, 3, 5, 4]);
    let mut maps = vec![x];
    for _ in 0..8 {
        let x = maps[b.noise.below(maps.len() as u64) as usize];
        let y = match b.noise.below(8) {
            0 => b.max_pool(x),
            1 => {
                let other = maps[b.noise.below(maps.len() as u64) as usize];
                b.concat(&[x, other])
            }
            2 if b.shape(x)[1] > 2 => {
                let [_, c, h, w] = b.shape(x);
                b.slice(x, [0, 1, 0, 0], [1; 4], [1, c - 1, h, w])
            }
            3 => qconv_depthwise(&mut b, x),
            4 => {
                let outputs = b.shape(x)[1];
                let mask = b.noise.below(1 << 20);
                let y = qconv(&mut b, x, (outputs, 3, 1), sparse(mask), 0.2);
                add_residual(&mut b, x);
                y
            }
            kind => {
                let (outputs, mask) = (2 + b.noise.below(4) as usize, b.noise.below(1 << 20));
                let (kernel, pad) = if kind == 5 { (3, 1) } else { (1, 0) };
                let bias = [0.0, 0.3][b.noise.below(2) as usize];
                qconv(&mut b, x, (outputs, kernel, pad), sparse(mask), bias)
            }
        };
        maps.push(y);
    }
    let last = *maps.last().expect("maps were made");
    let mask = b.noise.below(1 << 20);
    let z = qconv(&mut b, last, (2, 1, 0), sparse(mask), 0.1);
    b.finish(&[z])
}

/// Drops whole rows, whole columns and single windows.
fn sparse(mask: u64) -> impl Fn(usize, usize) -> bool {
    move |o, c| mask >> (o % 5) & 1 == 1 && mask >> (5 + c % 7) & 1 == 1 && mask >> (12 + (o + 3 * c) % 8) & 1 == 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_keep_every_bit(seed in any::<u32>()) {
        check_exactly(&random_network(seed));
    }
}
