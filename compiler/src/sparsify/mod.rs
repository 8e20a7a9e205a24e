//! A dense ONNX detector made sparse, and integer where that is wanted, without its training set.
//!
//! The model is pruned layer by layer from second moments of its activations on some unlabelled images ([`prune`]), and
//! quantised from their ranges ([`quantize`]). The result is an ONNX model with other weights, written whole or not at
//! all; the input is never touched.

pub mod dense;
pub mod distill;
mod error;
pub mod images;
pub mod network;
mod product;
pub mod progress;
pub mod prune;
pub mod quantize;
pub mod recipe;
pub mod state;
pub mod train;
pub mod walk;

pub use error::Error;

use crate::onnx::rewrite::{NewConv, NewQuantization, rewrite};
use crate::unfinished;
use dense::Dense;
use progress::Progress;
use recipe::Recipe;
use sha2::{Digest, Sha256};
use state::State;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which weights go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Those that cost least once the others have made up for them.
    #[default]
    SecondOrder,
    /// The smallest; the others stay as they are. For comparison.
    Magnitude,
}

/// What a share of zeros is a share of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// The convolution weights.
    #[default]
    Weights,
    /// The multiply-accumulates of the convolutions: what decides about speed. Early layers, which are small and run on
    /// many pixels, get more zeros.
    Macs,
}

/// What to make of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Share of zeros.
    pub sparsity: f64,
    /// What it is a share of.
    pub measure: Measure,
    /// Consecutive input channels that are zero together; 1 for zeros anywhere.
    pub block: usize,
    /// Whether inputs and weights of convolutions become integers.
    pub quantize: bool,
    /// Which weights go.
    pub method: Method,
    /// A SparseML recipe that gives the sparsity of every layer.
    pub recipe: Option<PathBuf>,
    /// Height and width, for a model that leaves them open.
    pub imgsz: Option<[usize; 2]>,
    /// Most images that pruning and quantisation look at.
    pub images: usize,
    /// How long the dense network teaches the pruned one.
    pub distill: Option<Duration>,
    /// Part of the mean square of a layer's inputs that is added to each, so that no weight grows out of hand.
    pub damping: f64,
    /// Exponent of the factor by which every channel gets back the variance that pruning took: 0 for nothing, 1 for all.
    pub restored_variance: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sparsity: 0.65,
            measure: Measure::Weights,
            block: 1,
            quantize: false,
            method: Method::SecondOrder,
            recipe: None,
            imgsz: None,
            images: 64,
            distill: None,
            damping: 0.01,
            restored_variance: 0.0,
        }
    }
}

/// What became of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Every convolution, in order.
    pub layers: Vec<LayerReport>,
    /// Images that were looked at.
    pub images: usize,
    /// Whether earlier work was taken up.
    pub resumed: bool,
}

/// What became of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// Name of its weight.
    pub name: String,
    /// Extents of the weight.
    pub shape: [usize; 4],
    /// Zeros in the weight.
    pub zeros: usize,
    /// Output pixels, each of which meets every weight once.
    pub pixels: usize,
}

impl Report {
    /// Share of zeros among all convolution weights, or of multiply-accumulates by them.
    pub fn sparsity(&self, measure: Measure) -> f64 {
        let times = |layer: &LayerReport| match measure {
            Measure::Weights => 1,
            Measure::Macs => layer.pixels,
        };
        let all: usize = self.layers.iter().map(|l| l.shape.iter().product::<usize>() * times(l)).sum();
        self.layers.iter().map(|l| l.zeros * times(l)).sum::<usize>() as f64 / all.max(1) as f64
    }
}

/// Most images that training looks at.
const TAUGHT: usize = 2000;

