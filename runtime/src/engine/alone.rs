//! A team of one, where there are no threads.

use super::StartError;

/// Most members of a team: only the caller.
pub const MAX_THREADS: usize = 1;

/// The caller of [`Team::run`].
pub struct Team(());

impl Team {
    /// The team of the caller.
    ///
    /// # Errors
    /// When there would be more.
    pub fn new(threads: usize) -> Result<Team, StartError> {
        if threads > MAX_THREADS { Err(StartError::TooManyThreads) } else { Ok(Team(())) }
    }

    /// Members, the caller included.
    pub fn len(&self) -> usize {
        MAX_THREADS
    }

    /// Runs `job(0)`.
    pub fn run(&mut self, job: &(dyn Fn(usize) + Sync)) {
        job(0);
    }
}

/// A barrier that nobody waits at.
#[derive(Debug, Default)]
pub struct Barrier(());

/// What a member holds while it works.
pub struct Guard;

impl Barrier {
    /// As with threads; there is nobody to let go.
    pub fn guard(&self) -> Guard {
        Guard
    }

    /// Nothing is left to undo.
    pub fn reset(&mut self) {}

    /// All are here.
    pub fn wait(&self, _: usize) {}

    /// Nobody else makes anything ready.
    pub fn wait_until(&self, ready: impl Fn() -> bool) {
        debug_assert!(ready());
    }
}
