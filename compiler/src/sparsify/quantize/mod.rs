//! Integers for convolutions: `u8` inputs, `i8` weights, both per tensor; everything between convolutions stays float.
//!
//! Layer by layer, on inputs as the integer layers before leave them: the input's range is the one that loses least,
//! weights are fitted to what the float layer answers, and rounded one after another, each time moving those still free
//! to the best place (nearest plane in the metric of the input's second moments). Biases stay float and are fitted
//! last. Zeros stay zeros.

pub mod range;

use super::Error;
use super::dense::{Dense, Layer};
use super::network::InputRange;
use super::progress::{Progress, Stage};
use super::prune::cholesky::Cholesky;
use super::prune::layerwise;
use super::prune::moments::Moments;
use super::walk::{Parameters, Walk};
use crate::ir::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

/// Elements of a layer's inputs that its range is chosen from.
const SAMPLE: usize = 1 << 18;

/// As in pruning, but weaker: rounding moves weights little.
const DAMPING: f64 = 0.003;

/// A quantised convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// What the integers stand for.
    pub parameters: Parameters,
    /// The weight in units of its scale.
    pub stored: Vec<i8>,
    /// Scale of the weight.
    pub weight_scale: f32,
    /// Scale of the input.
    pub input_scale: f32,
    /// Zero point of the input.
    pub input_zero: u8,
}

/// Quantises every convolution of a network with the given parameters.
///
/// # Errors
/// When the model cannot be run.
pub fn quantize(
    dense: &Dense,
    images: &[Arc<Tensor>],
    float: &[Parameters],
    progress: &mut Progress<'_>,
) -> Result<Vec<Quantized>, Error> {
    let graph = &dense.graph;
    let mut teacher = Walk::new(graph, images);
    let mut student = Walk::new(graph, images);
    let mut quantized: Vec<Quantized> = Vec::new();
    for n in 0..graph.nodes.len() {
        let at = quantized.len();
        let Some(layer) = dense.layers.get(at).filter(|layer| layer.node == n) else {
            teacher.step(n).map_err(Error::Run)?;
            student.step(n).map_err(Error::Run)?;
            continue;
        };
        progress.at(Stage::Quantize, at, dense.layers.len(), &layer.weight_name);
        let is_picture = graph.inputs.contains(&graph.nodes[n].inputs[0]);
        // The levels of a picture are integers already.
        let (input_scale, input_zero) =
            if is_picture { (1.0 / 255.0, 0) } else { range::input(&sampled(student.input_of(n))) };
        let rounded: Vec<Arc<Tensor>> =
            student.input_of(n).par_iter().map(|x| Arc::new(rounded(x, input_scale, input_zero))).collect();
        let layer = Layer { weight: float[at].weight.clone(), bias: float[at].bias.clone(), ..layer.clone() };
        let result = if layer.geometry.group == 1 {
            let out = super::prune::output_size(dense, &layer);
            let moments = layerwise::moments(&layer, teacher.input_of(n), &rounded, out);
            fitted(&layer, moments)?
        } else {
            nearest(&layer)
        };
        let result = Quantized { input_scale, input_zero, ..result };
        student.step_on(n, &rounded, &result.parameters).map_err(Error::Run)?;
        teacher.step_as(n, &float[at]).map_err(Error::Run)?;
        quantized.push(result);
    }
    Ok(quantized)
}

/// Every weight rounded by itself, with the ranges that training simulated.
pub fn as_trained(parameters: &[Parameters], ranges: &[InputRange]) -> Vec<Quantized> {
    let quantized = parameters.iter().zip(ranges).map(|(parameters, range)| {
        let largest = parameters.weight.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let weight_scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let stored = parameters.weight.iter().map(|&w| self::range::rounded_weight(w, weight_scale)).collect();
        let result = finished(stored, weight_scale, parameters.bias.clone());
        Quantized { input_scale: range.scale, input_zero: range.zero, ..result }
    });
    quantized.collect()
}

