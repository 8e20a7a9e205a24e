//! Pruning without training: which weights go, and what the others become.
//!
//! 1. Every layer's cost of zeros is traced on the dense network ([`obs`]), and weighed by how much an error of that layer
//!    disturbs the network's outputs ([`sensitivity`]). The cheapest division of all zeros among the layers follows
//!    ([`allocation`]), unless a recipe gives one.
//! 2. Layer by layer, on inputs as the pruned layers before leave them, the weights are chosen that come closest to what the
//!    dense layer answers to dense inputs, biases included. So every layer also makes up for what the ones before
//!    it lost.

pub mod allocation;
pub mod cholesky;
pub mod cost;
pub mod layerwise;
pub mod moments;
pub mod obs;
pub mod sensitivity;

use super::dense::{Dense, Layer};
use super::progress::{Progress, Stage};
use super::recipe::Recipe;
use super::state::State;
use super::walk::{Parameters, Walk};
use super::{Error, Measure, Method, Options};
use crate::ir::Tensor;
use allocation::{Curve, allocate};
use layerwise::{Traced, by_magnitude, moments};
use std::sync::Arc;

/// Largest sparsity of a layer that is not given by a recipe.
const LIMIT: f64 = 0.95;

/// Images on which the sensitivity of layers is measured.
const PROBES: usize = 3;

/// Relative squared error of a layer at which its sensitivity is measured.
const PROBE_ERROR: f64 = 0.03;

/// The sparsity of every layer.
///
/// # Errors
/// When the model cannot be run, or the sparsity cannot be reached.
pub fn sparsities(
    dense: &Dense,
    images: &[Arc<Tensor>],
    options: &Options,
    recipe: Option<&Recipe>,
    state: &mut State,
    progress: &mut Progress<'_>,
) -> Result<Vec<f64>, Error> {
    if let Some(recipe) = recipe {
        return from_recipe(dense, options, recipe);
    }
    let limits: Vec<f64> =
        dense.layers.iter().map(|l| if l.divides_into(options.block) { LIMIT } else { 0.0 }).collect();
    let sizes: Vec<usize> = dense.layers.iter().map(|l| size(dense, l, options.measure)).collect();
    let all = sizes.iter().sum::<usize>() as f64;
    let most = sizes.iter().zip(&limits).map(|(&size, limit)| size as f64 * limit).sum::<f64>() / all;
    if options.sparsity > most {
        let why = match options.block {
            1 => "grouped convolutions stay dense".to_owned(),
            block => format!("layers whose input channels do not divide into blocks of {block} stay dense"),
        };
        return Err(Error::Options(format!(
            "--sparsity {} cannot be reached: at most {:.3} of the {} of this model can be zero ({why}, and no layer gets \
             more than {LIMIT})",
            options.sparsity,
            (most * 1000.0).floor() / 1000.0,
            match options.measure {
                Measure::Weights => "convolution weights",
                Measure::Macs => "multiply-accumulates",
            }
        )));
    }
    if options.method == Method::Magnitude {
        return Ok(vec![options.sparsity; dense.layers.len()]);
    }
    if let Some(known) = state.sparsities(dense.layers.len()) {
        return Ok(known);
    }
    let costs = costs(dense, images, options, &limits, state, progress)?;
    let curves = costs.into_iter().zip(sizes).zip(limits);
    let curves: Vec<Curve> = curves.map(|((cost, size), limit)| Curve { size, cost, limit }).collect();
    let sparsities = allocate(&curves, options.sparsity * all);
    state.put_sparsities(&sparsities)?;
    Ok(sparsities)
}

fn from_recipe(dense: &Dense, options: &Options, recipe: &Recipe) -> Result<Vec<f64>, Error> {
    let names: Vec<&str> = dense.layers.iter().map(|l| l.weight_name.as_str()).collect();
    let unknown = recipe.unknown(&names);
    if let [first, ..] = unknown[..] {
        let reason = format!(
            "the recipe names {} weights that the model does not have, the first is `{first}`; the model has names such as \
             `{}`",
            unknown.len(),
            names.first().unwrap_or(&"")
        );
        return Err(Error::Unsuitable { path: dense.path.clone(), reason });
    }
    let sparsity = |layer: &Layer| match recipe.sparsity(&layer.weight_name) {
        Some(sparsity) if layer.divides_into(options.block) => sparsity,
        _ => 0.0,
    };
    Ok(dense.layers.iter().map(sparsity).collect())
}

/// Weights of a layer, or its multiply-accumulates.
fn size(dense: &Dense, layer: &Layer, measure: Measure) -> usize {
    match measure {
        Measure::Weights => layer.weights(),
        Measure::Macs => layer.weights() * output_size(dense, layer).iter().product::<usize>(),
    }
}

