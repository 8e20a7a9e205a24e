//! Recognises activations that exporters spell out as several nodes.

use super::rewrite::{Uses, scalar, until_stable};
use super::{Error, Report};
use crate::ir::{Activation, Binary, Graph, Op, ValueId};

const SIXTH: f32 = 1.0 / 6.0;

/// Rewrites `x * sigmoid(x)` to SiLU, `x * hardsigmoid(x)` and `x * clip(x + 3, 0, 6) / 6` to HardSwish, and
/// `max(x, c)`, `min(x, c)` and their compositions to ReLU and Clip. Results agree within rounding.
pub fn recognise_activation(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.recognised_activations += until_stable(graph, |graph, uses, n| {
        let found = gated(graph, uses, n)
            .or_else(|| divided_by_six(graph, uses, n))
            .or_else(|| bounded(graph, n))
            .or_else(|| merged_bounds(graph, uses, n));
        let Some((x, activation)) = found else { return Ok(false) };
        graph.nodes[n].op = Op::Activation(activation);
        graph.nodes[n].inputs = vec![x];
        Ok(true)
    })?;
    Ok(())
}

fn binary(graph: &Graph, n: usize, wanted: Binary) -> Option<[ValueId; 2]> {
    match &graph.nodes[n].op {
        Op::Binary(op) if *op == wanted => Some([graph.nodes[n].inputs[0], graph.nodes[n].inputs[1]]),
        _ => None,
    }
}

fn activation_of(graph: &Graph, uses: &Uses, value: ValueId) -> Option<(ValueId, Activation)> {
    let node = &graph.nodes[uses.producer(value)?];
    match node.op {
        Op::Activation(a) => Some((node.inputs[0], a)),
        _ => None,
    }
}

/// The operands of `value = a * b` or `value = a + b` in both orders.
fn either_order([a, b]: [ValueId; 2]) -> [[ValueId; 2]; 2] {
    [[a, b], [b, a]]
}

/// `x * gate(x)`.
fn gated(graph: &Graph, uses: &Uses, n: usize) -> Option<(ValueId, Activation)> {
    let operands = binary(graph, n, Binary::Mul)?;
    either_order(operands).into_iter().find_map(|[x, gate]| {
        let whole = match activation_of(graph, uses, gate) {
            Some((source, Activation::Sigmoid)) if source == x => Activation::Silu,
            Some((source, Activation::HardSigmoid { alpha, beta }))
                if source == x && (alpha - SIXTH).abs() < 1e-6 && beta == 0.5 =>
            {
                Activation::HardSwish
            }
            Some(_) => return None,
            None => {
                let clipped = over_six(graph, uses, gate)?;
                (shifted_clip(graph, uses, clipped)? == x).then_some(Activation::HardSwish)?
            }
        };
        Some((x, whole))
    })
}

/// `(x * clip(x + 3, 0, 6)) / 6`.
fn divided_by_six(graph: &Graph, uses: &Uses, n: usize) -> Option<(ValueId, Activation)> {
    let product = over_six(graph, uses, graph.nodes[n].outputs[0])?;
    let operands = binary(graph, uses.producer(product)?, Binary::Mul)?;
    either_order(operands)
        .into_iter()
        .find_map(|[x, clipped]| (shifted_clip(graph, uses, clipped)? == x).then_some((x, Activation::HardSwish)))
}

/// `y` when `value` is `y / 6` or `y * (1/6)`.
fn over_six(graph: &Graph, uses: &Uses, value: ValueId) -> Option<ValueId> {
    let n = uses.producer(value)?;
    if let Some([y, six]) = binary(graph, n, Binary::Div) {
        return (scalar(graph, six)? == 6.0).then_some(y);
    }
    either_order(binary(graph, n, Binary::Mul)?)
        .into_iter()
        .find_map(|[y, c]| ((scalar(graph, c)? - SIXTH).abs() < 1e-6).then_some(y))
}

/// `x` when `value` is `clip(x + 3, 0, 6)`.
fn shifted_clip(graph: &Graph, uses: &Uses, value: ValueId) -> Option<ValueId> {
    let (shifted, clip) = activation_of(graph, uses, value)?;
    if clip != (Activation::Clip { lo: 0.0, hi: 6.0 }) {
        return None;
    }
    either_order(binary(graph, uses.producer(shifted)?, Binary::Add)?)
        .into_iter()
        .find_map(|[x, c]| (scalar(graph, c)? == 3.0).then_some(x))
}

/// `max(x, c)` or `min(x, c)`.
fn bounded(graph: &Graph, n: usize) -> Option<(ValueId, Activation)> {
    let output = graph.ty(graph.nodes[n].outputs[0]);
    let operand_and_bound = |operands| {
        either_order(operands)
            .into_iter()
            .find_map(|[x, c]| Some((x, scalar(graph, c)?)))
            .filter(|(x, bound)| graph.ty(*x) == output && !bound.is_nan())
    };
    if let Some(operands) = binary(graph, n, Binary::Max) {
        let (x, lo) = operand_and_bound(operands)?;
        return Some((x, if lo == 0.0 { Activation::Relu } else { Activation::Clip { lo, hi: f32::MAX } }));
    }
    let (x, hi) = operand_and_bound(binary(graph, n, Binary::Min)?)?;
    Some((x, Activation::Clip { lo: f32::MIN, hi }))
}

/// `clip(clip(x))` whose bounds are those of one clip; ReLU counts as a clip from 0.
fn merged_bounds(graph: &Graph, uses: &Uses, n: usize) -> Option<(ValueId, Activation)> {
    let Op::Activation(outer) = graph.nodes[n].op else { return None };
    let (x, inner) = activation_of(graph, uses, graph.nodes[n].inputs[0])?;
    let (lo0, hi0) = bounds(inner)?;
    let (lo1, hi1) = bounds(outer)?;
    let (lo, hi) = (lo0.max(lo1), hi0.min(hi1));
    (lo <= hi).then_some((x, Activation::Clip { lo, hi }))
}

fn bounds(activation: Activation) -> Option<(f32, f32)> {
    match activation {
        Activation::Relu => Some((0.0, f32::MAX)),
        Activation::Clip { lo, hi } => Some((lo, hi)),
        _ => None,
    }
}
