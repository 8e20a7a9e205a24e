//! `peristyle sparsify`: a dense model to a sparse one.

use super::ModelArgs;
use indicatif::{ProgressBar, ProgressStyle};
use peristyle_compiler::sparsify::progress::{Progress, Stage, Step};
use peristyle_compiler::sparsify::{self, Measure, Method, Options, Report};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Arguments of `sparsify`.
///
/// No labels are needed: the weights that cost least are removed one after another, and the others are moved so that
/// every layer answers as the dense one did on the calibration images. Pruning alone, without any training, costs accuracy:
/// YOLOv5n with 65 % of its weights zero kept 28.4 of 33.4 mAP. Measure yours with the detector's `eval`; --distill
/// wins a little back from a few pictures (0.3 of it from 64, in 25 minutes of one core).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The sparse model to write.
    #[arg(short, long, value_name = "SPARSE.onnx")]
    output: PathBuf,

    /// Folder of pictures like those the detector will see; 32 to 64 are enough for pruning.
    #[arg(long, value_name = "DIR")]
    calibrate: PathBuf,

    /// Share of zeros, divided among the layers so that it costs least.
    #[arg(long, value_name = "SHARE", default_value_t = 0.65)]
    sparsity: f64,

    /// What --sparsity is a share of: `weights`, or `macs`, the multiply-accumulates, which decide about speed; then
    /// early layers get more of the zeros.
    #[arg(long, value_enum, default_value_t = MeasureArg::Weights)]
    of: MeasureArg,

    /// Consecutive input channels that become zero together; 4 suits processors with VNNI.
    #[arg(long, value_name = "CHANNELS", default_value_t = 1)]
    block: usize,

    /// Quantise too: u8 inputs and s8 weights of every convolution, in QDQ form.
    #[arg(long)]
    quantize: bool,

    /// Minutes in which the dense network teaches the pruned one on all pictures of the folder, without labels. Pruning
    /// alone is not enough where every point of accuracy counts.
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    distill: Option<Duration>,

    /// A SparseML recipe (.yaml, .md) whose pruning modifiers give the sparsity of every layer, instead of --sparsity.
    #[arg(long, value_name = "FILE", conflicts_with = "sparsity")]
    recipe: Option<PathBuf>,

    /// Which weights go: `second-order` makes the others up for them, `magnitude` takes the smallest, for comparison.
    #[arg(long, value_enum, default_value_t = MethodArg::SecondOrder)]
    method: MethodArg,

    /// Most pictures to look at; time and memory grow with them.
    #[arg(long, value_name = "N", default_value_t = 64)]
    images: usize,

    /// Part of the mean square of a layer's inputs that is added to each, so that no weight grows out of hand.
    #[arg(long, value_name = "PART", default_value_t = 0.01)]
    damping: f64,

    /// How much of the variance that pruning takes from a channel it gets back: 0 for nothing, 1 for all.
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.0)]
    restore_variance: f64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MeasureArg {
    Weights,
    Macs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MethodArg {
    SecondOrder,
    Magnitude,
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().ok().filter(|m| *m > 0.0 && *m < 1e6);
    minutes.map(|m| Duration::from_secs_f64(m * 60.0)).ok_or_else(|| "expected a number of minutes above 0".to_owned())
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let start = Instant::now();
    let options = Options {
        sparsity: args.sparsity,
        measure: match args.of {
            MeasureArg::Weights => Measure::Weights,
            MeasureArg::Macs => Measure::Macs,
        },
        block: args.block,
        quantize: args.quantize,
        method: match args.method {
            MethodArg::SecondOrder => Method::SecondOrder,
            MethodArg::Magnitude => Method::Magnitude,
        },
        recipe: args.recipe.clone(),
        imgsz: args.model.imgsz,
        images: args.images,
        distill: args.distill,
        damping: args.damping,
        restored_variance: args.restore_variance,
    };
    let bar = ProgressBar::new(0);
    let template = "{spinner} [{elapsed}] {prefix} {bar:30} {pos}/{len} {msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut show = |step: &Step<'_>| {
        bar.set_prefix(match step.stage {
            Stage::Sensitivity => "measuring layers",
            Stage::Prune => "pruning",
            Stage::Distill => "distilling",
            Stage::Quantize => "quantising",
        });
        bar.set_length(step.total as u64);
        bar.set_position(step.done as u64);
        bar.set_message(step.what.to_owned());
    };
    let report =
        sparsify::run(&args.model.model, &args.output, &args.calibrate, &options, &mut Progress::new(&mut show));
    bar.finish_and_clear();
    print(args, &report?, start.elapsed());
    Ok(())
}

fn print(args: &Args, report: &Report, took: Duration) {
    println!("  zeros        weights  layer");
    for layer in &report.layers {
        let weights: usize = layer.shape.iter().product();
        let [outputs, inputs, height, width] = layer.shape;
        let shape = format!("{outputs}x{inputs}x{height}x{width}");
        println!("{:6.1} %  {shape:>13}  {}", 100.0 * layer.zeros as f64 / weights as f64, layer.name);
    }
    println!(
        "{}: {:.1} % of the convolution weights and {:.1} % of the multiply-accumulates are zero{}; {} images, {:.0} s{}",
        args.output.display(),
        100.0 * report.sparsity(Measure::Weights),
        100.0 * report.sparsity(Measure::Macs),
        if args.quantize { ", u8 inputs and s8 weights" } else { "" },
        report.images,
        took.as_secs_f64(),
        if report.resumed { ", earlier work taken up" } else { "" },
    );
}
