//! Quantised convolutions and the motion of quantisation.

use crate::graphs::{Build, check, ops, window};
use peristyle_compiler::ir::{Binary, DType, Data, Graph, Op, Quantization, Tensor};
use peristyle_compiler::passes;

/// Quantised steps of the results that two orders of rounding may move by one.
const ONE_STEP: f32 = 1.0;

fn quantised_convs(graph: &Graph) -> usize {
    graph.nodes.iter().filter(|n| matches!(&n.op, Op::Conv(conv) if conv.quant.is_some())).count()
}

#[test]
fn conv_integer_chains_fold_without_changing_a_bit() {
    let mut b = Build::new(1);
    let x = b.input(DType::F32, [1, 3, 6, 6]);
    let q = b.quantize(x, 0.02, 117, DType::U8);
    let y = b.integer_conv(q, 117, 4, 3, 1);
    let q = b.quantize(y, 0.05, 120, DType::U8);
    let z = b.integer_conv(q, 120, 5, 1, 0);
    let (after, report) = check(&b.finish(&[z]), 0.0);
    assert_eq!(report.quantized_convs, 2);
    assert_eq!(ops(&after).len(), 3);
    insta::assert_snapshot!(after.to_string());
}

#[test]
fn a_byte_input_feeds_the_first_integer_convolution_directly() {
    let mut b = Build::new(2);
    let x = b.input(DType::U8, [1, 3, 6, 6]);
    let y = b.integer_conv(x, 0, 4, 3, 1);
    let (after, _) = check(&b.finish(&[y]), 0.0);
    assert_eq!(ops(&after).len(), 1);
}

#[test]
fn weights_that_leave_i8_fall_back_to_float() {
    let mut b = Build::new(3);
    let x = b.input(DType::U8, [1, 2, 4, 4]);
    let weight = b.random(DType::U8, &[3, 2, 1, 1]);
    let acc = b.conv_integer(x, weight, (7, 10), window(1, 1, 0));
    let shape = b.shape(acc);
    let y = b.node("cast", Op::Cast(DType::F32), vec![acc], DType::F32, &shape);
    let (after, report) = check(&b.finish(&[y]), 0.0);
    assert_eq!(report.quantized_convs, 0);
    assert_eq!(quantised_convs(&after), 0);
    assert_eq!(ops(&after).len(), 2);
}

#[test]
fn an_integer_result_that_is_not_converted_is_refused() {
    let mut b = Build::new(4);
    let x = b.input(DType::U8, [1, 2, 4, 4]);
    let weight = b.random(DType::I8, &[3, 2, 1, 1]);
    let acc = b.conv_integer(x, weight, (7, 0), window(1, 1, 0));
    let mut graph = b.finish(&[acc]);
    let error = passes::run(&mut graph).unwrap_err();
    assert!(error.to_string().contains("conv_integer_0"), "{error}");
}

#[test]
fn dequantised_operands_fold_into_a_quantised_convolution() {
    let mut b = Build::new(5);
    let x = b.input(DType::F32, [1, 3, 6, 6]);
    let y = b.qdq_conv(x, 4, 3, 1);
    let (after, report) = check(&b.finish(&[y]), 1e-4);
    assert_eq!(report.quantized_convs, 1);
    assert_eq!(ops(&after).len(), 2);
}

#[test]
fn weight_scales_may_differ_by_output_channel() {
    let mut b = Build::new(6);
    let x = b.input(DType::F32, [1, 3, 6, 6]);
    let q = b.quantize(x, 0.03, 100, DType::U8);
    let x = b.dequantize(q, 0.03, 100);
    let weight = b.random(DType::I8, &[4, 3, 3, 3]);
    let per_output = Quantization { scale: vec![0.01, 0.02, 0.005, 0.1], zero: vec![0; 4], axis: 0, dtype: DType::I8 };
    let weight = b.node("dequantize", Op::Dequantize(per_output), vec![weight], DType::F32, &[4, 3, 3, 3]);
    let bias = b.random(DType::F32, &[4]);
    let y = b.conv_of(x, weight, bias, window(3, 1, 1));
    let (after, _) = check(&b.finish(&[y]), 1e-3);
    let Op::Conv(conv) = &after.nodes[1].op else { panic!("a convolution is left") };
    let scales = &conv.quant.as_ref().expect("it is quantised").scale;
    assert_eq!(scales, &[0.03 * 0.01, 0.03 * 0.02, 0.03 * 0.005, 0.03 * 0.1f32]);
}

