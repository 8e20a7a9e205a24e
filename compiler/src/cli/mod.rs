//! The commands of `peristyle`. Exit codes: 0 for success, 1 for an error (one line on standard error), 2 for wrong use.

mod build;
mod compile;
mod diff;
mod elf;
mod inspect;
mod run;
mod size;
mod sparsify;

use clap::{Parser, Subcommand};
use peristyle_compiler::Config;
use std::path::Path;
use std::process::ExitCode;

/// Compiles sparse ONNX detectors to static binaries.
#[derive(Debug, Parser)]
#[command(name = "peristyle", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile a model into a Rust crate.
    Compile(compile::Args),
    /// Compile a model and build its static binary.
    Build(build::Args),
    /// Tell every layer's zeros, kernel and predicted time, before anything is built.
    Inspect(Box<inspect::Args>),
    /// Say what is different between two models: layers, zeros, scales, classes, and what they find.
    Diff(diff::Args),
    /// Run a model in the reference interpreter.
    Run(run::Args),
    /// Make a dense model sparse, and integer, with some unlabelled images.
    Sparsify(sparsify::Args),
}

/// Options of every command that reads a model.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelArgs {
    /// The model: an ONNX file, dense, pruned or quantised; a folder with `model.onnx` in it; or a stub of SparseZoo,
    /// whose folder is looked up in PERISTYLE_MODELS and in SparseZoo's cache.
    #[arg(value_name = "MODEL.onnx")]
    pub model: std::path::PathBuf,

    /// Height and width of the network input, for models that leave them open: `416 640`, or one number for a square.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub imgsz: Option<[usize; 2]>,
}

impl ModelArgs {
    /// The compiler's options, as far as they concern reading the model.
    pub fn config(&self) -> Config {
        match self.imgsz {
            Some([height, width]) => Config::new().imgsz(height, width),
            None => Config::new(),
        }
    }
}

/// Refuses a file where outputs want a folder, which `option` names.
fn expect_folder(path: &Path, option: &str) -> anyhow::Result<()> {
    if path.exists() && !path.is_dir() {
        anyhow::bail!("cannot write into `{}`: it is a file; pass a folder with {option}", path.display());
    }
    Ok(())
}

/// The exit code of `diff`, which is that of the program `diff`: 0 the same, 1 different, 2 an error.
fn diff_exit(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(same) => ExitCode::from(u8::from(!same)),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let result = match Cli::parse_from(size::joined(std::env::args_os())).command {
        Command::Compile(args) => compile::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Diff(args) => return diff_exit(diff::run(&args)),
        Command::Run(args) => run::run(&args),
        Command::Sparsify(args) => sparsify::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
