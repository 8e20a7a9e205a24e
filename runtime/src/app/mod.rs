//! The command-line program of a compiled model.
//!
//! An emitted crate's `main` is one call of [`main`]; everything the program needs is in the binary.

pub mod cli;
pub mod coco;
pub mod draw;
pub mod eval;
pub mod failure;
pub mod files;
pub mod hardware;
pub mod interrupt;
pub mod memory;
pub mod progress;
pub mod quota;
pub mod report;
pub mod request;
pub mod save;
pub mod serve;
pub mod source;
pub mod threads;
pub mod video;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::engine::{Infer, ModelSpec};
pub use threads::available_cores;

/// Makes an engine that runs on a number of threads, at least one.
///
/// An error says that the threads cannot be started; the program reports it and asks for fewer.
pub type NewEngine = fn(threads: usize) -> io::Result<Box<dyn Infer>>;

/// A compiled model: how to make its engines, and what it says about itself.
#[derive(Clone, Copy)]
pub struct Compiled {
    /// Makes an engine.
    pub new: NewEngine,
    /// What the model says about itself.
    pub spec: &'static ModelSpec,
}

/// Where a command writes.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Warnings and errors.
    pub err: &'a mut dyn Write,
    /// Whether help and usage errors are coloured.
    pub color: bool,
}

impl Console<'_> {
    /// Writes a line to the error output. A closed error output is no reason to stop.
    pub fn complain(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }
}

/// Runs the program with the arguments of the process.
///
/// The exit code is 0 when everything went well, 1 after an error, 2 when the command line makes no sense, 130 when the
/// user stopped the program.
///
/// # Panics
/// Without a model.
pub fn main(models: &[Compiled]) -> ExitCode {
    let color = io::stdout().is_terminal() && io::stderr().is_terminal();
    let mut console = Console { out: &mut io::stdout(), err: &mut io::stderr(), color };
    ExitCode::from(run(std::env::args_os(), models, &mut console))
}

/// Runs the program with `args`, the first of which is its own path, and returns its exit code.
///
/// # Panics
/// Without a model.
pub fn run(args: impl IntoIterator<Item = OsString>, models: &[Compiled], console: &mut Console<'_>) -> u8 {
    cli::run(args.into_iter().collect(), models, console)
}
