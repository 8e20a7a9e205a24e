//! From the derivatives of a loss by feature maps to those by parameters.

use super::columns::{Columns, Window};
use super::convolution::Weights;
use super::{Convolution, MapId, Network, Shape, Step, Workspace, pointwise, pool};
use crate::ir::Residual;
use crate::sparsify::product::{Rows, RowsMut, add_by_transposed, multiply_transposed};

/// Derivatives of a loss by the parameters of a network.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// By the weights of every convolution.
    pub weights: Vec<Vec<f32>>,
    /// By the biases of every convolution.
    pub biases: Vec<Vec<f32>>,
}

impl Gradients {
    /// All zero, shaped as the parameters of `network`.
    pub fn zeros(network: &Network) -> Self {
        let zeros = |len: fn(&Convolution) -> usize| network.convolutions.iter().map(|c| vec![0.0; len(c)]).collect();
        Gradients { weights: zeros(|c| c.weight.len()), biases: zeros(|c| c.bias.len()) }
    }

    /// Back to zero.
    pub fn clear(&mut self) {
        self.weights.iter_mut().chain(&mut self.biases).for_each(|g| g.fill(0.0));
    }

    /// Adds the derivatives of another image.
    pub fn add(&mut self, other: &Gradients) {
        let ours = self.weights.iter_mut().chain(&mut self.biases);
        let theirs = other.weights.iter().chain(&other.biases);
        ours.zip(theirs).for_each(|(a, b)| pointwise::add(a, b));
    }
}

/// A loss that is a sum of terms, each a function of one feature map.
pub trait Loss {
    /// Whether a term depends on this map.
    fn reads(&self, map: MapId) -> bool;

    /// Adds the derivative of the terms by every element of the map to `gradient`.
    fn differentiate(&mut self, map: MapId, shape: Shape, elements: &[f32], gradient: &mut [f32]);
}

impl Network {
    /// Adds the derivatives of `loss` by all parameters to `gradients`, for the image that the last [`Network::forward`] with
    /// these weights left in `workspace`. Where quantisation is simulated, rounding counts as the identity within the
    /// range and as a constant outside.
    ///
    /// # Panics
    /// When the workspace is not one for training.
    pub fn backward(
        &self,
        weights: &Weights,
        workspace: &mut Workspace,
        loss: &mut dyn Loss,
        gradients: &mut Gradients,
    ) {
        assert!(workspace.training, "a workspace for training");
        let mut reached = vec![false; workspace.maps.len()];
        for step in self.steps.iter().rev() {
            let output = step.output();
            let mut gradient = std::mem::take(&mut workspace.gradients[output.0]);
            if loss.reads(output) {
                if !reached[output.0] {
                    gradient.clear();
                    gradient.resize(workspace.maps[output.0].len(), 0.0);
                    reached[output.0] = true;
                }
                loss.differentiate(output, workspace.shapes[output.0], &workspace.maps[output.0], &mut gradient);
            }
            if reached[output.0] {
                self.step_back(step, weights, workspace, &mut gradient, &mut reached, gradients);
            }
            workspace.gradients[output.0] = gradient;
        }
    }

    /// `gradient` is that of the step's output, and is left as that of a convolution's sums.
    fn step_back(
        &self,
        step: &Step,
        weights: &Weights,
        workspace: &mut Workspace,
        gradient: &mut [f32],
        reached: &mut [bool],
        gradients: &mut Gradients,
    ) {
        let Workspace { shapes, maps, slopes, rounded, gradients: map_gradients, columns, unrounded, .. } = workspace;
        match step {
            Step::Convolve { convolution, input, residual, .. } => {
                let index = *convolution;
                let convolution = &self.convolutions[index];
                if let Some((map, Residual::AfterActivation)) = residual {
                    accumulate(&mut map_gradients[map.0], &mut reached[map.0], gradient);
                }
                pointwise::multiply(gradient, &slopes[index]);
                if let Some((map, Residual::BeforeActivation)) = residual {
                    accumulate(&mut map_gradients[map.0], &mut reached[map.0], gradient);
                }
                let map = if convolution.input_range.is_some() { &rounded[index] } else { &maps[input.0] };
                let back = Back {
                    convolution,
                    weight: &weights.effective[index],
                    window: Window::new(&convolution.geometry, shapes[input.0]),
                    map,
                    gradient,
                };
                back.bias(&mut gradients.biases[index]);
                let by_weight = &mut gradients.weights[index];
                if *input == self.input {
                    back.parameters_and_input(columns, by_weight, None);
                    return;
                }
                let (by_input, reached) = (&mut map_gradients[input.0], &mut reached[input.0]);
                by_input.resize(map.len(), 0.0);
                match convolution.input_range {
                    None => back.parameters_and_input(columns, by_weight, Some((by_input, *reached))),
                    Some(range) => {
                        unrounded.resize(map.len(), 0.0);
                        back.parameters_and_input(columns, by_weight, Some((unrounded, false)));
                        let [lo, hi] = range.bounds();
                        pointwise::zero_outside(unrounded, &maps[input.0], lo, hi);
                        match *reached {
                            true => pointwise::add(by_input, unrounded),
                            false => by_input.copy_from_slice(unrounded),
                        }
                    }
                }
                *reached = true;
            }
            Step::Activate { activation, input, .. } => {
                let slope = |x: f32| pointwise::value_and_slope(*activation, x).1;
                gradient.iter_mut().zip(&maps[input.0]).for_each(|(g, &x)| *g *= slope(x));
                accumulate(&mut map_gradients[input.0], &mut reached[input.0], gradient);
            }
            Step::Add { inputs, .. } => {
                for map in inputs {
                    accumulate(&mut map_gradients[map.0], &mut reached[map.0], gradient);
                }
            }
            Step::Concat { inputs, .. } => {
                let mut rest = &*gradient;
                for map in inputs {
                    let (here, after) = rest.split_at(maps[map.0].len());
                    accumulate(&mut map_gradients[map.0], &mut reached[map.0], here);
                    rest = after;
                }
            }
            Step::MaxPool { pool, input, output } => {
                let target = zeroed_unless(&mut map_gradients[input.0], &mut reached[input.0], shapes[input.0]);
                pool::max_back(pool, (&maps[input.0], shapes[input.0]), (gradient, shapes[output.0]), target);
            }
            Step::Enlarge { scale, input, .. } => {
                let target = zeroed_unless(&mut map_gradients[input.0], &mut reached[input.0], shapes[input.0]);
                pool::enlarge_back(*scale, gradient, (target, shapes[input.0]));
            }
            Step::GlobalAverage { input, .. } => {
                let pixels = shapes[input.0].pixels();
                let target = zeroed_unless(&mut map_gradients[input.0], &mut reached[input.0], shapes[input.0]);
                for (plane, g) in target.chunks_exact_mut(pixels).zip(gradient) {
                    plane.iter_mut().for_each(|t| *t += *g / pixels as f32);
                }
            }
        }
    }
}