/// Elements of all images, evenly spread.
fn sampled(images: &[Arc<Tensor>]) -> Vec<f32> {
    let total: usize = images.iter().map(|x| x.len()).sum();
    // An odd step falls into every column.
    let step = (total / SAMPLE) | 1;
    let elements = images.iter().flat_map(|x| x.as_f32().unwrap_or_default());
    elements.step_by(step).copied().collect()
}

fn rounded(x: &Tensor, scale: f32, zero: u8) -> Tensor {
    let elements = x.as_f32().unwrap_or_default().iter().map(|&x| range::rounded_input(x, scale, zero));
    Tensor::f32(x.shape.clone(), elements.collect())
}

/// Every weight rounded by itself.
fn nearest(layer: &Layer) -> Quantized {
    let weight_scale = range::weight(&layer.weight, |_| 1.0);
    let stored = layer.weight.iter().map(|&w| range::rounded_weight(w, weight_scale)).collect();
    finished(stored, weight_scale, layer.bias.clone())
}

fn finished(stored: Vec<i8>, weight_scale: f32, bias: Vec<f32>) -> Quantized {
    let weight = stored.iter().map(|&q| f32::from(q) * weight_scale).collect();
    let parameters = Parameters { weight, bias };
    Quantized { parameters, stored, weight_scale, input_scale: 1.0, input_zero: 0 }
}

/// Weights fitted to the answers in `moments` and rounded one after another.
fn fitted(layer: &Layer, moments: Moments) -> Result<Quantized, Error> {
    let order: Vec<usize> = (0..layer.inputs()).collect();
    let inputs = layer.inputs();
    let rows = layer.weight.chunks_exact(inputs).zip(&layer.bias);
    let before: Vec<f64> = rows.flat_map(|(row, b)| row.iter().chain([b])).map(|&w| f64::from(w)).collect();
    let moments = moments.finish(&order, &before, DAMPING);
    let n = moments.inputs;
    let square = |i: usize| moments.xx[i * n + i];
    // The bias first, to be fitted last; inputs that carry most last, to be rounded first.
    let mut places: Vec<usize> = (0..inputs).collect();
    places.sort_by(|&a, &b| square(a).total_cmp(&square(b)).then(a.cmp(&b)));
    let fit = |channel: usize| {
        let row = &layer.weight[channel * inputs..][..inputs];
        let kept: Vec<usize> = [n - 1].into_iter().chain(places.iter().copied().filter(|&i| row[i] != 0.0)).collect();
        let part = kept.iter().flat_map(|&i| kept.iter().map(move |&j| i * n + j)).map(|at| moments.xx[at]).collect();
        let factor = Cholesky::new(part, kept.len())?;
        let mut best: Vec<f64> = kept.iter().map(|&i| moments.wanted(channel)[i]).collect();
        factor.solve(&mut best);
        Some((kept, factor, best))
    };
    let fitted: Option<Vec<_>> = (0..layer.shape[0]).into_par_iter().map(fit).collect();
    let fitted = fitted.ok_or_else(|| layerwise::not_finite(layer))?;

    let mut float = vec![0.0f32; layer.weights()];
    for (channel, (kept, _, best)) in fitted.iter().enumerate() {
        kept.iter().zip(best).skip(1).for_each(|(&i, &w)| float[channel * inputs + i] = w as f32);
    }
    let weight_scale = range::weight(&float, |i| square(i % inputs));
    let mut stored = vec![0i8; layer.weights()];
    let mut bias = Vec::with_capacity(layer.bias.len());
    let results: Vec<(Vec<i8>, f32)> = fitted
        .par_iter()
        .map(|(kept, factor, best)| {
            let mut row = vec![0i8; inputs];
            let bias = factor.nearest_plane(best, |at, w| {
                let q = range::rounded_weight(w as f32, weight_scale);
                row[kept[at]] = q;
                f64::from(f32::from(q) * weight_scale)
            });
            (row, bias as f32)
        })
        .collect();
    for (to, (row, b)) in stored.chunks_exact_mut(inputs).zip(results) {
        to.copy_from_slice(&row);
        bias.push(b);
    }
    Ok(finished(stored, weight_scale, bias))
}
