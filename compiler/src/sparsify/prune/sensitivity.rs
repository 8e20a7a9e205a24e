//! How much an error of one layer disturbs what the network says.

use crate::interp;
use crate::ir::{Graph, Op, Tensor};
use crate::sparsify::walk::{Parameters, Walk};
use std::sync::Arc;

/// Disturbance of the outputs, the mean over images, when node `n` has other parameters. `before` has come to that
/// node, and `expected` is what the graph says undisturbed, per image and output.
///
/// # Errors
/// When a node has no result.
pub fn disturbance(
    before: &Walk<'_>,
    graph: &Graph,
    n: usize,
    parameters: &Parameters,
    expected: &[Vec<Arc<Tensor>>],
) -> Result<f64, interp::Error> {
    let mut walk = before.clone();
    walk.step_as(n, parameters)?;
    for later in n + 1..graph.nodes.len() {
        walk.step(later)?;
    }
    let mut sum = 0.0;
    for (&id, expected) in graph.outputs.iter().zip(expected) {
        let decoded = graph.nodes.iter().any(|node| matches!(node.op, Op::DetectHead(_)) && node.outputs.contains(&id));
        for (found, expected) in walk.value(id).iter().zip(expected) {
            sum += if decoded { of_boxes(found, expected) } else { of_numbers(found, expected) };
        }
    }
    Ok(sum / expected.first().map_or(1, Vec::len).max(1) as f64)
}

/// Squared difference relative to the size of what was expected.
fn of_numbers(found: &Tensor, expected: &Tensor) -> f64 {
    let (Some(found), Some(expected)) = (found.as_f32(), expected.as_f32()) else { return 0.0 };
    let difference: f64 = found.iter().zip(expected).map(|(f, e)| f64::from(f - e).powi(2)).sum();
    let size: f64 = expected.iter().map(|e| f64::from(*e).powi(2)).sum();
    difference / size.max(1e-12)
}

/// Squared differences of what decides about boxes: the scores of all classes, and, as far as there is an object, its
/// place relative to its size.
fn of_boxes(found: &Tensor, expected: &Tensor) -> f64 {
    let (Some(f), Some(e)) = (found.as_f32(), expected.as_f32()) else { return 0.0 };
    let numbers = *expected.shape.last().unwrap_or(&1);
    let mut sum = 0.0;
    for (f, e) in f.chunks_exact(numbers).zip(e.chunks_exact(numbers)) {
        let (object, expected_object) = (f64::from(f[4]), f64::from(e[4]));
        if object.max(expected_object) < 0.005 {
            continue;
        }
        sum += (object - expected_object).powi(2);
        let scores = f[5..].iter().zip(&e[5..]);
        sum += scores.map(|(f, e)| (object * f64::from(*f) - expected_object * f64::from(*e)).powi(2)).sum::<f64>();
        let [width, height] = [2, 3].map(|i| f64::from(e[i]).max(1.0));
        let shift: f64 = [width, height, width, height]
            .iter()
            .enumerate()
            .map(|(i, size)| (f64::from(f[i] - e[i]) / size).clamp(-1.0, 1.0).powi(2))
            .sum();
        sum += expected_object.powi(2) * shift;
    }
    sum
}
