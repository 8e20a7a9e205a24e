//! The options of commands that run the network again and again.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::app::failure::Failure;
use crate::app::{available_cores, files};
use crate::engine::ModelSpec;

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Images per run [default: what the model was compiled for]
    #[arg(short, long, value_name = "N", value_parser = positive)]
    batch_size: Option<usize>,

    /// Seconds to measure
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub time: f64,

    /// Seconds to run before measuring
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub warmup_time: f64,

    /// Cores to use, also `-ncores` [default: all that this process may use]
    #[arg(long, aliases = ["ncores", "threads"], value_name = "N", value_parser = positive)]
    num_cores: Option<usize>,

    /// No notices
    #[arg(short, long)]
    pub quiet: bool,

    /// Write the result to this JSON file too
    #[arg(short = 'x', long, value_name = "FILE")]
    export_path: Option<PathBuf>,
}

impl RunArgs {
    /// Images per run, when they are asked for.
    pub(super) fn chosen_batch(&self) -> Option<usize> {
        self.batch_size
    }

    /// Images per run.
    pub(super) fn batch(&self, spec: &ModelSpec) -> usize {
        self.batch_size.unwrap_or(spec.batch).max(1)
    }

    /// Cores to keep busy.
    pub(super) fn cores(&self) -> usize {
        self.num_cores.unwrap_or_else(available_cores)
    }

    /// Writes what `result` makes to the file that was asked for, if one was.
    pub(super) fn export(&self, result: impl FnOnce() -> Value) -> Result<(), Failure> {
        let Some(path) = &self.export_path else { return Ok(()) };
        let text = serde_json::to_string_pretty(&result()).map_err(Failure::new)?;
        files::replace(path, (text + "\n").as_bytes())
    }
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a whole number above 0".into())
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s| (0.0..=1e9).contains(s));
    seconds.ok_or_else(|| "expected a number of seconds".into())
}
