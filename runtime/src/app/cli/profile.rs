//! `profile`: where the network spends its time.

mod export;
mod report;
mod table;

use std::time::{Duration, Instant};

use clap::Args;

use super::Context;
use super::runs::{RunArgs, positive};
use super::tensors::{Memory, Random};
use super::timing::Latencies;
use crate::app::failure::Failure;
use crate::engine::{Engine, ModelSpec};
use crate::simd::peak::Peak;
use report::Report;

/// Time every layer of the network on random input
///
/// One image is computed by all threads together, layer after layer, whatever the batch size; all of them end a layer
/// before any begins the next, which other runs do not wait for. Peak is the rate of multiply-accumulates that a loop over
/// registers reaches on this machine, times the threads; a layer's share of it counts nonzero weights only. A layer loses
/// what it takes at its fastest above its time at peak.
#[derive(Args, Debug)]
pub(super) struct ProfileArgs {
    #[command(flatten)]
    runs: RunArgs,

    /// Runs to measure instead of seconds, also `-bi`
    #[arg(long, alias = "bi", value_name = "N", value_parser = positive, conflicts_with = "time")]
    num_iterations: Option<usize>,

    /// Runs before measuring instead of seconds, also `-wi`
    #[arg(long, alias = "wi", value_name = "N", conflicts_with = "warmup_time")]
    num_warmup_iterations: Option<usize>,
}

pub(super) fn run(args: &ProfileArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let (spec, batch, cores) = (context.spec, args.runs.batch(context.spec), args.runs.cores());
    let mut engine = (context.new)(cores).map_err(|error| Failure::threads(cores, &error, "-ncores"))?;
    let engine = engine.engine().ok_or_else(|| Failure::new("this model has no layers that could be timed"))?;
    let peak = Peak::measure(engine.isa());
    let measured = measure(args, batch, engine, spec)?;
    let report = Report::new(engine, batch, &peak, &measured);
    let iterations = Latencies::new(measured.iterations.clone()).expect("at least one run is measured");
    if !args.runs.quiet && iterations.percentile(90.0) > 1.5 * iterations.min() {
        context.console.complain(format_args!(
            "notice: runs take {:.2} to {:.2} ms; this machine is busy, so Min(ms) tells more than Mean(ms)",
            iterations.min(),
            iterations.percentile(100.0)
        ));
    }
    write!(context.console.out, "{}", table::render(&report, &iterations))?;
    args.runs.export(|| export::json(&report, &measured.iterations, spec))
}

/// Times in milliseconds; at least one run.
struct Measured {
    /// Of every run.
    iterations: Vec<f64>,
    /// Sum over the runs and the least of them, for every layer.
    layers: Vec<(f64, f64)>,
}

fn measure(
    args: &ProfileArgs,
    batch: usize,
    engine: &mut Engine,
    spec: &'static ModelSpec,
) -> Result<Measured, Failure> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let inputs: Vec<_> = spec.inputs.iter().map(|i| Memory::random(i, batch, &mut random)).collect();
    let mut outputs: Vec<_> = spec.outputs.iter().map(|o| Memory::zeros(o, batch)).collect();
    let inputs: Vec<_> = inputs.iter().map(Memory::tensor).collect();
    let mut outputs: Vec<_> = outputs.iter_mut().map(Memory::tensor_mut).collect();
    let mut measured =
        Measured { iterations: Vec::new(), layers: vec![(0.0, f64::INFINITY); engine.program().layers.len()] };

    let warm = Until::new(args.num_warmup_iterations, args.runs.warmup_time);
    let mut warmed = 0;
    while !warm.reached(warmed) {
        engine.run_profiled(&inputs, &mut outputs).map_err(Failure::new)?;
        warmed += 1;
    }
    let end = Until::new(args.num_iterations, args.runs.time);
    while measured.iterations.is_empty() || !end.reached(measured.iterations.len()) {
        let start = Instant::now();
        let times = engine.run_profiled(&inputs, &mut outputs).map_err(Failure::new)?;
        measured.iterations.push(start.elapsed().as_secs_f64() * 1e3);
        for ((sum, min), time) in measured.layers.iter_mut().zip(times) {
            let time = time.as_secs_f64() * 1e3;
            *sum += time;
            *min = min.min(time);
        }
    }
    Ok(measured)
}

/// When to stop.
enum Until {
    Count(usize),
    Time(Instant),
}

impl Until {
    fn new(count: Option<usize>, seconds: f64) -> Self {
        count.map_or_else(|| Self::Time(Instant::now() + Duration::from_secs_f64(seconds)), Self::Count)
    }

    fn reached(&self, runs: usize) -> bool {
        match self {
            Self::Count(count) => runs >= *count,
            Self::Time(end) => Instant::now() >= *end,
        }
    }
}
