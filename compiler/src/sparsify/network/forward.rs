//! One image through the network.

use super::columns::{Columns, Window};
use super::convolution::Weights;
use super::{Convolution, MapId, Network, Shape, Step, Workspace, pointwise, pool};
use crate::ir::{Activation, Residual};
use crate::sparsify::product::{Rows, RowsMut, multiply};

impl Network {
    /// Computes every map of `workspace` from `image`.
    ///
    /// # Panics
    /// When the image has not the size of the workspace.
    pub fn forward(&self, weights: &Weights, image: &[f32], workspace: &mut Workspace) {
        self.forward_observed(weights, image, workspace, &mut |_, _, _| ());
    }

    /// [`Network::forward`], showing `observe` the index, the input and the input's shape of every convolution; the input
    /// as it is before quantisation is simulated.
    ///
    /// # Panics
    /// When the image has not the size of the workspace.
    pub fn forward_observed(
        &self,
        weights: &Weights,
        image: &[f32],
        workspace: &mut Workspace,
        observe: &mut dyn FnMut(usize, &[f32], Shape),
    ) {
        workspace.maps[self.input.0].copy_from_slice(image);
        for step in &self.steps {
            let output = step.output();
            let mut result = std::mem::take(&mut workspace.maps[output.0]);
            self.run_step(step, weights, workspace, &mut result, observe);
            workspace.maps[output.0] = result;
        }
    }

    fn run_step(
        &self,
        step: &Step,
        weights: &Weights,
        workspace: &mut Workspace,
        result: &mut [f32],
        observe: &mut dyn FnMut(usize, &[f32], Shape),
    ) {
        let Workspace { shapes, maps, slopes, rounded, columns, training, .. } = workspace;
        match step {
            Step::Convolve { convolution, input, residual, .. } => {
                let (index, shape) = (*convolution, shapes[input.0]);
                let convolution = &self.convolutions[index];
                let map = &maps[input.0];
                observe(index, map, shape);
                let map = match convolution.input_range {
                    Some(range) => {
                        rounded[index].resize(map.len(), 0.0);
                        range.round(map, &mut rounded[index]);
                        &rounded[index]
                    }
                    None => map,
                };
                let slope = &mut slopes[index];
                if *training {
                    slope.resize(result.len(), 0.0);
                }
                let residual = residual.map(|(map, place)| (maps[map.0].as_slice(), place));
                convolve(convolution, &weights.effective[index], (map, shape), columns, result, residual, slope);
            }
            Step::Activate { activation, input, .. } => {
                result.copy_from_slice(&maps[input.0]);
                pointwise::activate(*activation, result, &mut []);
            }
            Step::Add { inputs: [a, b], .. } => {
                let sums = maps[a.0].iter().zip(&maps[b.0]).map(|(a, b)| a + b);
                result.iter_mut().zip(sums).for_each(|(r, sum)| *r = sum);
            }
            Step::Concat { inputs, .. } => {
                let mut rest = result;
                for MapId(input) in inputs {
                    let (here, after) = rest.split_at_mut(maps[*input].len());
                    here.copy_from_slice(&maps[*input]);
                    rest = after;
                }
            }
            Step::MaxPool { pool, input, output } => {
                pool::max(pool, (&maps[input.0], shapes[input.0]), (result, shapes[output.0]));
            }
            Step::Enlarge { scale, input, .. } => pool::enlarge(*scale, (&maps[input.0], shapes[input.0]), result),
            Step::GlobalAverage { input, .. } => {
                let pixels = shapes[input.0].pixels();
                let means = maps[input.0].chunks_exact(pixels).map(|plane| plane.iter().sum::<f32>() / pixels as f32);
                result.iter_mut().zip(means).for_each(|(r, mean)| *r = mean);
            }
        }
    }
}

/// A convolution with its epilogue; notes the derivative of the activation where `slope` has room.
fn convolve(
    convolution: &Convolution,
    weight: &[f32],
    (map, shape): (&[f32], Shape),
    columns: &mut Columns,
    result: &mut [f32],
    residual: Option<(&[f32], Residual)>,
    slope: &mut [f32],
) {
    let window = Window::new(&convolution.geometry, shape);
    let [rows, width] = window.output();
    let (pixels, taps, groups) = (rows * width, window.taps(), convolution.geometry.group);
    let outputs = convolution.outputs / groups;
    for tile in window.tiles() {
        let (first, count) = (tile.start * width, tile.len() * width);
        for group in 0..groups {
            let channel = group * outputs;
            let weight = Rows::dense(&weight[channel * taps..][..outputs * taps], outputs, taps);
            let windows = if window.is_identity() {
                let elements = &map[group * taps * pixels..][first..];
                Rows { elements, rows: taps, columns: count, stride: pixels }
            } else {
                window.gather(map, group, tile.clone(), columns);
                Rows::dense(&columns.elements, taps, count)
            };
            let elements = &mut result[channel * pixels..][first..];
            multiply(RowsMut { elements, rows: outputs, columns: count, stride: pixels }, weight, windows);
        }
        for channel in 0..convolution.outputs {
            let at = channel * pixels + first..channel * pixels + first + count;
            let slope = if slope.is_empty() { &mut [][..] } else { &mut slope[at.clone()] };
            let residual = residual.map(|(map, place)| (&map[at.clone()], place));
            epilogue(convolution.activation, convolution.bias[channel], residual, &mut result[at], slope);
        }
    }
}

fn epilogue(
    activation: Activation,
    bias: f32,
    residual: Option<(&[f32], Residual)>,
    row: &mut [f32],
    slope: &mut [f32],
) {
    row.iter_mut().for_each(|x| *x += bias);
    if let Some((residual, Residual::BeforeActivation)) = residual {
        row.iter_mut().zip(residual).for_each(|(x, r)| *x += *r);
    }
    pointwise::activate(activation, row, slope);
    if let Some((residual, Residual::AfterActivation)) = residual {
        row.iter_mut().zip(residual).for_each(|(x, r)| *x += *r);
    }
}
