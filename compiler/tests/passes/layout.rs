//! Constants, dead code, layout, affine folding.

use crate::graphs::{Build, check, ops, window};
use peristyle_compiler::ir::{Binary, DType, Op, Tensor};

#[test]
fn equal_nodes_are_computed_once() {
    let mut b = Build::new(1);
    let x = b.input(DType::F32, [1, 2, 4, 4]);
    let q = b.quantize(x, 0.1, 3, DType::U8);
    let r = b.quantize(x, 0.1, 3, DType::U8);
    let both = b.concat(&[q, r]);
    let (after, report) = check(&b.finish(&[both]), 0.0);
    assert_eq!(report.shared_nodes, 1);
    assert_eq!(ops(&after).len(), 2);
}

#[test]
fn arithmetic_of_constants_is_evaluated_and_what_nothing_reads_is_dropped() {
    let mut b = Build::new(2);
    let x = b.input(DType::F32, [1, 2, 3, 3]);
    let (two, three) = (b.scalar(2.0), b.scalar(3.0));
    let six = b.binary(Binary::Mul, two, three);
    b.binary(Binary::Add, x, two);
    let y = b.binary(Binary::Mul, x, six);
    let (after, report) = check(&b.finish(&[y]), 0.0);
    assert_eq!(report.folded_constants, 1);
    assert_eq!(after.nodes.len(), 1);
    assert_eq!(after.values.len(), 3);
}

#[test]
fn chains_of_slices_and_reshapes_merge() {
    let mut b = Build::new(3);
    let x = b.input(DType::F32, [1, 2, 8, 8]);
    let rows = b.slice(x, [0, 0, 1, 0], [1, 1, 2, 1], [1, 2, 4, 8]);
    let both = b.slice(rows, [0, 0, 1, 2], [1, 1, 1, 3], [1, 2, 3, 2]);
    let flat = b.node("reshape", Op::Reshape, vec![both], DType::F32, &[12]);
    let pairs = b.node("reshape", Op::Reshape, vec![flat], DType::F32, &[6, 2]);
    let (after, _) = check(&b.finish(&[pairs]), 0.0);
    assert_eq!(ops(&after).len(), 2);
    assert!(matches!(&after.nodes[0].op, Op::Slice { starts, steps }
        if starts[2..] == [3, 2] && steps[2..] == [2, 3]));
}

#[test]
fn a_no_op_before_an_output_leaves_the_output_its_name() {
    let mut b = Build::new(4);
    let x = b.input(DType::F32, [1, 2, 4, 4]);
    let y = b.conv(x, 2, 1, 0);
    let z = b.like("cast", Op::Cast(DType::F32), vec![y]);
    let name = b.graph.value(z).name.clone();
    let (after, _) = check(&b.finish(&[z]), 0.0);
    assert_eq!(after.nodes.len(), 1);
    assert_eq!(after.value(after.outputs[0]).name, name);
}

#[test]
fn batch_norm_multiplication_and_addition_fold_into_the_convolution() {
    let mut b = Build::new(5);
    let x = b.input(DType::F32, [1, 3, 5, 5]);
    let y = b.conv(x, 4, 3, 1);
    let [scale, bias, mean] = [0; 3].map(|_| b.random(DType::F32, &[4]));
    let variance = b.constant(Tensor::f32([4], vec![0.5, 1.0, 2.0, 0.1]));
    let y = b.like("batch_norm", Op::BatchNorm { epsilon: 1e-3 }, vec![y, scale, bias, mean, variance]);
    let factor = b.random(DType::F32, &[4, 1, 1]);
    let y = b.binary(Binary::Mul, y, factor);
    let offset = b.random(DType::F32, &[1, 4, 1, 1]);
    let y = b.binary(Binary::Sub, y, offset);
    let (after, report) = check(&b.finish(&[y]), 2e-5);
    assert_eq!(report.folded_affine, 3);
    insta::assert_snapshot!(after.to_string());
}

#[test]
fn batch_norm_without_convolution_becomes_a_depthwise_one() {
    let mut b = Build::new(6);
    let x = b.input(DType::F32, [1, 4, 5, 5]);
    let [scale, bias, mean] = [0; 3].map(|_| b.random(DType::F32, &[4]));
    let variance = b.constant(Tensor::f32([4], vec![0.5, 1.0, 2.0, 0.1]));
    let y = b.like("batch_norm", Op::BatchNorm { epsilon: 1e-3 }, vec![x, scale, bias, mean, variance]);
    let (after, _) = check(&b.finish(&[y]), 1e-5);
    assert!(matches!(&after.nodes[0].op, Op::Conv(conv) if conv.geometry.group == 4));
}

#[test]
fn focus_becomes_one_strided_convolution() {
    for quantised in [false, true] {
        let mut b = Build::new(7);
        let x = b.input(DType::F32, [1, 3, 12, 8]);
        let phases = [[0, 0], [1, 0], [0, 1], [1, 1]]
            .map(|[row, column]| b.slice(x, [0, 0, row, column], [1, 1, 2, 2], [1, 3, 6, 4]));
        let stacked = b.concat(&phases);
        let y = if quantised { b.qdq_conv(stacked, 4, 3, 1) } else { b.conv(stacked, 4, 3, 1) };
        let graph = b.finish(&[y]);
        let (after, report) = check(&graph, 2e-4);
        assert_eq!(report.folded_focus, 1);
        assert_eq!(after.nodes.len(), 1 + usize::from(quantised));
        let Op::Conv(conv) = &after.nodes[usize::from(quantised)].op else { panic!("a convolution is left") };
        assert_eq!(conv.geometry, window(6, 2, 2));
    }
}
