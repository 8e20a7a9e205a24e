//! Running the network again and again, on one or several streams.

use std::io;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::super::tensors::{Memory, Random};
use super::super::timing::Latencies;
use crate::app::NewEngine;
use crate::app::failure::Failure;
use crate::app::threads::{cores_of_node, expect_startable};
use crate::detect::Timings;
use crate::engine::{Engine, Infer, ModelSpec, affinity};
use crate::simd::Isa;

/// Where threads may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pinning {
    /// Wherever the system puts them.
    None,
    /// Those of a stream on its share of the cores.
    Core,
    /// Those of a stream on one NUMA node.
    Numa,
}

/// Whether the network runs in plain Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference(pub bool);

/// What to run.
pub(crate) struct Plan {
    pub batch: usize,
    pub streams: usize,
    /// Shared out among the streams.
    pub cores: usize,
    /// Seconds.
    pub warmup: f64,
    /// Seconds.
    pub time: f64,
    pub pinning: Pinning,
    pub reference: Reference,
}

impl Plan {
    /// Threads of every stream: an even share of the cores, at least one.
    pub(crate) fn threads(&self) -> impl Iterator<Item = usize> {
        (0..self.streams)
            .map(|stream| (self.cores / self.streams + usize::from(stream < self.cores % self.streams)).max(1))
    }

    /// Threads of all streams together.
    fn all_threads(&self) -> usize {
        self.cores.max(self.streams)
    }

    fn no_threads(&self, error: &io::Error) -> Failure {
        let option = if self.streams > 1 { "-ncores or -nstreams" } else { "-ncores" };
        Failure::threads(self.all_threads(), error, option)
    }

    /// Refuses more threads than one process can sensibly have.
    pub(super) fn expect_startable(&self) -> Result<(), Failure> {
        expect_startable(self.all_threads()).map_err(|error| self.no_threads(&error))
    }

    /// The CPUs that every stream is kept on; `None` for all that the process may use.
    fn places(&self) -> Vec<Option<Vec<usize>>> {
        let allowed = affinity::allowed().unwrap_or_default();
        if self.pinning == Pinning::None || allowed.is_empty() {
            return vec![None; self.streams];
        }
        let mut first = 0;
        let share = |threads: usize| {
            let share: Vec<usize> = (first..first + threads).map(|at| allowed[at % allowed.len()]).collect();
            first += threads;
            let node = cores_of_node(share[0], &allowed);
            Some(if self.pinning == Pinning::Numa { node } else { share })
        };
        self.threads().map(share).collect()
    }
}

/// What was measured.
pub(crate) struct Measured {
    pub latencies: Latencies,
    /// From the first start to the last end.
    pub seconds: f64,
    /// Time of all runs by stage, when pictures are run.
    pub stages: Timings,
    /// Whether the system let threads be pinned.
    pub pinned: bool,
    /// What the networks ran with.
    pub isa: Isa,
}

impl Measured {
    pub(crate) fn items_per_sec(&self, batch: usize) -> f64 {
        (batch * self.latencies.count()) as f64 / self.seconds.max(1e-9)
    }
}

/// A measured run.
struct Span {
    start: Instant,
    end: Instant,
    stages: Timings,
}

/// One run of a stream; says how long its stages took.
pub(super) type Work<'a> = Box<dyn FnMut() -> Result<Timings, Failure> + Send + 'a>;

/// Measures runs of the network on random input.
pub(crate) fn measure(plan: &Plan, new: NewEngine, spec: &'static ModelSpec) -> Result<Measured, Failure> {
    plan.expect_startable()?;
    Memory::expect_room(spec, plan.batch, plan.streams, "-b")?;
    measure_streams(plan, new, &|mut engine| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let inputs: Vec<_> = spec.inputs.iter().map(|i| Memory::random(i, plan.batch, &mut random)).collect();
        let mut outputs: Vec<_> = spec.outputs.iter().map(|o| Memory::zeros(o, plan.batch)).collect();
        Ok(Box::new(move || {
            let inputs: Vec<_> = inputs.iter().map(Memory::tensor).collect();
            let mut outputs: Vec<_> = outputs.iter_mut().map(Memory::tensor_mut).collect();
            engine.run(&inputs, &mut outputs).map_err(Failure::new)?;
            Ok(Timings::default())
        }))
    })
}