#[test]
fn asymmetric_weights_stay_float() {
    let mut b = Build::new(7);
    let x = b.input(DType::F32, [1, 3, 6, 6]);
    let q = b.quantize(x, 0.03, 100, DType::U8);
    let x = b.dequantize(q, 0.03, 100);
    let weight = b.random(DType::U8, &[4, 3, 1, 1]);
    let weight = b.dequantize(weight, 0.01, 3);
    let bias = b.random(DType::F32, &[4]);
    let y = b.conv_of(x, weight, bias, window(1, 1, 0));
    let (after, report) = check(&b.finish(&[y]), 0.0);
    assert_eq!(report.quantized_convs, 0);
    assert_eq!(ops(&after).len(), 3);
}

#[test]
fn signed_activations_become_unsigned_through_pools_and_concats() {
    let mut b = Build::new(8);
    let x = b.input(DType::F32, [1, 3, 6, 6]);
    let q = b.quantize(x, 0.03, -28, DType::I8);
    let pooled = b.max_pool(q);
    let both = b.concat(&[q, pooled]);
    let x = b.dequantize(both, 0.03, -28);
    let weight = b.random(DType::I8, &[4, 6, 3, 3]);
    let weight = b.dequantize(weight, 0.01, 0);
    let bias = b.random(DType::F32, &[4]);
    let y = b.conv_of(x, weight, bias, window(3, 1, 1));
    let (after, report) = check(&b.finish(&[y]), 1e-4);
    assert_eq!(report.quantized_convs, 1);
    assert!(after.nodes.iter().all(|n| after.ty(n.outputs[0]).dtype != DType::I8));
}

#[test]
fn quantisation_moves_up_to_the_producers() {
    let mut b = Build::new(9);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let a = b.integer_conv(x, 3, 4, 3, 1);
    let c = b.integer_conv(x, 3, 4, 1, 0);
    let p = b.max_pool(a);
    let joined = b.concat(&[a, p, c]);
    let large = b.resize(joined);
    let q = b.quantize(large, 0.05, 120, DType::U8);
    let r = b.quantize(large, 0.06, 110, DType::U8);
    let y = b.integer_conv(q, 120, 2, 1, 0);
    let z = b.integer_conv(r, 110, 2, 1, 0);
    let (after, _) = check(&b.finish(&[y, z]), 0.0);
    assert!(!ops(&after).iter().any(|op| op.contains("uantize")), "{after}");
    insta::assert_snapshot!(after.to_string());
}

#[test]
fn dequantise_and_quantise_with_equal_parameters_cancel_around_a_pool() {
    let mut b = Build::new(10);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let y = b.dequantize(x, 0.03, 7);
    let y = b.max_pool(y);
    let y = b.quantize(y, 0.03, 7, DType::U8);
    let (after, _) = check(&b.finish(&[y]), 0.0);
    assert_eq!(ops(&after), ["max_pool"]);
}

#[test]
fn a_concat_of_equally_quantised_maps_reaches_the_convolution_as_bytes() {
    let mut b = Build::new(11);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let y = b.input(DType::U8, [1, 2, 4, 4]);
    let x = b.dequantize(x, 0.03, 7);
    let y = b.dequantize(y, 0.03, 7);
    let joined = b.concat(&[x, y]);
    let weight = b.random(DType::I8, &[4, 5, 1, 1]);
    let weight = b.dequantize(weight, 0.01, 0);
    let bias = b.random(DType::F32, &[4]);
    let y = b.conv_of(joined, weight, bias, window(1, 1, 0));
    let (after, _) = check(&b.finish(&[y]), 1e-4);
    assert_eq!((ops(&after).len(), quantised_convs(&after)), (2, 1));
}

#[test]
fn a_float_factor_and_offset_after_a_quantised_convolution_fold() {
    let mut b = Build::new(13);
    let x = b.input(DType::U8, [1, 3, 4, 4]);
    let y = b.integer_conv(x, 3, 4, 3, 1);
    let factor = b.constant(Tensor::new([4, 1, 1], Data::F32(vec![0.5, 0.25, 2.0, 1.0])));
    let y = b.binary(Binary::Mul, y, factor);
    let offset = b.random(DType::F32, &[1, 4, 1, 1]);
    let y = b.binary(Binary::Add, y, offset);
    let q = b.quantize(y, 0.04, 128, DType::U8);
    let (after, _) = check(&b.finish(&[q]), ONE_STEP);
    assert_eq!(after.nodes.len(), 1);
}