/// Adds to the gradient of a map, which holds nothing yet unless `reached`.
fn accumulate(target: &mut Vec<f32>, reached: &mut bool, gradient: &[f32]) {
    if std::mem::replace(reached, true) {
        pointwise::add(target, gradient);
    } else {
        target.clear();
        target.extend_from_slice(gradient);
    }
}

/// The gradient of a map to be added to.
fn zeroed_unless<'a>(target: &'a mut Vec<f32>, reached: &mut bool, shape: Shape) -> &'a mut [f32] {
    if !std::mem::replace(reached, true) {
        target.clear();
        target.resize(shape.len(), 0.0);
    }
    target
}

/// One convolution, backward.
struct Back<'a> {
    convolution: &'a Convolution,
    weight: &'a [f32],
    window: Window<'a>,
    /// What it multiplied.
    map: &'a [f32],
    /// By the sums.
    gradient: &'a [f32],
}

impl Back<'_> {
    fn bias(&self, by_bias: &mut [f32]) {
        let planes = self.gradient.chunks_exact(self.gradient.len() / by_bias.len());
        by_bias.iter_mut().zip(planes).for_each(|(b, plane)| *b += pointwise::sum(plane));
    }

    /// Adds the gradient by the weight; writes that by the input, or adds it where there is one already.
    fn parameters_and_input(
        &self,
        columns: &mut Columns,
        by_weight: &mut [f32],
        mut by_input: Option<(&mut [f32], bool)>,
    ) {
        let (window, groups) = (&self.window, self.convolution.geometry.group);
        let [rows, width] = window.output();
        let (pixels, taps, outputs) = (rows * width, window.taps(), self.convolution.outputs / groups);
        if let Some((by_input, false)) = &mut by_input
            && !window.is_identity()
        {
            by_input.fill(0.0);
        }
        for tile in window.tiles() {
            let (first, count) = (tile.start * width, tile.len() * width);
            for group in 0..groups {
                let own = group * outputs * taps..(group + 1) * outputs * taps;
                let elements = &self.gradient[group * outputs * pixels..][first..];
                let gradient = Rows { elements, rows: outputs, columns: count, stride: pixels };
                let windows = if window.is_identity() {
                    let elements = &self.map[group * taps * pixels..][first..];
                    Rows { elements, rows: taps, columns: count, stride: pixels }
                } else {
                    window.gather(self.map, group, tile.clone(), columns);
                    Rows::dense(&columns.elements, taps, count)
                };
                add_by_transposed(RowsMut::dense(&mut by_weight[own.clone()], outputs, taps), gradient, windows);
                let Some((by_input, add)) = &mut by_input else { continue };
                let weight = Rows::dense(&self.weight[own], outputs, taps);
                if window.is_identity() {
                    let elements = &mut by_input[group * taps * pixels..][first..];
                    let target = RowsMut { elements, rows: taps, columns: count, stride: pixels };
                    multiply_transposed(target, *add, weight, gradient);
                } else {
                    let target = RowsMut::dense(&mut columns.elements, taps, count);
                    multiply_transposed(target, false, weight, gradient);
                    window.scatter(columns, group, tile.clone(), by_input);
                }
            }
        }
    }
}
