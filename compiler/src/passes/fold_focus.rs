//! Folds the Focus stem of YOLOv5 up to v5.0 into the convolution behind it.

use super::rewrite::{Uses, until_stable};
use super::{Error, Report};
use crate::ir::{Conv, ConvGeometry, Data, Graph, Op, Tensor, ValueId};

/// Rewrites `Conv(Concat(x[::2, ::2], x[1::2, ::2], x[::2, 1::2], x[1::2, 1::2]))`, the slices in any order, into one
/// convolution of `x` with twice the kernel, stride and padding. Exact: every product of the sum keeps its factors,
/// only their order changes.
pub fn fold_focus(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.folded_focus += until_stable(graph, |graph, uses, n| Ok(fold(graph, uses, n)))?;
    Ok(())
}

fn fold(graph: &mut Graph, uses: &Uses, n: usize) -> bool {
    let Op::Conv(conv) = &graph.nodes[n].op else { return false };
    let ConvGeometry { kernel, stride, pad, dilation: [1, 1], group: 1 } = conv.geometry else { return false };
    let Some((x, phases)) = space_to_depth(graph, uses, graph.nodes[n].inputs[0]) else { return false };
    let Some(weight) = graph.constant(graph.nodes[n].inputs[1]) else { return false };
    let channels = graph.ty(x).shape[1];
    let weight = match &weight.data {
        Data::F32(w) => Data::F32(interleave(w, &weight.shape, channels, &phases)),
        Data::I8(w) => Data::I8(interleave(w, &weight.shape, channels, &phases)),
        _ => return false,
    };
    let outputs = graph.ty(graph.nodes[n].outputs[0]).shape[1];
    let geometry = ConvGeometry {
        kernel: kernel.map(|k| 2 * k),
        stride: stride.map(|s| 2 * s),
        pad: pad.map(|p| 2 * p),
        dilation: [1, 1],
        group: 1,
    };
    let conv = Conv { geometry, ..conv.clone() };
    let shape = [outputs, channels, 2 * kernel[0], 2 * kernel[1]];
    let name = graph.value(graph.nodes[n].inputs[1]).name.clone();
    let weight = graph.add_constant(name, Tensor::new(shape, weight));
    graph.nodes[n].op = Op::Conv(conv);
    graph.nodes[n].inputs[0] = x;
    graph.nodes[n].inputs[1] = weight;
    true
}

/// The map of even extents whose four phases `value` stacks along the channels, and the first row and column of each.
fn space_to_depth(graph: &Graph, uses: &Uses, value: ValueId) -> Option<(ValueId, Vec<[usize; 2]>)> {
    let concat = &graph.nodes[uses.producer(value)?];
    if !matches!(concat.op, Op::Concat { axis: 1 }) || concat.inputs.len() != 4 {
        return None;
    }
    let mut source = None;
    let mut phases = Vec::new();
    for &input in &concat.inputs {
        let slice = &graph.nodes[uses.producer(input)?];
        let Op::Slice { starts, steps } = &slice.op else { return None };
        let ([0, 0, row @ 0..=1, column @ 0..=1], [1, 1, 2, 2]) = (starts.as_slice(), steps.as_slice()) else {
            return None;
        };
        let x = slice.inputs[0];
        let [_, channels, height, width] = graph.ty(x).shape[..] else { return None };
        let whole = graph.ty(input).shape[1..] == [channels, height / 2, width / 2];
        if *source.get_or_insert(x) != x || !whole || height % 2 != 0 || width % 2 != 0 {
            return None;
        }
        phases.push([*row, *column]);
    }
    let mut distinct = phases.clone();
    distinct.sort_unstable();
    (distinct == [[0, 0], [0, 1], [1, 0], [1, 1]]).then_some((source?, phases))
}

/// Weights `[o][phase * channels + c][i][j]` moved to `[o][c][2 * i + row][2 * j + column]`.
fn interleave<T: Copy + Default>(w: &[T], shape: &[usize], channels: usize, phases: &[[usize; 2]]) -> Vec<T> {
    let [outputs, inputs, kh, kw] = *shape else { unreachable!("a convolution's weight has four axes") };
    let mut wide = vec![T::default(); w.len()];
    for o in 0..outputs {
        for (phase, [row, column]) in phases.iter().enumerate() {
            for c in 0..channels {
                for i in 0..kh {
                    for j in 0..kw {
                        let from = ((o * inputs + phase * channels + c) * kh + i) * kw + j;
                        let to = ((o * channels + c) * 2 * kh + 2 * i + row) * 2 * kw + 2 * j + column;
                        wide[to] = w[from];
                    }
                }
            }
        }
    }
    wide
}
