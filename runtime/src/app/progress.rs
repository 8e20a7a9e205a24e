//! How far a long run has come, for somebody who watches.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Runs that are done before this need no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar on the error output; nothing at all where that is no terminal.
pub struct Progress {
    bar: ProgressBar,
    /// When to show the bar; `None` when it is shown or never will be.
    due: Option<Instant>,
}

impl Progress {
    /// A bar for `total` steps.
    pub fn new(total: usize) -> Self {
        let watched = total > 1 && io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::hidden());
        let template = "{bar:30} {pos}/{len} [{elapsed} < {eta}, {per_sec}]";
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        Self { bar, due: watched.then(|| Instant::now() + PATIENCE) }
    }

    /// Counts one step.
    pub fn step(&mut self) {
        self.bar.inc(1);
        if self.due.is_some_and(|due| Instant::now() >= due) {
            self.due = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes the bar away while something is written.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
