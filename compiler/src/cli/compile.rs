//! `peristyle compile`: a model to a crate.

use super::{ModelArgs, expect_folder};
use peristyle_compiler::plan::cost::{build::BuildTime, size};
use peristyle_compiler::plan::{Columns, megabytes};
use peristyle_compiler::{Compilation, Config, OptTime};
use std::path::PathBuf;

/// Options that shape the emitted code; shared by `compile` and `build`.
#[derive(Clone, Debug, clap::Args)]
pub struct CodeArgs {
    #[command(flatten)]
    pub model: ModelArgs,

    /// Images per call that `benchmark` uses by default; the binary runs any number.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,

    /// Name of the emitted crate and of its binary; by default that of the model file.
    #[arg(long)]
    pub name: Option<String>,

    /// Compile in these classes only, names separated by commas: `person,car`. The weights of the others leave the
    /// detection head, and class ids count those that stay, in the order of the model.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub classes: Option<Vec<String>>,

    /// Write the text of every stage (import, each pass, plan) to this folder.
    #[arg(long, value_name = "DIR")]
    pub dump_stages: Option<PathBuf>,

    /// Megabytes of straight-line code that unrolled kernels may take; 0 keeps every layer in tables.
    #[arg(long, value_name = "MB")]
    pub code_budget: Option<usize>,

    /// Most bytes of straight-line code and tables, as in `8MB`: less is unrolled then, and a model whose tables alone take
    /// more is refused.
    #[arg(long, value_name = "BYTES", value_parser = super::size::parse_bytes)]
    pub max_code_size: Option<usize>,

    /// What the Rust compiler may take its time for: `fast` compiles kernels as ever and leaves the rest as it is: PNG
    /// files, videos and HTTP are slower then.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Optimise::Full)]
    pub opt_time: Optimise,

    /// Bake no golden values: saves one run of the reference interpreter, and `selftest` has nothing to compare with.
    #[arg(long)]
    pub no_selftest: bool,

    /// Do not compare the sample inputs and outputs in the model's folder with what the compiler computes.
    #[arg(long)]
    pub no_samples: bool,

    /// Tensor columns: `auto`, `off`, or the number of rows per stripe.
    #[arg(long, value_name = "ROWS", default_value = "auto", value_parser = parse_columns)]
    pub columns: Columns,
}

/// The values of `--opt-time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Optimise {
    /// As short as possible.
    Fast,
    /// As long as it makes binaries faster.
    Full,
}

fn parse_columns(text: &str) -> Result<Columns, String> {
    match text {
        "auto" => Ok(Columns::Auto),
        "off" => Ok(Columns::Off),
        rows => match rows.parse() {
            Ok(rows) if rows > 0 => Ok(Columns::Rows(rows)),
            _ => Err("expected `auto`, `off` or a positive number of rows".to_string()),
        },
    }
}

impl CodeArgs {
    /// The compiler's options.
    pub fn config(&self) -> Config {
        let mut config =
            self.model.config().batch(self.batch as usize).columns(self.columns).selftest(!self.no_selftest);
        config = config.samples(!self.no_samples);
        if let Some(name) = &self.name {
            config = config.module_name(name);
        }
        if let Some(bytes) = self.max_code_size {
            config = config.max_code_size(bytes);
        }
        if self.opt_time == Optimise::Fast {
            config = config.opt_time(OptTime::Fast);
        }
        if let Some(classes) = &self.classes {
            config = config.classes(classes);
        }
        if let Some(megabytes) = self.code_budget {
            config = config.code_budget(megabytes.saturating_mul(1 << 20));
        }
        config
    }

    /// Reads and plans the model, dumping stages when asked.
    pub fn analyze(&self) -> anyhow::Result<Compilation> {
        self.analyze_with(&self.config())
    }

    /// The same with options that only one command has.
    pub fn analyze_with(&self, config: &Config) -> anyhow::Result<Compilation> {
        if let Some(dir) = &self.dump_stages {
            expect_folder(dir, "--dump-stages")?;
        }
        let compilation = config.analyze(&self.model.model)?;
        compilation.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        if let Some(dir) = &self.dump_stages {
            compilation.dump_stages(dir)?;
        }
        Ok(compilation)
    }
}

/// Arguments of `compile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    code: CodeArgs,

    /// Folder of the emitted crate [default: generated/MODEL].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Version of the emitted crate [default: 0.1.0].
    #[arg(long, value_name = "VERSION")]
    crate_version: Option<String>,

    /// Licence of the emitted crate, as in `MIT OR Apache-2.0`; without one it is marked as not to be published.
    #[arg(long, value_name = "SPDX")]
    license: Option<String>,

    /// Describe the model and every layer in this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Folder of emitted crates when none is given.
pub const DEFAULT_FOLDER: &str = "generated";

/// Folder of an emitted crate when none is given.
pub fn default_dir(compilation: &Compilation) -> PathBuf {
    PathBuf::from(DEFAULT_FOLDER).join(&compilation.identity.name)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = args.code.config();
    config = args.crate_version.iter().fold(config, |config, version| config.crate_version(version));
    config = args.license.iter().fold(config, |config, license| config.license(license));
    let compilation = args.code.analyze_with(&config)?;
    let dir = args.output.clone().unwrap_or_else(|| default_dir(&compilation));
    expect_folder(&dir, "-o")?;
    compilation.write_crate(&dir)?;
    if let Some(file) = &args.report {
        compilation.write_report(file)?;
    }
    println!("{}: {}", dir.display(), describe(&compilation));
    println!("{}", expect(&compilation));
    Ok(())
}

/// Layers, nonzeros and skipped work in one line, and a line for channels and one for classes that were removed.
pub fn describe(compilation: &Compilation) -> String {
    let (plan, report) = (&compilation.plan, &compilation.report);
    let ((weights, nnz), (macs, nnz_macs)) = (plan.weights(), plan.macs());
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let mut text = format!(
        "{} layers, {nnz} of {weights} weights not zero ({:.1} %), {:.1} % of {:.2} billion multiply-accumulates skipped",
        plan.layers.len(),
        share(nnz, weights),
        share(macs - nnz_macs, macs),
        macs as f64 / 1e9,
    );
    let millions = |macs: u64| format!("{:.1} million multiply-accumulates", macs as f64 / 1e6);
    if report.narrowed_layers + report.folded_inputs > 0 {
        text += &format!(
            "\ndead channels: {} output and {} input channels of {} layers removed, {} constant inputs folded into biases; \
             {} saved",
            report.removed_outputs,
            report.removed_inputs,
            report.narrowed_layers,
            report.folded_inputs,
            millions(report.channel_macs)
        );
    }
    if report.removed_classes > 0 {
        let kept = compilation.identity.class_names.len();
        text += &format!(
            "\nclasses: {kept} of {} kept ({}); {} saved",
            kept + report.removed_classes,
            compilation.identity.class_names.join(", "),
            millions(report.class_macs)
        );
    }
    text
}

/// What the layers will take, in one line.
pub fn expect(compilation: &Compilation) -> String {
    let plan = &compilation.plan;
    let size = size::total(plan);
    format!(
        "{} layers, {} nonzeros: {} straight-line code, {} tables, about {:.0} s of one core to build",
        plan.layers.len(),
        plan.weights().1,
        megabytes(size.code),
        megabytes(size.data),
        BuildTime::of(plan, size).seconds(),
    )
}
