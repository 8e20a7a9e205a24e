//! `benchmark`: how fast the network runs.

mod export;
pub(super) mod measure;
mod pipeline;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Context;
use super::runs::{RunArgs, positive};
use crate::app::failure::Failure;
use crate::engine::ModelSpec;
use measure::{Pinning, Plan, Reference, measure};
use pipeline::PipelineArgs;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// One batch after the other, every core on each: latency.
    #[value(aliases = ["single", "singlestream"])]
    Sync,
    /// Several streams at a time, each with its share of the cores: throughput.
    #[value(aliases = ["multi", "multistream"])]
    Async,
    /// As async.
    Elastic,
}

impl Scenario {
    /// The word for it on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().expect("every scenario has a name").get_name().to_owned()
    }

    /// Streams when `wanted` are asked for, of this many cores.
    pub(super) fn streams(self, wanted: Option<usize>, cores: usize) -> usize {
        match self {
            Self::Sync => 1,
            Self::Async | Self::Elastic => wanted.unwrap_or((cores / 2).max(1)),
        }
    }
}

/// Time the network on random input
///
/// The input is made once and reused; reading images and suppressing boxes is not part of it, unless --pipeline asks
/// for all of it. Throughput is batch size times iterations, divided by the time from the first start to the last end.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR benchmark                                   latency: one image at a time on all cores
  DETECTOR benchmark -s async -b 32 -nstreams 2        throughput of two streams
  DETECTOR benchmark --pipeline --data photos/         with letterbox and suppression, on photographs
  DETECTOR benchmark -q -x result.json --hard-fail 30  exit code 1 below 30 items/sec

Exit codes: 0 measured, 1 an error or fewer items/sec than --hard-fail, 2 wrong use.")]
pub(super) struct BenchmarkArgs {
    /// Accepted for scripts of other tools; the model is compiled in
    #[arg(value_name = "MODEL", hide = true)]
    model: Option<PathBuf>,

    #[command(flatten)]
    runs: RunArgs,

    /// How runs are issued
    #[arg(short, long, default_value = "sync")]
    scenario: Scenario,

    /// Streams of the async and elastic scenarios, also `-nstreams` [default: half the cores]
    #[arg(long, alias = "nstreams", value_name = "N", value_parser = positive)]
    num_streams: Option<usize>,

    /// Keep every stream on its share of the cores, or on those of one NUMA node, also `-pin`
    #[arg(long, alias = "pin", value_name = "WHAT", default_value = "none")]
    thread_pinning: Pinning,

    /// Shape of the input, also `-shapes`: a check that the model was compiled for it, as in "[1,3,640,640]"
    #[arg(short, long, alias = "shapes", value_name = "SHAPES")]
    input_shapes: Option<String>,

    /// `peristyle`, or `reference`: the same network in plain Rust without vector instructions
    #[arg(short, long, value_name = "ENGINE", default_value = "peristyle", value_parser = engine)]
    engine: Reference,

