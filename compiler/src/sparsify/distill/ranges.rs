//! The ranges of activations.

use super::augment::{Picture, fitted};
use super::{Error, Options};
use crate::sparsify::network::{InputRange, Network};
use rayon::prelude::*;

/// The `u8` grid of every convolution's input: the mean of the least and of the largest elements over the pictures, each
/// fitted whole into twice the training size.
///
/// # Errors
/// When the strides do not allow the size.
pub fn measure_ranges(network: &Network, pictures: &[Picture], options: &Options) -> Result<Vec<InputRange>, Error> {
    const MOST: usize = 64;
    let size = options.size * 2;
    let weights = network.weights();
    let workspace = network.workspace([size; 2])?;
    let pictures = &pictures[..pictures.len().min(MOST)];
    let extremes: Vec<Vec<[f32; 2]>> = pictures
        .par_iter()
        .map_init(
            || workspace.clone(),
            |workspace, picture| {
                let mut extremes = Vec::new();
                network.forward_observed(&weights, &fitted(picture, size), workspace, &mut |_, input, _| {
                    let extend = |[lo, hi]: [f32; 2], x: &f32| [lo.min(*x), hi.max(*x)];
                    extremes.push(input.iter().fold([f32::MAX, f32::MIN], extend));
                });
                extremes
            },
        )
        .collect();
    let mean = |index: usize, end: usize| extremes.iter().map(|e| e[index][end]).sum::<f32>() / extremes.len() as f32;
    let range = |index: usize| match network.input_of(index) == network.input() {
        true => InputRange::covering(0.0, 1.0),
        false => InputRange::covering(mean(index, 0), mean(index, 1)),
    };
    Ok((0..network.convolutions().len()).map(range).collect())
}
