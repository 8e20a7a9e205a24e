//! `benchmark`: how fast the network runs.

use std::io;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::runs::{RunArgs, positive};
use super::tensors::{Memory, Random, batched_shape};
use super::timing::Latencies;
use crate::app::NewEngine;
use crate::app::failure::Failure;
use crate::app::threads::{cpu_model, expect_startable};
use crate::engine::{Infer, ModelSpec, RunError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// One batch after the other, every core on each: latency.
    Sync,
    /// Several streams at a time, each with its share of the cores: throughput.
    Async,
    /// As async.
    Elastic,
}

/// Time the network on random input
///
/// The input is made once and reused; reading images and suppressing boxes is not part of it. Throughput is
/// batch size times iterations, divided by the time from the first start to the last end.
#[derive(Args, Debug)]
pub(super) struct BenchmarkArgs {
    #[command(flatten)]
    runs: RunArgs,

    /// How runs are issued
    #[arg(short, long, default_value = "sync")]
    scenario: Scenario,

    /// Streams of the async and elastic scenarios, also `-nstreams` [default: half the cores]
    #[arg(long, alias = "nstreams", value_name = "N", value_parser = positive)]
    num_streams: Option<usize>,

    /// Accepted for scripts of other tools, also `-pin`; threads are not pinned
    #[arg(long, alias = "pin", value_name = "WHAT", value_parser = ["none", "core", "numa"])]
    thread_pinning: Option<String>,
}

pub(super) fn run(args: &BenchmarkArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let spec = context.spec;
    let batch = args.runs.batch(spec);
    let cores = args.runs.cores();
    let mut notice = |text: String| {
        if !args.runs.quiet {
            context.console.complain(format_args!("notice: {text}"));
        }
    };
    let streams = match (args.scenario, args.num_streams) {
        (Scenario::Sync, Some(n)) if n > 1 => {
            notice(format!("the sync scenario has one stream; -nstreams {n} is ignored"));
            1
        }
        (Scenario::Sync, _) => 1,
        (_, n) => n.unwrap_or((cores / 2).max(1)),
    };
    if args.thread_pinning.as_deref().is_some_and(|what| what != "none") {
        notice("threads are not pinned".into());
    }
    let plan = Plan { batch, streams, cores, warmup: args.runs.warmup_time, time: args.runs.time };
    let measured = measure(&plan, context.new, spec)?;

    let name = args.scenario.to_possible_value().expect("every scenario has a name").get_name().to_owned();
    let out = &mut context.console.out;
    writeln!(out, "Original Model Path: {}", spec.source)?;
    writeln!(out, "Batch Size: {batch}")?;
    writeln!(out, "Scenario: {name}")?;
    writeln!(out, "Throughput (items/sec): {:.4}", measured.items_per_sec(batch))?;
    writeln!(out, "Latency Mean (ms/batch): {:.4}", measured.latencies.mean())?;
    writeln!(out, "Latency Median (ms/batch): {:.4}", measured.latencies.percentile(50.0))?;
    writeln!(out, "Latency Std (ms/batch): {:.4}", measured.latencies.std())?;
    writeln!(out, "Iterations: {}", measured.latencies.count())?;
    args.runs.export(|| export(args.scenario, spec, &plan, &measured))
}

/// What to run.
struct Plan {
    batch: usize,
    streams: usize,
    /// Shared out among the streams.
    cores: usize,
    /// Seconds.
    warmup: f64,
    /// Seconds.
    time: f64,
}

impl Plan {
    /// Threads of every stream: an even share of the cores, at least one.
    fn threads(&self) -> impl Iterator<Item = usize> {
        (0..self.streams)
            .map(|stream| (self.cores / self.streams + usize::from(stream < self.cores % self.streams)).max(1))
    }

    /// Threads of all streams together.
    fn all_threads(&self) -> usize {
        self.cores.max(self.streams)
    }
}

struct Measured {
    latencies: Latencies,
    /// From the first start to the last end.
    seconds: f64,
}

impl Measured {
    fn items_per_sec(&self, batch: usize) -> f64 {
        (batch * self.latencies.count()) as f64 / self.seconds.max(1e-9)
    }
}

/// Start and end of every measured run of one stream.
type Spans = Vec<(Instant, Instant)>;

