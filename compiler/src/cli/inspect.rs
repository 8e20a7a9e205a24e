//! `peristyle inspect`: what is known of a model before it is built.

use super::compile::CodeArgs;
use anyhow::{Context, bail};
use peristyle_compiler::inspect::{self, Inspection, Model, WhatIf, impose, json, page, table};
use peristyle_compiler::plan::cost::{CPUS, Cpu};
use peristyle_compiler::{Compilation, unfinished};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Times are predicted from what each kernel has to do in each layer, fitted to profiles of eight YOLOv5 models on Zen 3 with one \
thread. There the sum of all layers was within 5 % of the fastest times measured, and layers within 2 to 6 % on average; on a \
model that was not fitted to (yolov5n-pruned35_quant-vnni) the sum was 5 % too high and layers were within 7 %. For YOLOv5l with 85 MB of tables, measured on a busy \
machine, the sum was 29 % too low. Threads are \
taken for whole cores: two virtual ones were 30 % slower than predicted. A busy machine is slower, and \
processors other than Zen 3 are estimated. `--against` tells the error for a model and machine of yours.

Examples:
  peristyle inspect model.onnx
  peristyle inspect model.onnx --what-if-sparsity 0.8 --what-if-int8
  peristyle inspect model.onnx --json | jq .totals.images_per_second
  ./detector profile -ncores 1 -x p.json && peristyle inspect model.onnx --against p.json")]
pub struct Args {
    #[command(flatten)]
    code: CodeArgs,

    /// Class of processors to predict for; `list` tells them all.
    #[arg(long, value_name = "CLASS", default_value = CPUS[0].name)]
    cpu: String,

    /// Threads that compute an image together.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,

    /// Show beside it what it would be with this share of zeros in every convolution: the smallest weights become zero.
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    what_if_sparsity: Option<f64>,

    /// Show beside it what it would be if so many consecutive input channels were zero together, as 4.
    #[arg(long, value_name = "N", value_parser = block)]
    what_if_block: Option<usize>,

    /// Show beside it what it would be with weights and maps of 8-bit integers.
    #[arg(long)]
    what_if_int8: bool,

    /// Another model to show beside it.
    #[arg(long, value_name = "OTHER.onnx", conflicts_with_all = ["what_if_sparsity", "what_if_block", "what_if_int8"])]
    compare: Option<PathBuf>,

    /// What `profile -x FILE` of a detector of this model wrote: tells the error of the prediction.
    #[arg(long, value_name = "PROFILE.json")]
    against: Option<PathBuf>,

    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,

    /// Write a web page, one file without outside assets.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the same as --json to a file: .json, or .yaml.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        Ok(share) if (1.0..100.0).contains(&share) => {
            Err(format!("expected a share from 0 up to 1, 0 included: for {share} % pass {}", share / 100.0))
        }
        _ => Err("expected a share from 0 up to 1, 0 included, such as 0.8 for four zeros in five weights".to_string()),
    }
}

fn block(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(channels @ 2..=64) => Ok(channels),
        _ => Err("expected from 2 to 64 input channels, such as 4".to_string()),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let cpu = cpu(&args.cpu)?;
    let yaml = args.save.as_deref().map(is_yaml).transpose()?;
    let threads = usize::from(args.threads);
    let compilation = args.code.analyze()?;
    let inspection = inspection(&compilation, &args.code.model.model, &cpu, threads);
    let against = args.against.as_ref().map(|path| {
        let profile =
            std::fs::read_to_string(path).with_context(|| format!("cannot read profile `{}`", path.display()))?;
        inspect::against(&inspection, &profile).map_err(|e| anyhow::anyhow!("profile `{}`: {e}", path.display()))
    });
    let against = against.transpose()?;
    let other = beside(args, &compilation, &cpu)?;

    let mut value = json::value(&inspection);
    if let Some((other, asked)) = &other {
        let key = if args.compare.is_some() { "compare" } else { "what_if" };
        value[key] = json::beside(&inspection, other, asked);
    }
    if let Some(against) = &against {
        value["against"] = json::against(against);
    }
    if let Some(path) = &args.html {
        let beside = other.as_ref().map(|(other, asked)| (other, asked.as_str()));
        write(path, &page::render(&inspection, beside))?;
    }
    if let (Some(path), Some(yaml)) = (&args.save, yaml) {
        write(path, &if yaml { json::yaml(&value) } else { format!("{value:#}\n") })?;
    }
    if args.json {
        print(&format!("{value:#}\n"));
        return Ok(());
    }
    let width = console::Term::stdout().size_checked().map_or(160, |(_, columns)| usize::from(columns));
    print(&match &other {
        Some((other, asked)) => table::render_beside(&inspection, other, asked, width),
        None => table::render(&inspection, against.as_ref(), width),
    });
    Ok(())
}

/// Prints as far as somebody reads.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn cpu(name: &str) -> anyhow::Result<Cpu> {
    let classes = CPUS.iter().map(|cpu| {
        let basis = if cpu.measured { "measured" } else { "estimated" };
        format!("\n  {:<16} {}; {} GHz, {basis}", cpu.name, cpu.description, cpu.gigahertz)
    });
    Cpu::named(name)
        .with_context(|| format!("--cpu {name}: the classes of processors are{}", classes.collect::<String>()))
}

fn is_yaml(path: &Path) -> anyhow::Result<bool> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => Ok(true),
        Some("json") => Ok(false),
        _ => bail!("--save {}: the name must end in .json, .yaml or .yml", path.display()),
    }
}

fn inspection(compilation: &Compilation, path: &Path, cpu: &Cpu, threads: usize) -> Inspection {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let model = Model {
        name: compilation.identity.source.clone(),
        bytes: bytes(path) + compilation.external_files.iter().map(|file| bytes(file)).sum::<u64>(),
        sha256: compilation.identity.sha256.clone(),
    };
    Inspection::new(model, &compilation.plan, &compilation.channels, cpu, threads)
}

/// What stands beside the model, and what it is.
fn beside(args: &Args, compilation: &Compilation, cpu: &Cpu) -> anyhow::Result<Option<(Inspection, String)>> {
    let threads = usize::from(args.threads);
    if let Some(other) = &args.compare {
        let mut code = args.code.clone();
        code.model.model.clone_from(other);
        code.dump_stages = None;
        let inspection = inspection(&code.analyze()?, other, cpu, threads);
        let asked = format!("Compared with: {}", inspection.model.name);
        return Ok(Some((inspection, asked)));
    }
    let what_if = WhatIf { sparsity: args.what_if_sparsity, block: args.what_if_block, int8: args.what_if_int8 };
    if what_if.is_nothing() {
        return Ok(None);
    }
    let mut graph = compilation.graph.clone();
    impose(&mut graph, &what_if);
    let changed = args.code.config().analyze_graph(&compilation.identity.source, graph)?;
    let mut inspection = Inspection::new(Model::default(), &changed.plan, &changed.channels, cpu, threads);
    inspection.model.name = format!("{} with {}", compilation.identity.source, what_if.describe());
    inspection.model.bytes = inspect::constant_bytes(&changed.graph);
    Ok(Some((inspection, format!("What if: {}", what_if.describe()))))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    unfinished::write(path, text.as_bytes()).with_context(|| format!("cannot write `{}`", path.display()))
}
