//! Recognises the decode that YOLOv5 exports append to the raw heads, whatever nodes spell it.
//!
//! The tail is recognised by what it computes: it is evaluated on probe inputs and compared with [`Op::DetectHead`].
//! That holds for every way an exporter writes slices, grids and powers.

use super::rewrite::{Uses, drop_dead_nodes};
use super::{Error, Report};
use crate::interp;
use crate::ir::{DType, Data, DetectHead, DetectLevel, Graph, Op, Tensor, Type, ValueId};

/// Largest accepted difference of a box coordinate, in pixels, and of a score.
const TOLERANCE: [f32; 2] = [1e-3, 1e-5];
/// Where the coordinates of a row end and the scores begin.
const COORDINATES: usize = 4;

/// Replaces the nodes between raw heads and a decoded output `f32[1, n, outputs]` by one [`Op::DetectHead`].
pub fn detect_head(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    let uses = Uses::of(graph);
    for output in graph.outputs.clone() {
        let Some((raws, head)) = recognise(graph, &uses, output) else { continue };
        let n = uses.producer(output).expect("a decoded output has a producer");
        graph.nodes[n].op = Op::DetectHead(head);
        graph.nodes[n].inputs = raws;
        graph.nodes[n].outputs = vec![output];
        report.detect_heads += 1;
    }
    drop_dead_nodes(graph);
    Ok(())
}

fn recognise(graph: &Graph, uses: &Uses, output: ValueId) -> Option<(Vec<ValueId>, DetectHead)> {
    let ty = graph.ty(output);
    let (DType::F32, [1, rows, outputs]) = (ty.dtype, ty.shape.as_slice()) else { return None };
    if *outputs <= COORDINATES {
        return None;
    }
    let (tail, raws) = decode_tail(graph, uses, output)?;
    let grids: Vec<[usize; 3]> = raws.iter().map(|&raw| grid(graph.ty(raw), *outputs)).collect::<Option<_>>()?;
    if grids.iter().map(|grid| grid.iter().product::<usize>()).sum::<usize>() != *rows {
        return None;
    }
    let tail = Graph {
        values: graph.values.clone(),
        nodes: tail.into_iter().map(|n| graph.nodes[n].clone()).collect(),
        inputs: raws.clone(),
        outputs: vec![output],
        ..Graph::default()
    };
    let evaluate = |probe: &[Tensor]| interp::run(&tail, probe).ok()?.pop();
    let head = read_parameters(&evaluate(&probe(graph, &raws, |_| 0.0))?, *outputs, &grids)?;
    for seed in [1, 2] {
        let inputs = probe(graph, &raws, noise(seed));
        let expected = evaluate(&inputs)?;
        let inputs: Vec<_> = inputs.iter().collect();
        let decoded =
            interp::eval_node(&Op::DetectHead(head.clone()), &inputs, std::slice::from_ref(ty)).ok()?.pop()?;
        if !agree(expected.as_f32()?, decoded.as_f32()?, *outputs) {
            return None;
        }
    }
    Some((raws, head))
}

/// The elementwise and layout nodes above `output`, ascending, and the maps they start from, in order of first use.
fn decode_tail(graph: &Graph, uses: &Uses, output: ValueId) -> Option<(Vec<usize>, Vec<ValueId>)> {
    let mut tail = vec![];
    let mut raws = vec![];
    let mut seen = vec![false; graph.values.len()];
    let mut pending = vec![output];
    while let Some(value) = pending.pop() {
        if graph.constant(value).is_some() || std::mem::replace(&mut seen[value.index()], true) {
            continue;
        }
        let n = uses.producer(value)?;
        let node = &graph.nodes[n];
        let in_tail = matches!(
            node.op,
            Op::Activation(_)
                | Op::Binary(_)
                | Op::Cast(_)
                | Op::Concat { .. }
                | Op::Slice { .. }
                | Op::Reshape
                | Op::Transpose { .. }
        );
        if in_tail {
            tail.push(n);
            pending.extend(node.inputs.iter().rev());
        } else {
            raws.push(value);
        }
    }
    tail.sort_unstable();
    (!tail.is_empty() && !raws.is_empty()).then_some((tail, raws))
}

/// Anchors, rows and columns of a raw head.
fn grid(raw: &Type, outputs: usize) -> Option<[usize; 3]> {
    match (raw.dtype, raw.shape.as_slice()) {
        (DType::F32, [1, channels, h, w]) if channels % outputs == 0 => Some([channels / outputs, *h, *w]),
        _ => None,
    }
}

/// Reads strides and anchors from what the tail makes of zeros: every sigmoid is one half, so that centres lie in
/// the middle of their cells and sizes are those of the anchors.
fn read_parameters(decoded: &Tensor, outputs: usize, grids: &[[usize; 3]]) -> Option<DetectHead> {
    let decoded = decoded.as_f32()?;
    let mut first_row = 0;
    let mut levels = Vec::new();
    for &[anchors, h, w] in grids {
        let row = |anchor: usize| &decoded[(first_row + anchor * h * w) * outputs..][..COORDINATES];
        let stride = 2.0 * row(0)[0];
        let sizes: Vec<[f32; 2]> = (0..anchors).map(|a| [row(a)[2], row(a)[3]]).collect();
        if !sizes.iter().flatten().chain([&stride]).all(|x| x.is_finite() && *x > 0.0) {
            return None;
        }
        levels.push(DetectLevel { stride, anchors: sizes });
        first_row += anchors * h * w;
    }
    Some(DetectHead { outputs, levels })
}

fn agree(expected: &[f32], decoded: &[f32], outputs: usize) -> bool {
    expected.len() == decoded.len()
        && expected.iter().zip(decoded).enumerate().all(|(i, (a, b))| {
            let tolerance = TOLERANCE[usize::from(i % outputs >= COORDINATES)];
            (a - b).abs() <= tolerance.max(a.abs() * 1e-6)
        })
}

fn probe(graph: &Graph, raws: &[ValueId], mut element: impl FnMut(usize) -> f32) -> Vec<Tensor> {
    raws.iter()
        .map(|&raw| {
            let ty = graph.ty(raw);
            Tensor::new(ty.shape.clone(), Data::F32((0..ty.len()).map(&mut element).collect()))
        })
        .collect()
}

/// Pseudo-random numbers in `[-4, 4)`: the multiplicative congruential generator of Lehmer.
fn noise(seed: u64) -> impl FnMut(usize) -> f32 {
    let mut state = seed;
    move |_| {
        state = state * 48_271 % 2_147_483_647;
        (state as f64 / 2_147_483_647.0 * 8.0 - 4.0) as f32
    }
}
