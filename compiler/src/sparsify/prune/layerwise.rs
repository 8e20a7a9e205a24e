//! One layer at a time: moments over the images, weights from the moments.

use super::cholesky::Cholesky;
use super::moments::{Moments, sample, windows};
use super::obs::{Inverse, Trace, Workspace, trace};
use crate::ir::Tensor;
use crate::sparsify::Error;
use crate::sparsify::dense::Layer;
use crate::sparsify::product::{Rows, RowsMut, multiply_by_transposed};
use crate::sparsify::walk::{Parameters, map_of};
use rayon::prelude::*;
use std::sync::Arc;

/// Output pixels of an image that a layer is calibrated on.
const PIXELS: usize = 3072;

/// What a layer shall learn: answers of the dense layer to `dense` inputs, from the inputs `seen`.
///
/// Sums are in the order of the images, so that results do not depend on the number of threads.
pub fn moments(layer: &Layer, dense: &[Arc<Tensor>], seen: &[Arc<Tensor>], out: [usize; 2]) -> Moments {
    let (inputs, outputs) = (layer.inputs() + 1, layer.shape[0]);
    let rows = with_bias(&layer.weight, &layer.bias);
    let rows = Rows::dense(&rows, outputs, inputs);
    let of_image = |image: usize| {
        let pixels = sample(out[0] * out[1], PIXELS, image as u64);
        let wanted = windows(map_of(&dense[image]), &layer.geometry, out, &pixels);
        let mut answers = vec![0.0f32; pixels.len() * outputs];
        let product = RowsMut::dense(&mut answers, pixels.len(), outputs);
        multiply_by_transposed(product, Rows::dense(&wanted, pixels.len(), inputs), rows);
        if Arc::ptr_eq(&dense[image], &seen[image]) {
            return Moments::of(&wanted, &answers, inputs, outputs);
        }
        let seen = windows(map_of(&seen[image]), &layer.geometry, out, &pixels);
        Moments::of(&seen, &answers, inputs, outputs)
    };
    let mut sum = Moments::new(inputs, outputs);
    let images: Vec<usize> = (0..dense.len()).collect();
    for few in images.chunks(rayon::current_num_threads().max(1)) {
        let moments: Vec<Moments> = few.par_iter().map(|&image| of_image(image)).collect();
        moments.iter().for_each(|m| sum.add(m));
    }
    sum
}

/// Rows of a weight with the bias at the end of each.
pub fn with_bias(weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let inputs = weight.len() / bias.len();
    weight.chunks_exact(inputs).zip(bias).flat_map(|(row, b)| row.iter().copied().chain([*b])).collect()
}

/// A layer of which it is known what every removal costs.
pub struct Traced {
    moments: Moments,
    order: Vec<usize>,
    block: usize,
    best: Vec<Vec<f64>>,
    traces: Vec<Trace>,
}

impl Traced {
    /// Traces every output channel. Zeros come in blocks of so many consecutive input channels.
    ///
    /// # Errors
    /// When the inputs of the layer are not finite.
    pub fn new(layer: &Layer, moments: Moments, block: usize, damping: f64) -> Result<Self, Error> {
        let order = layer.column_order(block);
        let dense: Vec<f64> = with_bias(&layer.weight, &layer.bias).into_iter().map(f64::from).collect();
        let moments = moments.finish(&order, &dense, damping);
        let n = moments.inputs;
        let factor = Cholesky::new(moments.xx.clone(), n).ok_or_else(|| not_finite(layer))?;
        let inverse = Inverse::new(&factor.inverse(), n);
        let channels: Vec<usize> = (0..moments.outputs).collect();
        let traced = channels.par_iter().map_init(Workspace::default, |work, &channel| {
            let mut best = moments.wanted(channel).to_vec();
            factor.solve(&mut best);
            let trace = trace(&inverse, &best, block, work);
            (best, trace)
        });
        let (best, traces) = traced.collect::<Vec<_>>().into_iter().unzip();
        Ok(Self { moments, order, block, best, traces })
    }

