//! Convolutions and their parameters.

use super::Network;
use super::quantise::{InputRange, quantised_weight};
use crate::ir::{Activation, ConvGeometry};

/// A convolution with what it learns.
#[derive(Clone, Debug)]
pub struct Convolution {
    /// Name of the node in the source model.
    pub name: String,
    /// Name of the weight in the source model.
    pub weight_name: String,
    /// Name of the bias in the source model; a name of the importer's when the model has none.
    pub bias_name: String,
    /// Window geometry.
    pub geometry: ConvGeometry,
    /// Applied to the biased sum.
    pub activation: Activation,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// `[outputs, inputs / group, kernel height, kernel width]`, row-major.
    pub weight: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
    /// Which weights may be other than zero; all of them without a mask. See [`Convolution::set_mask`].
    mask: Option<Vec<bool>>,
    /// The range to which the input is rounded, when quantisation is simulated.
    pub input_range: Option<InputRange>,
    /// Whether the weight is rounded as quantisation would.
    pub quantise_weight: bool,
}

impl Convolution {
    pub(super) fn new(
        name: String,
        weight: (String, Vec<f32>),
        bias: (String, Vec<f32>),
        geometry: ConvGeometry,
    ) -> Self {
        let per_output = geometry.kernel[0] * geometry.kernel[1];
        let outputs = bias.1.len();
        Convolution {
            name,
            inputs: weight.1.len() / (outputs * per_output) * geometry.group,
            outputs,
            weight_name: weight.0,
            bias_name: bias.0,
            weight: weight.1,
            bias: bias.1,
            geometry,
            activation: Activation::Identity,
            mask: None,
            input_range: None,
            quantise_weight: false,
        }
    }

    /// Weights of one output: input channels of its group times the window.
    pub fn taps(&self) -> usize {
        self.weight.len() / self.outputs
    }

    /// Which weights may be other than zero.
    pub fn mask(&self) -> Option<&[bool]> {
        self.mask.as_deref()
    }

    /// Holds the weights where `mask` is `false` at zero from now on.
    ///
    /// # Panics
    /// When the mask has not one entry per weight.
    pub fn set_mask(&mut self, mask: Option<Vec<bool>>) {
        if let Some(mask) = &mask {
            assert_eq!(mask.len(), self.weight.len(), "one entry per weight");
            self.weight.iter_mut().zip(mask).filter(|(_, kept)| !**kept).for_each(|(w, _)| *w = 0.0);
        }
        self.mask = mask;
    }

    /// What an optimiser changes, and where it must not.
    pub fn parameters_mut(&mut self) -> Parameters<'_> {
        Parameters { weight: &mut self.weight, bias: &mut self.bias, mask: self.mask.as_deref() }
    }

    /// Makes the present zeros of the weight its mask.
    pub fn hold_zeros(&mut self) {
        self.mask = Some(self.weight.iter().map(|&w| w != 0.0).collect());
    }

    /// Share of the weights that are zero.
    pub fn sparsity(&self) -> f64 {
        self.weight.iter().filter(|&&w| w == 0.0).count() as f64 / self.weight.len() as f64
    }
}

/// The parameters of a [`Convolution`].
#[derive(Debug)]
pub struct Parameters<'a> {
    /// [`Convolution::weight`].
    pub weight: &'a mut [f32],
    /// [`Convolution::bias`].
    pub bias: &'a mut [f32],
    /// [`Convolution::mask`].
    pub mask: Option<&'a [bool]>,
}

/// The weights of all convolutions as they multiply: rounded where quantisation is simulated.
#[derive(Clone, Debug)]
pub struct Weights {
    pub(super) effective: Vec<Vec<f32>>,
}

impl Network {
    /// The weights with which [`Network::forward`] runs, as the parameters are now.
    pub fn weights(&self) -> Weights {
        let effective = |c: &Convolution| match c.quantise_weight {
            true => quantised_weight(&c.weight),
            false => c.weight.clone(),
        };
        Weights { effective: self.convolutions.iter().map(effective).collect() }
    }
}
