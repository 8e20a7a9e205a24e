//! Distillation between pruning and quantisation: the dense network teaches the pruned one.

use super::dense::Dense;
use super::distill::{self, Budget, Picture};
use super::network::{InputRange, Network};
use super::progress::{Progress, Stage};
use super::state::State;
use super::walk::Parameters;
use super::{Error, Options};
use peristyle_runtime::picture::{self, Limits};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Share of the time after which quantisation is simulated.
const QUANTISE_FROM: f32 = 0.7;

/// Time after which what was learnt is saved again.
const SAVED_EVERY: Duration = Duration::from_secs(60);

/// A network after training.
pub struct Trained {
    /// Weights and biases of every layer.
    pub parameters: Vec<Parameters>,
    /// The ranges of inputs that it was trained with, when quantisation was simulated.
    pub ranges: Option<Vec<InputRange>>,
}

/// Trains the network with the parameters `pruned` for the time in `options`, on the images in `paths`; zeros stay.
///
/// # Errors
/// When the network cannot be trained, an image cannot be read, or what was learnt cannot be saved.
pub fn distill(
    dense: &Dense,
    paths: &[PathBuf],
    pruned: Vec<Parameters>,
    options: &Options,
    state: &mut State,
    progress: &mut Progress<'_>,
) -> Result<Trained, Error> {
    let Some(time) = options.distill else { return Ok(Trained { parameters: pruned, ranges: None }) };
    let stage = format!("distill {time:?} {}", options.quantize);
    let teacher = Network::new(&dense.graph).map_err(Error::Network)?;
    let mut student = teacher.clone();
    set(dense, &mut student, &pruned)?;
    student.convolutions_mut().iter_mut().for_each(|convolution| convolution.hold_zeros());
    let mut earlier = 0.0;
    if let Some((spent, learnt)) = state.learnt(&stage, &dense.layers) {
        set(dense, &mut student, &learnt)?;
        earlier = spent.min(1.0);
    }
    let pictures: Vec<Picture> = paths.par_iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let mut training = distill::Options::new(Budget::Time(time.mul_f64(1.0 - earlier)));
    training.seed = 1 + (earlier * 1e6) as u64;
    if options.quantize {
        training.quantise_from = Some(((QUANTISE_FROM - earlier as f32) / (1.0 - earlier as f32).max(1e-3)).max(0.0));
    }
    let total = time.as_secs() as usize;
    let mut saved = Instant::now();
    let mut failed = None;
    let mut show = |at: &distill::Progress, network: &Network| {
        let spent = earlier + (1.0 - earlier) * f64::from(at.spent);
        let what = format!(
            "detections {:.3}, features {:.3}{}",
            at.detections,
            at.features,
            if at.quantised { ", as integers" } else { "" }
        );
        progress.at(Stage::Distill, (spent * total as f64) as usize, total, &what);
        if saved.elapsed() > SAVED_EVERY {
            saved = Instant::now();
            if let Err(error) = parameters(dense, network).and_then(|p| state.put_learnt(&stage, spent, &p)) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    };
    if earlier < 1.0 {
        distill::run(&teacher, &mut student, &pictures, &training, &mut show).map_err(Error::Distill)?;
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let parameters = parameters(dense, &student)?;
    let ranges = dense.layers.iter().map(|layer| {
        let convolution = student.convolutions().iter().find(|c| c.weight_name == layer.weight_name);
        convolution.and_then(|c| c.input_range)
    });
    Ok(Trained { parameters, ranges: ranges.collect() })
}

/// An image as training wants it.
fn read(path: &Path) -> Result<Picture, Error> {
    let fail = |reason: String| Error::Images { path: path.to_path_buf(), reason };
    let picture = picture::Picture::open(path, &Limits::default()).map_err(|error| fail(error.to_string()))?;
    Ok(Picture { width: picture.width(), height: picture.height(), rgb: picture.pixels().to_vec() })
}

/// Gives a network the parameters of all layers.
fn set(dense: &Dense, network: &mut Network, parameters: &[Parameters]) -> Result<(), Error> {
    for (layer, parameters) in dense.layers.iter().zip(parameters) {
        match network.convolution_mut(&layer.weight_name) {
            Some(convolution) if convolution.weight.len() == parameters.weight.len() => {
                convolution.weight.clone_from(&parameters.weight);
                convolution.bias.clone_from(&parameters.bias);
            }
            _ => return Err(not_trainable(&layer.name)),
        }
    }
    Ok(())
}

/// The parameters of all layers of a network.
fn parameters(dense: &Dense, network: &Network) -> Result<Vec<Parameters>, Error> {
    let of = |layer: &super::dense::Layer| {
        let convolution = network.convolutions().iter().find(|c| c.weight_name == layer.weight_name);
        let convolution = convolution.ok_or_else(|| not_trainable(&layer.name))?;
        Ok(Parameters { weight: convolution.weight.clone(), bias: convolution.bias.clone() })
    };
    dense.layers.iter().map(of).collect()
}

fn not_trainable(layer: &str) -> Error {
    Error::Layer { layer: layer.to_owned(), reason: "it cannot be trained; leave out --distill".to_owned() }
}