    /// The best weights with the cheapest removals of a share of the weights, and as much variance
    /// [restored](Moments::restore_variance) as asked for.
    pub fn pruned(&self, sparsity: f64, restored: f64) -> Parameters {
        let costs: Vec<&[f64]> = self.traces.iter().map(|trace| trace.cost.as_slice()).collect();
        let removals = cheapest_first(&costs);
        let count = (sparsity * removals.len() as f64).round() as usize;
        let mut taken = vec![0; self.traces.len()];
        removals.iter().take(count).for_each(|&(_, channel)| taken[channel] += 1);
        self.without(&taken, restored)
    }

    /// The best weights with so many removals in every channel.
    fn without(&self, taken: &[usize], restored: f64) -> Parameters {
        let n = self.moments.inputs;
        let channels: Vec<usize> = (0..taken.len()).collect();
        let rows: Vec<Vec<f64>> = channels
            .par_iter()
            .map(|&channel| {
                let mut gone = vec![false; n];
                for &block in &self.traces[channel].order[..taken[channel]] {
                    gone[block as usize * self.block..][..self.block].fill(true);
                }
                let kept: Vec<usize> = (0..n).filter(|&i| !gone[i]).collect();
                let mut weights = match kept.len() == n {
                    true => self.best[channel].clone(),
                    false => self
                        .moments
                        .refit(channel, &kept)
                        .expect("a part of a positive definite matrix is positive definite"),
                };
                self.moments.restore_variance(channel, &mut weights, restored);
                weights
            })
            .collect();
        let mut parameters = Parameters { weight: vec![0.0; taken.len() * (n - 1)], bias: Vec::new() };
        for (row, weight) in rows.iter().zip(parameters.weight.chunks_exact_mut(n - 1)) {
            self.order.iter().zip(row).for_each(|(&place, &w)| weight[place] = w as f32);
            parameters.bias.push(row[n - 1] as f32);
        }
        parameters
    }
}

/// The removals of all channels, cheapest first as far as each channel's order allows: cost and channel.
pub fn cheapest_first(costs: &[impl AsRef<[f64]>]) -> Vec<(f64, usize)> {
    let mut removals = Vec::new();
    for (channel, costs) in costs.iter().enumerate() {
        let mut highest = 0.0f64;
        for &cost in costs.as_ref() {
            highest = highest.max(cost);
            removals.push((highest, cost, channel));
        }
    }
    removals.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    removals.into_iter().map(|(_, cost, channel)| (cost, channel)).collect()
}

/// What to say when second moments are not positive definite in spite of damping.
pub fn not_finite(layer: &Layer) -> Error {
    Error::Layer {
        layer: layer.name.clone(),
        reason: "its inputs or weights are not finite numbers; check the model and the calibration images".to_owned(),
    }
}

/// The weights of a layer with a share of zeros where its weights, or blocks of them, are smallest, and nothing else
/// changed.
pub fn by_magnitude(layer: &Layer, sparsity: f64, block: usize) -> Parameters {
    let order = layer.column_order(block);
    let inputs = layer.inputs();
    let mut sizes: Vec<(f32, usize)> = Vec::new();
    for (row, weights) in layer.weight.chunks_exact(inputs).enumerate() {
        for (at, places) in order.chunks_exact(block).enumerate() {
            let size = places.iter().map(|&p| weights[p] * weights[p]).sum();
            sizes.push((size, row * order.len() / block + at));
        }
    }
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let count = (sparsity * sizes.len() as f64).round() as usize;
    let mut parameters = Parameters { weight: layer.weight.clone(), bias: layer.bias.clone() };
    let per_row = inputs / block;
    for &(_, at) in &sizes[..count] {
        let (row, block_at) = (at / per_row, at % per_row);
        order[block_at * block..][..block].iter().for_each(|&place| parameters.weight[row * inputs + place] = 0.0);
    }
    parameters
}
