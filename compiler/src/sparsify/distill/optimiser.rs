//! Adam, in units of what it changes.

use crate::sparsify::network::{Gradients, Network};
use rayon::prelude::*;

const MEAN_DECAY: f32 = 0.9;
const SQUARE_DECAY: f32 = 0.99;
/// Step of a bias in units of the root mean square of its tensor.
const BIAS_UNIT: f32 = 0.5;
const EPSILON: f32 = 1e-12;

/// Adam with a step relative to what it changes: folded batch normalisations leave weights of very different magnitudes,
/// and masks leave outputs very different numbers of them. Weights that all move by one step, each in the worst
/// direction, change the output of a convolution by about the rate, relative to its magnitude.
pub(super) struct Adam {
    steps: i32,
    tensors: Vec<[Moments; 2]>,
}

struct Moments {
    mean: Vec<f32>,
    square: Vec<f32>,
    /// The unit of a step.
    unit: f32,
}

impl Moments {
    fn of(parameters: &[f32], unit: f32) -> Self {
        Moments { mean: vec![0.0; parameters.len()], square: vec![0.0; parameters.len()], unit }
    }

    fn step(&mut self, parameters: &mut [f32], gradient: &[f32], mask: Option<&[bool]>, rate: f32, steps: i32) {
        let (mean_scale, square_scale) = (1.0 / (1.0 - MEAN_DECAY.powi(steps)), 1.0 / (1.0 - SQUARE_DECAY.powi(steps)));
        let rate = rate * self.unit * mean_scale;
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for (at, ((p, g), (mean, square))) in parameters.iter_mut().zip(gradient).zip(moments).enumerate() {
            if mask.is_some_and(|mask| !mask[at]) {
                continue;
            }
            *mean += (1.0 - MEAN_DECAY) * (g - *mean);
            *square += (1.0 - SQUARE_DECAY) * (g * g - *square);
            *p -= rate * *mean / ((*square * square_scale).sqrt() + EPSILON);
        }
    }
}

impl Adam {
    pub(super) fn new(network: &Network) -> Self {
        let tensors = network.convolutions().iter().map(|c| {
            let kept = c.weight.iter().filter(|w| **w != 0.0).count() as f32 / c.outputs as f32;
            let unit = root_mean_square(&c.weight) / kept.max(1.0).sqrt();
            [Moments::of(&c.weight, unit), Moments::of(&c.bias, BIAS_UNIT * root_mean_square(&c.bias))]
        });
        Adam { steps: 0, tensors: tensors.collect() }
    }

    pub(super) fn step(&mut self, network: &mut Network, gradients: &Gradients, rate: f32) {
        self.steps += 1;
        let steps = self.steps;
        let gradients = gradients.weights.par_iter().zip(&gradients.biases);
        let convolutions = network.convolutions_mut().par_iter_mut().zip(&mut self.tensors);
        convolutions.zip(gradients).for_each(|((convolution, [weight, bias]), (by_weight, by_bias))| {
            let parameters = convolution.parameters_mut();
            weight.step(parameters.weight, by_weight, parameters.mask, rate, steps);
            bias.step(parameters.bias, by_bias, None, rate, steps);
        });
    }
}

/// Of the elements that are not zero.
fn root_mean_square(x: &[f32]) -> f32 {
    let (sum, count) = x.iter().filter(|x| **x != 0.0).fold((0.0, 0), |(sum, n), x| (sum + x * x, n + 1));
    if count == 0 { 0.0 } else { (sum / count as f32).sqrt() }
}
