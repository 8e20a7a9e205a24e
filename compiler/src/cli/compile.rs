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
        if let Some(name) = &self.name {
            config = config.module_name(name);
        }
        if let Some(bytes) = self.max_code_size {
            config = config.max_code_size(bytes);
        }
        if self.opt_time == Optimise::Fast {
            config = config.opt_time(OptTime::Fast);
        }
        if let Some(megabytes) = self.code_budget {
            config = config.code_budget(megabytes.saturating_mul(1 << 20));
        }
        config
    }

    /// Reads and plans the model, dumping stages when asked.
    pub fn analyze(&self) -> anyhow::Result<Compilation> {
        if let Some(dir) = &self.dump_stages {
            expect_folder(dir, "--dump-stages")?;
        }
        let compilation = self.config().analyze(&self.model.model)?;
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
}

/// Folder of emitted crates when none is given.
pub const DEFAULT_FOLDER: &str = "generated";

/// Folder of an emitted crate when none is given.
pub fn default_dir(compilation: &Compilation) -> PathBuf {
    PathBuf::from(DEFAULT_FOLDER).join(&compilation.identity.name)
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let compilation = args.code.analyze()?;
    let dir = args.output.clone().unwrap_or_else(|| default_dir(&compilation));
    expect_folder(&dir, "-o")?;
    compilation.write_crate(&dir)?;
    println!("{}: {}", dir.display(), describe(&compilation));
    println!("{}", expect(&compilation));
    Ok(())
}

/// Layers, nonzeros and skipped work in one line.
pub fn describe(compilation: &Compilation) -> String {
    let plan = &compilation.plan;
    let ((weights, nnz), (macs, nnz_macs)) = (plan.weights(), plan.macs());
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    format!(
        "{} layers, {nnz} of {weights} weights not zero ({:.1} %), {:.1} % of {:.2} billion multiply-accumulates skipped",
        plan.layers.len(),
        share(nnz, weights),
        share(macs - nnz_macs, macs),
        macs as f64 / 1e9,
    )
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
