//! Recognition of decoded and raw detection heads.

use crate::graphs::{Build, check, ops, optimised, window};
use peristyle_compiler::ir::{Activation, Binary, DType, Graph, Op, Tensor, ValueId};
use peristyle_compiler::passes::raw_head;

const OUTPUTS: usize = 7;
const LEVELS: [(usize, f32, [[f32; 2]; 3]); 2] =
    [(4, 8.0, [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]]), (2, 16.0, [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]])];

/// How an exporter spells the decode.
#[derive(Clone, Copy, PartialEq)]
pub enum Spelling {
    /// `(s * 2 + (grid - 0.5)) * stride`, `(s * 2) ^ 2 * anchor`, as YOLOv5 v6 and v7 do.
    GridMinusHalf,
    /// `(s * 2 - 0.5 + grid) * stride`, as YOLOv5 v5 does, with the square as a product.
    MinusHalfThenGrid,
    /// Something else: the centre of a cell is off.
    WrongOffset,
}

/// A raw head `[1, 3, h, w, outputs]` of a fresh convolution.
pub fn raw_level(b: &mut Build, x: ValueId, h: usize) -> ValueId {
    let channels = 3 * OUTPUTS;
    let input = b.shape(x);
    let stride = input[2] / h;
    let weight = b.random(DType::F32, &[channels, input[1], 1, 1]);
    let bias = b.random(DType::F32, &[channels]);
    let raw = b.conv_of(x, weight, bias, window(1, stride, 0));
    let split = b.node("reshape", Op::Reshape, vec![raw], DType::F32, &[1, 3, OUTPUTS, h, h]);
    let perm = vec![0, 1, 3, 4, 2];
    b.node("transpose", Op::Transpose { perm }, vec![split], DType::F32, &[1, 3, h, h, OUTPUTS])
}

fn grid(h: usize, offset: f32) -> Tensor {
    let cells = (0..3 * h * h).flat_map(|i| [(i % h) as f32 + offset, (i / h % h) as f32 + offset]);
    Tensor::f32([1, 3, h, h, 2], cells.collect())
}

fn columns(b: &mut Build, s: ValueId, h: usize, first: usize, count: usize) -> ValueId {
    let op = Op::Slice { starts: vec![0, 0, 0, 0, first], steps: vec![1; 5] };
    b.node("slice", op, vec![s], DType::F32, &[1, 3, h, h, count])
}

fn decoded_level(b: &mut Build, raw: ValueId, level: usize, spelling: Spelling) -> ValueId {
    let (h, stride, anchors) = LEVELS[level];
    let s = b.activation(Activation::Sigmoid, raw);
    let xy = columns(b, s, h, 0, 2);
    let wh = columns(b, s, h, 2, 2);
    let scores = columns(b, s, h, 4, OUTPUTS - 4);
    let (two, half, stride) = (b.scalar(2.0), b.scalar(0.5), b.scalar(stride));
    let mut xy = b.binary(Binary::Mul, xy, two);
    let offset = match spelling {
        Spelling::GridMinusHalf => -0.5,
        Spelling::MinusHalfThenGrid => {
            xy = b.binary(Binary::Sub, xy, half);
            0.0
        }
        Spelling::WrongOffset => -0.4,
    };
    let grid = b.constant(grid(h, offset));
    let xy = b.binary(Binary::Add, xy, grid);
    let xy = b.binary(Binary::Mul, xy, stride);
    let wh = b.binary(Binary::Mul, wh, two);
    let wh = match spelling {
        Spelling::MinusHalfThenGrid => b.binary(Binary::Mul, wh, wh),
        _ => b.binary(Binary::Pow, wh, two),
    };
    let sizes = (0..3 * h * h).flat_map(|i| anchors[i / (h * h)]).collect();
    let sizes = b.constant(Tensor::f32([1, 3, h, h, 2], sizes));
    let wh = b.binary(Binary::Mul, wh, sizes);
    let joined = b.node("concat", Op::Concat { axis: 4 }, vec![xy, wh, scores], DType::F32, &[1, 3, h, h, OUTPUTS]);
    b.node("reshape", Op::Reshape, vec![joined], DType::F32, &[1, 3 * h * h, OUTPUTS])
}

