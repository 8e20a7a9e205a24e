//! Going through the pictures and frames of a command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::Context;
use crate::app::Console;
use crate::app::failure::Failure;
use crate::app::interrupt::Interrupt;
use crate::app::progress::Progress;
use crate::app::save::NotSaved;
use crate::app::source::{Frame, FrameKind, Frames, Options, Picture, Sources};

/// The sources that a command line names, after what is wrong with it was said.
pub(super) struct Pictures {
    sources: Sources,
    failed: bool,
}

/// A picture's place among all.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    /// Its source, from 1, and how many there are.
    pub place: [usize; 2],
    pub path: &'a Path,
    pub kind: FrameKind,
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
        if sources.is_empty() {
            return Err(if failed { Failure::Reported } else { Failure::new("the sources name no image or video") });
        }
        Ok(Self { sources, failed })
    }

    /// The files among the sources.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.sources.files()
    }

    /// Whether every source is an image of its own.
    pub(super) fn still(&self) -> bool {
        self.sources.videos.is_empty() && self.sources.live.is_empty()
    }

    /// Shows every picture and frame that can be read to `visit`, until the user stops the program. Those that cannot be
    /// read, or are [unfit](NotSaved::Unfit) for saving, are reported, and the others go on.
    ///
    /// # Errors
    /// The first failure of `visit`.
    pub(super) fn visit(
        self,
        vid_stride: NonZeroUsize,
        console: &mut Console<'_>,
        mut visit: impl FnMut(Turn<'_>, Picture, &mut Desk<'_, '_>) -> Result<(), NotSaved>,
    ) -> Result<End, Failure> {
        let interrupt =
            Interrupt::listen().map_err(|error| Failure::new(format_args!("cannot listen to Ctrl-C: {error}")))?;
        let mut end = End { failed: self.failed, interrupted: false };
        let still = self.still();
        let options = Options { vid_stride, interrupt: interrupt.clone(), ..Options::default() };
        let mut frames = Frames::new(self.sources, options);
        let count = frames.sources();
        // Videos and streams print their frames and have no known number of them.
        let mut desk = Desk { console, progress: Progress::new(if still { count } else { 0 }) };
        let mut live = false;
        for frame in frames.by_ref() {
            let problem = match frame {
                Ok(Frame { picture, path, source, kind }) => {
                    live = matches!(kind, FrameKind::Live { .. });
                    match visit(Turn { place: [source, count], path: &path, kind }, picture, &mut desk) {
                        Ok(()) => None,
                        Err(NotSaved::Failed(failure)) => return Err(failure),
                        Err(unfit) => Some((format!("error: {}: {unfit}", path.display()), false)),
                    }
                }
                Err(problem) => Some((problem.to_string(), problem.passing)),
            };
            if let Some((line, passing)) = problem {
                desk.complain(line);
                end.failed |= !passing;
            }
            desk.progress.step();
        }
        // Only the user ends a stream; everything else ends by itself.
        end.interrupted = interrupt.is_set() && !live;
        for report in frames.live_reports().into_iter().filter(|report| report.received > 0) {
            desk.complain(report);
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

    /// Writes a line to the error output.
    pub(super) fn complain(&mut self, line: impl std::fmt::Display) {
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