fn measure(plan: &Plan, new: NewEngine, spec: &'static ModelSpec) -> Result<Measured, Failure> {
    let no_threads = |error: io::Error| {
        let option = if plan.streams > 1 { "-ncores or -nstreams" } else { "-ncores" };
        Failure::threads(plan.all_threads(), &error, option)
    };
    expect_startable(plan.all_threads()).map_err(no_threads)?;
    Memory::expect_room(spec, plan.batch, plan.streams, "-b")?;
    let engines = plan.threads().map(new).collect::<io::Result<Vec<_>>>().map_err(no_threads)?;
    // Where the streams wait for each other; `None` when not all of them could be started.
    let barrier = OnceLock::new();
    let spans = std::thread::scope(|scope| -> Result<Spans, Failure> {
        let workers = (engines.into_iter())
            .map(|engine| {
                let stream = || measure_stream(plan, engine, spec, &barrier);
                std::thread::Builder::new().spawn_scoped(scope, stream)
            })
            .collect::<io::Result<Vec<_>>>();
        barrier.get_or_init(|| workers.is_ok().then(|| Barrier::new(plan.streams)));
        let streams = workers.map_err(no_threads)?.into_iter().map(|w| w.join().expect("a stream does not panic"));
        Ok(streams.collect::<Result<Vec<_>, _>>().map_err(Failure::new)?.concat())
    })?;
    let first = spans.iter().map(|s| s.0).min().expect("every stream runs at least once");
    let last = spans.iter().map(|s| s.1).max().expect("every stream runs at least once");
    let latencies = spans.iter().map(|(start, end)| (*end - *start).as_secs_f64() * 1e3).collect();
    Ok(Measured {
        latencies: Latencies::new(latencies).expect("every stream runs at least once"),
        seconds: (last - first).as_secs_f64(),
    })
}

fn measure_stream(
    plan: &Plan,
    mut engine: Box<dyn Infer>,
    spec: &ModelSpec,
    barrier: &OnceLock<Option<Barrier>>,
) -> Result<Spans, RunError> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let inputs: Vec<_> = spec.inputs.iter().map(|i| Memory::random(i, plan.batch, &mut random)).collect();
    let mut outputs: Vec<_> = spec.outputs.iter().map(|o| Memory::zeros(o, plan.batch)).collect();
    let inputs: Vec<_> = inputs.iter().map(Memory::tensor).collect();
    let mut outputs: Vec<_> = outputs.iter_mut().map(Memory::tensor_mut).collect();

    let warm_until = Instant::now() + Duration::from_secs_f64(plan.warmup);
    let mut warmed = engine.run(&inputs, &mut outputs);
    while warmed.is_ok() && Instant::now() < warm_until {
        warmed = engine.run(&inputs, &mut outputs);
    }
    let Some(barrier) = barrier.wait() else { return Ok(Spans::new()) };
    barrier.wait();
    warmed?;
    let end = Instant::now() + Duration::from_secs_f64(plan.time);
    let mut spans = Spans::new();
    while spans.is_empty() || Instant::now() < end {
        let started = Instant::now();
        engine.run(&inputs, &mut outputs)?;
        spans.push((started, Instant::now()));
    }
    Ok(spans)
}

fn export(scenario: Scenario, spec: &ModelSpec, plan: &Plan, measured: &Measured) -> Value {
    let (scenario, scheduler) = match scenario {
        Scenario::Sync => ("singlestream", "single_stream"),
        Scenario::Async => ("multistream", "multi_stream"),
        Scenario::Elastic => ("elastic", "elastic"),
    };
    let shapes: Vec<_> = spec.inputs.iter().map(|input| batched_shape(input, plan.batch)).collect();
    let program = std::env::current_exe().unwrap_or_default();
    json!({
        "engine": "peristyle",
        "version": spec.compiler,
        "orig_model_path": spec.source,
        "model_path": program.to_string_lossy(),
        "model_sha256": spec.sha256,
        "batch_size": plan.batch,
        "input_shapes": shapes,
        "num_cores": plan.cores,
        "scenario": scenario,
        "scheduler": scheduler,
        "seconds_to_run": plan.time,
        "num_streams": plan.streams,
        "benchmark_result": measured.latencies.to_json(scenario, measured.items_per_sec(plan.batch), measured.seconds),
        "fraction_of_supported_ops": 1.0,
        "cpu": cpu_model(),
        "peak_rss_bytes": peak_rss(),
        "binary_bytes": std::fs::metadata(&program).ok().map(|m| m.len()),
    })
}

/// Most memory that the process held at a time, where the system tells.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