/// A detector of 32x32 images; also returns the raw heads when asked to.
pub fn detector(spelling: Spelling, with_raw: bool) -> Graph {
    let mut b = Build::new(1);
    let x = b.input(DType::F32, [1, 3, 32, 32]);
    let raws: Vec<ValueId> = LEVELS.iter().map(|level| raw_level(&mut b, x, level.0)).collect();
    let levels: Vec<ValueId> = (0..2).map(|i| decoded_level(&mut b, raws[i], i, spelling)).collect();
    let output = b.node("concat", Op::Concat { axis: 1 }, levels, DType::F32, &[1, 60, OUTPUTS]);
    let mut outputs = vec![output];
    if with_raw {
        outputs.extend(raws);
    }
    b.finish(&outputs)
}

#[test]
fn every_spelling_of_the_decode_becomes_a_detect_head() {
    for spelling in [Spelling::GridMinusHalf, Spelling::MinusHalfThenGrid] {
        let (after, report) = check(&detector(spelling, false), 1e-3);
        assert_eq!(report.detect_heads, 1);
        assert_eq!(ops(&after), ["conv", "conv", "detect_head"]);
        let Op::DetectHead(head) = &after.nodes[2].op else { panic!("the last node is the head") };
        for (level, (_, stride, anchors)) in head.levels.iter().zip(LEVELS) {
            assert_eq!((level.stride, level.anchors.as_slice()), (stride, anchors.as_slice()));
        }
    }
}

#[test]
fn raw_heads_beside_the_decode_stay() {
    let (after, report) = check(&detector(Spelling::GridMinusHalf, true), 1e-3);
    assert_eq!(report.detect_heads, 1);
    assert_eq!(after.outputs.len(), 3);
    assert_eq!(raw_head(&after), None);
}

#[test]
fn another_decode_is_left_alone() {
    let (after, report) = check(&detector(Spelling::WrongOffset, false), 1e-3);
    assert_eq!(report.detect_heads, 0);
    assert!(after.nodes.len() > 10);
}

fn raw_detector(levels: [usize; 3], anchors: Option<&str>) -> Graph {
    let mut b = Build::new(2);
    let x = b.input(DType::F32, [1, 3, 32, 32]);
    let raws: Vec<ValueId> = levels.iter().map(|&h| raw_level(&mut b, x, h)).collect();
    if let Some(anchors) = anchors {
        b.graph.metadata.properties.insert("anchors".into(), anchors.into());
    }
    optimised(&b.finish(&raws)).0
}

#[test]
fn raw_heads_are_described_with_default_anchors_by_stride() {
    let levels = raw_head(&raw_detector([1, 2, 4], None)).expect("raw heads");
    assert_eq!(levels.iter().map(|l| l.stride).collect::<Vec<_>>(), [32.0, 16.0, 8.0]);
    assert_eq!(levels[2].anchors, [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]]);
    assert_eq!(levels[0].anchors[2], [373.0, 326.0]);
    assert_eq!((levels[0].output, levels[0].h, levels[0].w, levels[0].outputs), (0, 1, 1, OUTPUTS));
}

#[test]
fn stated_anchors_replace_the_defaults() {
    let stated = "[[1,2, 3,4, 5,6], [7,8, 9,10, 11,12], [13.5,14, 15,16, 17,18]]";
    let levels = raw_head(&raw_detector([4, 2, 1], Some(stated))).expect("raw heads");
    assert_eq!(levels[0].anchors, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    assert_eq!(levels[2].anchors[0], [13.5, 14.0]);
    assert!(raw_head(&raw_detector([4, 2, 1], Some("[1, 2]"))).is_some(), "a malformed entry is ignored");
}