/// Measures what `prepare` makes of every stream's engine.
pub(super) fn measure_streams<'a>(
    plan: &Plan,
    new: NewEngine,
    prepare: &dyn Fn(Box<dyn Infer>) -> Result<Work<'a>, Failure>,
) -> Result<Measured, Failure> {
    let no_threads = |error: io::Error| plan.no_threads(&error);
    let places = plan.places();
    let everywhere = affinity::allowed();
    let mut pinned = plan.pinning != Pinning::None;
    let mut isa = Isa::detect();
    let mut streams = Vec::new();
    for (threads, place) in plan.threads().zip(&places) {
        // The threads of an engine inherit where the one that starts them may run.
        pinned &= place.as_ref().is_some_and(|cpus| affinity::restrict(cpus));
        let engine = new(threads).and_then(|engine| referred(engine, threads, plan.reference));
        if let Some(everywhere) = everywhere.as_ref().filter(|_| place.is_some()) {
            affinity::restrict(everywhere);
        }
        let mut engine = engine.map_err(no_threads)?;
        isa = engine.isa();
        streams.push((prepare(engine)?, place));
    }
    // Where the streams wait for each other; `None` when not all of them could be started.
    let barrier = OnceLock::new();
    let spans = std::thread::scope(|scope| -> Result<Vec<Span>, Failure> {
        let workers = (streams.into_iter())
            .map(|(work, place)| {
                let barrier = &barrier;
                let stream = move || {
                    if let Some(cpus) = place {
                        affinity::restrict(cpus);
                    }
                    measure_stream(plan, work, barrier)
                };
                std::thread::Builder::new().spawn_scoped(scope, stream)
            })
            .collect::<io::Result<Vec<_>>>();
        barrier.get_or_init(|| workers.is_ok().then(|| Barrier::new(plan.streams)));
        let mut spans = Vec::new();
        for worker in workers.map_err(no_threads)? {
            spans.extend(worker.join().expect("a stream does not panic")?);
        }
        Ok(spans)
    })?;
    let first = spans.iter().map(|s| s.start).min().expect("every stream runs at least once");
    let last = spans.iter().map(|s| s.end).max().expect("every stream runs at least once");
    let latencies = spans.iter().map(|s| (s.end - s.start).as_secs_f64() * 1e3).collect();
    let mut stages = Timings::default();
    spans.iter().for_each(|span| stages += span.stages);
    Ok(Measured {
        latencies: Latencies::new(latencies).expect("every stream runs at least once"),
        seconds: (last - first).as_secs_f64(),
        stages,
        pinned,
        isa,
    })
}

/// The engine, or one of the same program in plain Rust.
fn referred(mut engine: Box<dyn Infer>, threads: usize, reference: Reference) -> io::Result<Box<dyn Infer>> {
    match engine.engine().filter(|_| reference.0).map(|engine| engine.program()) {
        Some(program) => Ok(Box::new(Engine::with_isa(program, threads, Isa::Portable)?)),
        None => Ok(engine),
    }
}

fn measure_stream(plan: &Plan, mut work: Work<'_>, barrier: &OnceLock<Option<Barrier>>) -> Result<Vec<Span>, Failure> {
    let warm_until = Instant::now() + Duration::from_secs_f64(plan.warmup);
    let mut warmed = work();
    while warmed.is_ok() && Instant::now() < warm_until {
        warmed = work();
    }
    let Some(barrier) = barrier.wait() else { return Ok(Vec::new()) };
    barrier.wait();
    warmed?;
    let end = Instant::now() + Duration::from_secs_f64(plan.time);
    let mut spans = Vec::new();
    while spans.is_empty() || Instant::now() < end {
        let start = Instant::now();
        let stages = work()?;
        spans.push(Span { start, end: Instant::now(), stages });
    }
    Ok(spans)
}
