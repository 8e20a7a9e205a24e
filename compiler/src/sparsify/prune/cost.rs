//! What zeros in a layer of the dense network cost, estimated from some of its channels.

use super::allocation::steps;
use super::cholesky::Cholesky;
use super::layerwise::{not_finite, with_bias};
use super::moments::Moments;
use super::obs::{Inverse, Workspace, trace};
use crate::sparsify::Error;
use crate::sparsify::dense::Layer;
use crate::sparsify::walk::Parameters;
use rayon::prelude::*;

/// Multiply-accumulates that the traces of a layer may take.
const BUDGET: usize = 3 << 30;

/// Fewest channels that are traced.
const CHANNELS: usize = 16;

/// The mean squared error of all output channels together, at every [step](super::allocation::STEPS) of the layer's
/// sparsity.
///
/// # Errors
/// When the inputs of the layer are not finite.
pub fn errors(layer: &Layer, moments: Moments, block: usize, damping: f64) -> Result<Vec<f64>, Error> {
    let order = layer.column_order(block);
    let dense: Vec<f64> = with_bias(&layer.weight, &layer.bias).into_iter().map(f64::from).collect();
    let moments = moments.finish(&order, &dense, damping);
    let n = moments.inputs;
    let factor = Cholesky::new(moments.xx.clone(), n).ok_or_else(|| not_finite(layer))?;
    let inverse = Inverse::new(&factor.inverse(), n);
    let channels = (BUDGET / (n * n * n / 6).max(1)).clamp(CHANNELS, moments.outputs.max(CHANNELS));
    let channels = channels.min(moments.outputs);
    let chosen: Vec<usize> = (0..channels).map(|i| i * moments.outputs / channels).collect();
    let costs = chosen.par_iter().map_init(Workspace::default, |work, &channel| {
        let mut best = moments.wanted(channel).to_vec();
        factor.solve(&mut best);
        trace(&inverse, &best, block, work).cost
    });
    let costs: Vec<Vec<f64>> = costs.collect();
    let share = moments.outputs as f64 / channels as f64;
    let costs: Vec<f64> = super::layerwise::cheapest_first(&costs).into_iter().map(|(cost, _)| cost * share).collect();
    Ok(steps(&costs))
}

/// Weights that are off at random, with biases that keep the mean of every channel, and the mean squared error that
/// makes: `part` of the variance of the answers.
pub fn disturbed(layer: &Layer, moments: &Moments, part: f64) -> (Parameters, f64) {
    let (n, inputs) = (moments.inputs, moments.inputs - 1);
    let pixels = moments.xx[n * n - 1].max(1.0);
    let xx = |i: usize, j: usize| moments.xx[i.max(j) * n + i.min(j)] / pixels;
    let mean: Vec<f64> = (0..inputs).map(|i| xx(n - 1, i)).collect();
    let mut state = 0x5eed_u64;
    let mut noise: Vec<f64> = Vec::with_capacity(layer.weights());
    for w in &layer.weight {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5;
        // Small weights go first, so errors are about as large as they are.
        noise.push(random * f64::from(w.abs()).max(1e-9));
    }
    let covariance: Vec<f64> =
        (0..inputs * inputs).map(|at| xx(at / inputs, at % inputs) - mean[at / inputs] * mean[at % inputs]).collect();
    let errors: Vec<f64> = noise
        .par_chunks(inputs)
        .map(|row| {
            let product = |i: usize| super::cholesky::dot(&covariance[i * inputs..][..inputs], row);
            row.iter().enumerate().map(|(i, &e)| e * product(i)).sum()
        })
        .collect();
    let error: f64 = errors.iter().sum();
    let variance: f64 = (0..moments.outputs)
        .map(|o| (moments.yy[o] / pixels - (moments.wanted(o)[n - 1] / pixels).powi(2)).max(0.0))
        .sum();
    let factor = if error > 0.0 { (part * variance / error).sqrt() } else { 0.0 };
    let mut parameters = Parameters { weight: layer.weight.clone(), bias: layer.bias.clone() };
    parameters.weight.iter_mut().zip(&noise).for_each(|(w, e)| *w += (e * factor) as f32);
    for (bias, row) in parameters.bias.iter_mut().zip(noise.chunks_exact(inputs)) {
        *bias -= (super::cholesky::dot(row, &mean) * factor) as f32;
    }
    (parameters, part * variance)
}