    /// Exit with code 1 when there are fewer items/sec than this
    #[arg(long, value_name = "X")]
    hard_fail: Option<f64>,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

fn engine(text: &str) -> Result<Reference, String> {
    match text {
        "peristyle" | "deepsparse" => Ok(Reference(false)),
        "reference" => Ok(Reference(true)),
        _ => Err("this program holds one engine: `peristyle`; `reference` runs it in plain Rust".into()),
    }
}

pub(super) fn run(args: &BenchmarkArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let spec = context.spec;
    let shaped = args.input_shapes.as_deref().map(|text| shaped_batch(text, spec)).transpose()?;
    let batch = args.runs.chosen_batch().or(shaped).unwrap_or(spec.batch.max(1));
    let cores = args.runs.cores();
    let mut notice = |text: String| {
        if !args.runs.quiet {
            context.console.complain(format_args!("notice: {text}"));
        }
    };
    if let Some(model) = &args.model {
        notice(format!("the model is compiled in ({}); {} is not read", spec.source, model.display()));
    }
    if let (Scenario::Sync, Some(n @ 2..)) = (args.scenario, args.num_streams) {
        notice(format!("the sync scenario has one stream; -nstreams {n} is ignored"));
    }
    let plan = Plan {
        batch,
        streams: args.scenario.streams(args.num_streams, cores),
        cores,
        warmup: args.runs.warmup_time,
        time: args.runs.time,
        pinning: args.thread_pinning,
        reference: args.engine,
    };
    let pictures = args.pipeline.pictures(context)?;
    let measured = match &pictures {
        Some(pictures) => pipeline::measure_pipeline(&plan, context.new, spec, pictures)?,
        None => measure(&plan, context.new, spec)?,
    };
    if plan.pinning != Pinning::None && !measured.pinned && !args.runs.quiet {
        context.console.complain("notice: the system does not let threads be pinned; they are not");
    }

    let throughput = measured.items_per_sec(batch);
    let out = &mut context.console.out;
    writeln!(out, "Original Model Path: {}", spec.source)?;
    writeln!(out, "Batch Size: {batch}")?;
    writeln!(out, "Scenario: {}", args.scenario.name())?;
    writeln!(out, "Throughput (items/sec): {throughput:.4}")?;
    writeln!(out, "Latency Mean (ms/batch): {:.4}", measured.latencies.mean())?;
    writeln!(out, "Latency Median (ms/batch): {:.4}", measured.latencies.percentile(50.0))?;
    writeln!(out, "Latency Std (ms/batch): {:.4}", measured.latencies.std())?;
    writeln!(out, "Iterations: {}", measured.latencies.count())?;
    if pictures.is_some() {
        write!(out, "{}", pipeline::breakdown(&measured))?;
    }
    args.runs.export(|| export::json(args.scenario, spec, &plan, &measured, pictures.is_some()))?;
    match args.hard_fail {
        Some(least) if throughput < least => {
            Err(Failure::new(format_args!("{throughput:.4} items/sec, below --hard-fail {least}")))
        }
        _ => Ok(()),
    }
}

/// The batch size of shapes like `[1,3,640,640]`, one for each input, when the rest of them is the model's.
fn shaped_batch(text: &str, spec: &ModelSpec) -> Result<usize, Failure> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let shapes: Option<Vec<Vec<usize>>> = compact
        .split("],[")
        .map(|shape| shape.trim_matches(['[', ']']).split(',').map(|n| n.parse().ok()).collect())
        .collect();
    let shapes = shapes.filter(|shapes| !shapes.is_empty());
    let shapes = shapes.ok_or_else(|| Failure::Usage(format!("-shapes {text:?}: expected \"[1,3,640,640]\"")))?;
    let fits = |shape: &Vec<usize>, expected: &[usize]| {
        shape.first() == shapes[0].first() && shape[0] > 0 && shape.get(1..) == expected.get(1..)
    };
    if shapes.len() == spec.inputs.len() && shapes.iter().zip(spec.inputs).all(|(s, input)| fits(s, input.shape)) {
        return Ok(shapes[0][0]);
    }
    let compiled: Vec<String> = spec.inputs.iter().map(|input| format!("{:?}", input.shape)).collect();
    Err(Failure::Usage(format!(
        "-shapes {text}: the model is compiled for {}, with any number of images; compile it again with --imgsz",
        compiled.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{DType, TensorSpec};

    #[test]
    fn shapes_must_be_the_model_s_but_for_the_batch() {
        let spec = ModelSpec {
            name: "",
            source: "",
            sha256: "",
            compiler: "",
            batch: 1,
            inputs: &[TensorSpec { name: "images", dtype: DType::U8, shape: &[1, 3, 64, 32] }],
            outputs: &[],
            class_names: &[],
            detector: None,
            weights: (0, 0),
            macs: (0, 0),
        };
        assert_eq!(shaped_batch("[4, 3, 64, 32]", &spec).unwrap(), 4);
        for wrong in ["[1,3,32,64]", "[0,3,64,32]", "[1,3,64,32],[1,2]", "", "[]", "x", "[1,3,64]"] {
            assert!(matches!(shaped_batch(wrong, &spec), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
