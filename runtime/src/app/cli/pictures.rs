//! Going through the pictures of a command line.

use std::path::{Path, PathBuf};

use super::Context;
use crate::app::Console;
use crate::app::failure::Failure;
use crate::app::interrupt::Interrupt;
use crate::app::progress::Progress;
use crate::app::save::NotSaved;
use crate::app::source::{Limits, Picture, Sources};

/// The pictures that a command line names, after what is wrong with it was said.
pub(super) struct Pictures {
    /// Files in their order; at least one.
    pub paths: Vec<PathBuf>,
    failed: bool,
}

/// A picture's place among all.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    /// From zero.
    pub index: usize,
    pub count: usize,
    pub path: &'a Path,
}

/// Where lines go while a progress bar may be shown.
pub(super) struct Desk<'a, 'b> {
    console: &'a mut Console<'b>,
    progress: Progress,
}

impl Pictures {
    /// Looks for the pictures of `sources`.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn find(sources: &[PathBuf], context: &mut Context<'_, '_>) -> Result<Self, Failure> {
        let sources = Sources::expand(sources.iter().map(PathBuf::as_path));
        if let Some(line) = sources.skipped_line() {
            context.console.complain(format_args!("warning: {line}"));
        }
        for problem in &sources.problems {
            context.console.complain(format_args!("error: {problem}"));
        }
        let failed = !sources.problems.is_empty();
        if sources.images.is_empty() {
            return Err(if failed { Failure::Reported } else { Failure::new("the sources name no image") });
        }
        Ok(Self { paths: sources.images, failed })
    }

    /// Shows every picture that can be read to `visit`, until the user stops the program. Those that cannot be read, or
    /// are [unfit](NotSaved::Unfit) for saving, are reported, and the others go on.
    ///
    /// # Errors
    /// The first failure of `visit`.
    pub(super) fn visit(
        &self,
        console: &mut Console<'_>,
        mut visit: impl FnMut(Turn<'_>, Picture, &mut Desk<'_, '_>) -> Result<(), NotSaved>,
    ) -> Result<End, Failure> {
        let interrupt =
            Interrupt::listen().map_err(|error| Failure::new(format_args!("cannot listen to Ctrl-C: {error}")))?;
        let count = self.paths.len();
        let mut desk = Desk { console, progress: Progress::new(count) };
        let mut end = End { failed: self.failed, interrupted: false };
        for (index, path) in self.paths.iter().enumerate() {
            if interrupt.is_set() {
                end.interrupted = true;
                break;
            }
            let problem = match Picture::open(path, &Limits::default()) {
                Ok(picture) => match visit(Turn { index, count, path }, picture, &mut desk) {
                    Ok(()) => None,
                    Err(NotSaved::Failed(failure)) => return Err(failure),
                    Err(unfit) => Some(unfit.to_string()),
                },
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                desk.complain(format_args!("error: {}: {problem}", path.display()));
                end.failed = true;
            }
            desk.progress.step();
        }
        Ok(end)
    }
}

impl Desk<'_, '_> {
    /// Writes a line to the output, at once.
    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        let out = &mut self.console.out;
        self.progress.aside(|| out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()))?;
        Ok(())
    }

    fn complain(&mut self, line: impl std::fmt::Display) {
        let console = &mut *self.console;
        self.progress.aside(|| console.complain(line));
    }
}

/// How going through the pictures ended.
pub(super) struct End {
    failed: bool,
    interrupted: bool,
}

impl End {
    /// The result of the command when nothing else fails.
    pub(super) fn result(&self) -> Result<(), Failure> {
        match self {
            Self { interrupted: true, .. } => Err(Failure::Interrupted),
            Self { failed: true, .. } => Err(Failure::Reported),
            _ => Ok(()),
        }
    }
}