/// Makes the model `dense` sparse, with the images in `calibrate`, and writes it to `output`.
///
/// # Errors
/// When options make no sense, a file cannot be read or written, or the model is not suitable.
pub fn run(
    dense: &Path,
    output: &Path,
    calibrate: &Path,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Report, Error> {
    let recipe = options.recipe.as_deref().map(Recipe::open).transpose()?;
    let mut options = options.clone();
    if let Some(block) = recipe.as_ref().and_then(|r| r.block) {
        options.block = block;
    }
    check(dense, output, &options)?;
    let dense = Dense::open(dense, options.imgsz)?;
    if !dense.layers.iter().any(|layer| layer.divides_into(options.block)) {
        return Err(Error::Options(format!(
            "--block {}: no layer of the model has a number of input channels that it divides",
            options.block
        )));
    }
    let paths = images::list(calibrate, options.images)?;
    let (images, images_hash) = images::read(&paths, dense.input)?;
    let mut state = State::open(output, &key(&dense, &options, recipe.as_ref(), &images_hash))?;
    let resumed = state.resumes();

    let sparsities = prune::sparsities(&dense, &images, &options, recipe.as_ref(), &mut state, progress)?;
    let pruned = prune::prune(&dense, &images, &sparsities, &options, &mut state, progress)?;
    let taught = images::list(calibrate, TAUGHT)?;
    let trained = train::distill(&dense, &taught, pruned, &options, &mut state, progress)?;
    let quantized = match (options.quantize, &trained.ranges) {
        (false, _) => None,
        (true, Some(ranges)) => Some(quantize::as_trained(&trained.parameters, ranges)),
        (true, None) => Some(quantize::quantize(&dense, &images, &trained.parameters, progress)?),
    };
    let convs: Vec<NewConv> = (0..dense.layers.len())
        .map(|l| {
            let layer = &dense.layers[l];
            let new = quantized.as_ref().map_or(&trained.parameters[l], |q| &q[l].parameters);
            NewConv {
                node: layer.name.clone(),
                output: layer.output.clone(),
                shape: layer.shape,
                weight: new.weight.clone(),
                bias: new.bias.clone(),
                quantization: quantized.as_ref().map(|q| NewQuantization {
                    input_scale: q[l].input_scale,
                    input_zero: q[l].input_zero,
                    weight_scale: q[l].weight_scale,
                    stored: q[l].stored.clone(),
                }),
            }
        })
        .collect();
    let bytes = rewrite(&dense.bytes, dense.path.parent(), &convs).map_err(Error::Rewrite)?;
    unfinished::write(output, &bytes).map_err(|source| Error::Write { path: output.to_path_buf(), source })?;
    state.finish();
    let layers = dense.layers.iter().zip(&convs).map(|(layer, conv)| LayerReport {
        name: layer.weight_name.clone(),
        shape: layer.shape,
        zeros: conv.weight.iter().filter(|w| **w == 0.0).count(),
        pixels: prune::output_size(&dense, layer).iter().product(),
    });
    Ok(Report { layers: layers.collect(), images: images.len(), resumed })
}

/// Refuses options that make no sense before anything is computed.
fn check(dense: &Path, output: &Path, options: &Options) -> Result<(), Error> {
    let fail = |reason: String| Err(Error::Options(reason));
    if !(0.0..1.0).contains(&options.sparsity) {
        return fail(format!("--sparsity {}: pass a share from 0 up to 1, such as 0.65", options.sparsity));
    }
    if !(1..=16).contains(&options.block) {
        return fail(format!("--block {}: pass 4, or another number from 1 to 16", options.block));
    }
    if !(options.damping > 0.0 && options.damping <= 1.0) {
        return fail(format!("--damping {}: pass a number above 0 and up to 1", options.damping));
    }
    if !(0.0..=1.0).contains(&options.restored_variance) {
        return fail(format!("--restore-variance {}: pass a number from 0 to 1", options.restored_variance));
    }
    if options.images == 0 {
        return fail("--images 0: at least one calibration image is needed".to_owned());
    }
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same(dense, output) {
        return fail(format!("`{}` is the dense model itself; pass another path with -o", output.display()));
    }
    if output.is_dir() {
        return fail(format!("cannot write `{}`: it is a folder; pass a file with -o", output.display()));
    }
    match folder(output) {
        folder if folder.is_dir() => Ok(()),
        folder => fail(format!("cannot write `{}`: there is no folder `{}`", output.display(), folder.display())),
    }
}

fn folder(output: &Path) -> &Path {
    output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Everything that results of single layers depend on.
fn key(dense: &Dense, options: &Options, recipe: Option<&Recipe>, images: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    hash.update(&dense.bytes);
    for layer in &dense.layers {
        layer.weight.iter().chain(&layer.bias).for_each(|x| hash.update(x.to_le_bytes()));
    }
    // Training and quantisation follow after everything that depends on the key alone.
    hash.update(format!(
        "{:?} {recipe:?}",
        Options { quantize: false, recipe: None, distill: None, ..options.clone() }
    ));
    hash.update(images);
    hash.finalize().to_vec()
}