/// What zeros in each layer cost the network, at every [step](allocation::STEPS).
fn costs(
    dense: &Dense,
    images: &[Arc<Tensor>],
    options: &Options,
    limits: &[f64],
    state: &mut State,
    progress: &mut Progress<'_>,
) -> Result<Vec<Vec<f64>>, Error> {
    let graph = &dense.graph;
    let mut walk = Walk::new(graph, images);
    let probes: Vec<Arc<Tensor>> = images.iter().take(PROBES).cloned().collect();
    let mut probe = Walk::new(graph, &probes);
    let mut undisturbed = probe.clone();
    for n in 0..graph.nodes.len() {
        undisturbed.step(n).map_err(Error::Run)?;
    }
    let expected: Vec<Vec<Arc<Tensor>>> = graph.outputs.iter().map(|&id| undisturbed.value(id).to_vec()).collect();
    drop(undisturbed);

    let mut costs = Vec::new();
    let mut layers = dense.layers.iter().zip(limits).peekable();
    for n in 0..graph.nodes.len() {
        if let Some((layer, &limit)) = layers.next_if(|(layer, _)| layer.node == n) {
            progress.at(Stage::Sensitivity, costs.len(), dense.layers.len(), &layer.weight_name);
            let known = state.cost(layer).filter(|cost| cost.len() == allocation::STEPS + 1);
            let cost = match known {
                Some(cost) => cost,
                None if limit == 0.0 => vec![0.0; allocation::STEPS + 1],
                None => {
                    let input = walk.input_of(n);
                    let moments = moments(layer, input, input, output_size(dense, layer));
                    let (disturbed, error) = cost::disturbed(layer, &moments, PROBE_ERROR);
                    let disturbance = sensitivity::disturbance(&probe, graph, n, &disturbed, &expected);
                    let factor = disturbance.map_err(Error::Run)? / error.max(1e-30);
                    let error = cost::errors(layer, moments, options.block, options.damping)?;
                    let cost: Vec<f64> = error.iter().map(|error| error * factor).collect();
                    state.put_cost(layer, &cost)?;
                    cost
                }
            };
            costs.push(cost);
        }
        walk.step(n).map_err(Error::Run)?;
        probe.step(n).map_err(Error::Run)?;
    }
    Ok(costs)
}

/// Height and width of what a layer makes.
pub fn output_size(dense: &Dense, layer: &Layer) -> [usize; 2] {
    let shape = &dense.graph.ty(dense.graph.nodes[layer.node].outputs[0]).shape;
    [shape[2], shape[3]]
}

/// Prunes every layer to its sparsity; what `state` knows is not computed again.
///
/// # Errors
/// When the model cannot be run, or what was done cannot be saved.
pub fn prune(
    dense: &Dense,
    images: &[Arc<Tensor>],
    sparsities: &[f64],
    options: &Options,
    state: &mut State,
    progress: &mut Progress<'_>,
) -> Result<Vec<Parameters>, Error> {
    if options.method == Method::Magnitude {
        let prune = |(layer, &sparsity): (&Layer, &f64)| match layer.divides_into(options.block) {
            true => by_magnitude(layer, sparsity, options.block),
            false => Parameters { weight: layer.weight.clone(), bias: layer.bias.clone() },
        };
        return Ok(dense.layers.iter().zip(sparsities).map(prune).collect());
    }
    let known: Vec<Option<Parameters>> = dense.layers.iter().map(|l| state.layer("prune", l)).collect();
    if known.iter().all(Option::is_some) {
        return Ok(known.into_iter().flatten().collect());
    }
    let graph = &dense.graph;
    let mut teacher = Walk::new(graph, images);
    let mut student = Walk::new(graph, images);
    let mut pruned = Vec::new();
    for n in 0..graph.nodes.len() {
        let layer = dense.layers.get(pruned.len()).filter(|layer| layer.node == n);
        if let Some(layer) = layer {
            let at = pruned.len();
            progress.at(Stage::Prune, at, dense.layers.len(), &layer.weight_name);
            let parameters = match &known[at] {
                Some(parameters) => parameters.clone(),
                None if layer.geometry.group == 1 => {
                    let out = output_size(dense, layer);
                    let moments = moments(layer, teacher.input_of(n), student.input_of(n), out);
                    let block = if layer.divides_into(options.block) { options.block } else { 1 };
                    Traced::new(layer, moments, block, options.damping)?
                        .pruned(sparsities[at], options.restored_variance)
                }
                None => Parameters { weight: layer.weight.clone(), bias: layer.bias.clone() },
            };
            if known[at].is_none() {
                state.put_layer("prune", layer, &parameters)?;
            }
            student.step_as(n, &parameters).map_err(Error::Run)?;
            pruned.push(parameters);
        } else {
            student.step(n).map_err(Error::Run)?;
        }
        teacher.step(n).map_err(Error::Run)?;
    }
    Ok(pruned)
}
