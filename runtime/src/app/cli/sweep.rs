//! `sweep`: the benchmark over numbers of cores and batch sizes.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::benchmark::Scenario;
use super::benchmark::measure::{Measured, Pinning, Plan, Reference, measure};
use super::runs::{positive, seconds};
use crate::app::eval::plot::{self, Axes, Line};
use crate::app::failure::Failure;
use crate::app::{available_cores, files};

/// Time the network over numbers of cores and batch sizes
///
/// Writes sweep.csv with the columns of deepsparse.benchmark_sweep, and sweep.png: throughput over cores, a line for
/// every batch size.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR sweep
  DETECTOR sweep --num-cores 1,4,max --batch-sizes 1,8,64 --run-time 30
  DETECTOR sweep --scenarios sync,async --save-dir results

Exit codes: 0 measured, 1 an error, 2 wrong use.")]
pub(super) struct SweepArgs {
    /// Numbers of cores, `max` being all that this process may use [default: 1, 2, 4, ... max]
    #[arg(long, aliases = ["ncores"], value_name = "N,N,...", value_delimiter = ',', value_parser = cores)]
    num_cores: Vec<usize>,

    /// Images per run
    #[arg(short, long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,16", value_parser = positive)]
    batch_sizes: Vec<usize>,

    /// Scenarios: sync, async, elastic
    #[arg(short, long, value_name = "NAME,...", value_delimiter = ',', default_value = "sync")]
    scenarios: Vec<Scenario>,

    /// Streams of async and elastic [default: half the cores]
    #[arg(long, alias = "nstreams", value_name = "N", value_parser = positive)]
    num_streams: Option<usize>,

    /// Seconds to measure each
    #[arg(short = 't', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    run_time: f64,

    /// Seconds to run before each
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    warmup_time: f64,

    /// Folder for sweep.csv and sweep.png
    #[arg(long, value_name = "DIR", default_value = "benchmarking-results")]
    save_dir: PathBuf,
}

fn cores(text: &str) -> Result<usize, String> {
    if text.trim() == "max" { Ok(available_cores()) } else { positive(text.trim()) }
}

/// The columns of `deepsparse.benchmark_sweep`.
const COLUMNS: &str = "Model,Engine,Batch Size,Num Cores,Scenario,Num Streams,Items per second,Mean Latency,\
                       Median Latency,Std Latency,Input Shape,Command";

pub(super) fn run(args: &SweepArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let spec = context.spec;
    files::create_directory(&args.save_dir)?;
    let mut csv = format!("{COLUMNS}\n");
    let mut lines: Vec<Line> = Vec::new();
    let cores = match &args.num_cores[..] {
        [] => doubling(available_cores()),
        cores => cores.to_vec(),
    };
    for &scenario in &args.scenarios {
        for &batch in &args.batch_sizes {
            let mut points = Vec::new();
            for &cores in &cores {
                let streams = scenario.streams(args.num_streams, cores);
                let plan = Plan {
                    batch,
                    streams,
                    cores,
                    warmup: args.warmup_time,
                    time: args.run_time,
                    pinning: Pinning::None,
                    reference: Reference(false),
                };
                let measured = measure(&plan, context.new, spec)?;
                let throughput = measured.items_per_sec(batch);
                points.push((cores as f64, throughput));
                csv += &row(context, scenario, &plan, &measured);
                writeln!(
                    context.console.out,
                    "{} batch {batch}, {cores} cores: {throughput:.2} items/sec, {:.3} ms median",
                    scenario.name(),
                    measured.latencies.percentile(50.0)
                )?;
                context.console.out.flush()?;
                // After every point: a sweep takes long, and what is measured must not be lost.
                files::replace(&args.save_dir.join("sweep.csv"), csv.as_bytes())?;
            }
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let name = if args.scenarios.len() > 1 { format!("{}, ", scenario.name()) } else { String::new() };
            lines.push(Line { name: Some(format!("{name}batch {batch}")), points, main: false, dots: true });
        }
    }
    let all = || lines.iter().flat_map(|line| &line.points);
    let axes = Axes {
        title: spec.source.to_owned(),
        labels: ["Cores".into(), "Images per second".into()],
        ends: [all().map(|p| p.0).fold(1.0, f64::max) * 1.05, all().map(|p| p.1).fold(1e-9, f64::max) * 1.1],
        counts: true,
    };
    let figure = plot::lines(&axes, &lines).map_err(Failure::new)?;
    files::replace(&args.save_dir.join("sweep.png"), &figure)?;
    writeln!(context.console.out, "Results saved to {}", args.save_dir.display())?;
    Ok(())
}

/// 1, 2, 4, ... and the most.
fn doubling(most: usize) -> Vec<usize> {
    let powers = (0..usize::BITS).map(|power| 1 << power).take_while(|n| *n < most);
    powers.chain([most]).collect()
}

fn row(context: &Context<'_, '_>, scenario: Scenario, plan: &Plan, measured: &Measured) -> String {
    let spec = context.spec;
    let shapes: Vec<String> =
        spec.inputs.iter().map(|input| format!("{:?}", super::tensors::batched_shape(input, plan.batch))).collect();
    let Plan { batch, streams, cores, warmup, time, .. } = plan;
    let name = scenario.name();
    let command = format!(
        "{} benchmark -b {batch} -ncores {cores} -s {name} -nstreams {streams} -t {time} -w {warmup}",
        context.program
    );
    let latencies = &measured.latencies;
    let fields = [
        spec.source.to_owned(),
        "peristyle".to_owned(),
        batch.to_string(),
        cores.to_string(),
        name,
        streams.to_string(),
        format!("{:.4}", measured.items_per_sec(*batch)),
        format!("{:.4}", latencies.mean()),
        format!("{:.4}", latencies.percentile(50.0)),
        format!("{:.4}", latencies.std()),
        shapes.join(" "),
        command,
    ];
    let mut line = String::new();
    for (at, field) in fields.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let quoted = match field.contains([',', '"', '\n']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        };
        write!(line, "{comma}{quoted}").expect("writing to a string succeeds");
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::doubling;

    #[test]
    fn cores_double_up_to_the_most() {
        assert_eq!(doubling(1), [1]);
        assert_eq!(doubling(2), [1, 2]);
        assert_eq!(doubling(6), [1, 2, 4, 6]);
        assert_eq!(doubling(8), [1, 2, 4, 8]);
    }
}
