//! A fixed team of threads that runs one job at a time together with its caller.

use super::StartError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Most members of a team: more threads than this exhaust what a process may map long before they help.
pub const MAX_THREADS: usize = 1024;

/// Spins this often before giving the core away.
const SPINS: u32 = 4_000;

type Job = *const (dyn Fn(usize) + Sync);

/// What a member panicked with.
type Panic = Box<dyn Any + Send>;

struct State {
    /// Number of jobs started; a change wakes the workers.
    generation: usize,
    job: Option<Job>,
    /// Workers that have not finished the current job.
    running: usize,
    /// The first panic of a worker in the current job.
    panic: Option<Panic>,
    stopping: bool,
}

// SAFETY: the job pointer is only dereferenced while `Team::run`, which borrows the job, waits for it.
unsafe impl Send for State {}

struct Shared {
    state: Mutex<State>,
    started: Condvar,
    finished: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A team of `threads` members: the caller of [`Team::run`] and `threads - 1` workers that sleep between jobs.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Team {
    /// Starts the workers.
    ///
    /// # Errors
    /// When the operating system refuses a thread, or there would be more than [`MAX_THREADS`].
    pub fn new(threads: usize) -> Result<Team, StartError> {
        if threads > MAX_THREADS {
            return Err(StartError::TooManyThreads);
        }
        let state = State { generation: 0, job: None, running: 0, panic: None, stopping: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), started: Condvar::new(), finished: Condvar::new() });
        let mut team = Team { shared, workers: Vec::new() };
        for member in 1..threads.max(1) {
            let shared = Arc::clone(&team.shared);
            let worker =
                std::thread::Builder::new().name(format!("peristyle-{member}")).spawn(move || work(&shared, member))?;
            team.workers.push(worker);
        }
        Ok(team)
    }

    /// Members, the caller included.
    pub fn len(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job(member)` once on every member, and returns when all are done. When a member panics, so does this, once
    /// the others are done too; the team stays usable. Members that wait for each other must do so at, or
    /// [by](Barrier::wait_until), a [`Barrier`] that they [guard](Barrier::guard).
    pub fn run(&mut self, job: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return job(0);
        }
        // SAFETY: only the lifetime changes; the pointer is dropped before this function returns.
        let erased: Job = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        {
            let mut state = self.shared.lock();
            state.generation += 1;
            state.job = Some(erased);
            state.running = self.workers.len();
        }
        self.shared.started.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        let mut state = self.shared.lock();
        while state.running > 0 {
            state = self.shared.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.job = None;
        let panic = own.err().into_iter().chain(state.panic.take());
        drop(state);
        // Prefers a panic to those that it caused.
        if let Some(panic) = panic.reduce(|a, b| if a.is::<Abandoned>() { b } else { a }) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.started.notify_all();
        for worker in self.workers.drain(..) {
            // Panics of jobs are caught, and there are no others.
            let _ = worker.join();
        }
    }
}

fn work(shared: &Shared, member: usize) {
    let mut seen = 0;
    loop {
        let job = {
            let mut state = shared.lock();
            loop {
                if state.stopping {
                    return;
                }
                if state.generation != seen {
                    seen = state.generation;
                    break state.job.expect("a job is set before its generation");
                }
                state = shared.started.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        // SAFETY: `Team::run` keeps the job alive until `running` is zero.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(member) }));
        let mut state = shared.lock();
        if let Err(panic) = done
            && state.panic.as_ref().is_none_or(|first| first.is::<Abandoned>())
        {
            state.panic = Some(panic);
        }
        state.running -= 1;
        if state.running == 0 {
            shared.finished.notify_one();
        }
    }
}

/// What a member unwinds with because another one panicked.
struct Abandoned;

/// Where members of a running job wait for each other, any number of times.
#[derive(Debug, Default)]
pub struct Barrier {
    arrived: AtomicUsize,
    round: AtomicUsize,
    /// A member panicked and will not arrive.
    broken: AtomicBool,
}

/// Lets the others go when its member panics.
pub struct Guard<'a>(&'a Barrier);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

impl Barrier {
    /// Every member holds this while it works towards the barrier: if it panics, the others do not wait for it.
    pub fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Makes the barrier usable after a panic.
    pub fn reset(&mut self) {
        *self.arrived.get_mut() = 0;
        *self.broken.get_mut() = false;
    }

    /// Waits until `members` members have called this. Everything they did before is visible afterwards. Unwinds when
    /// one of them panicked.
    pub fn wait(&self, members: usize) {
        if members == 1 {
            return;
        }
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == members {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        self.wait_until(|| self.round.load(Ordering::Acquire) != round);
    }

    /// Waits until `ready`, which another member makes true. Unwinds when one of them panicked.
    pub fn wait_until(&self, ready: impl Fn() -> bool) {
        let mut spins = 0;
        while !ready() {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else if self.broken.load(Ordering::Acquire) {
                resume_unwind(Box::new(Abandoned));
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_any_member_reaches_the_caller_and_the_team_goes_on() {
        let mut team = Team::new(3).unwrap();
        let mut barrier = Barrier::default();
        for (culprit, together) in (0..3).flat_map(|culprit| [(culprit, true), (culprit, false)]) {
            barrier.reset();
            let run = AssertUnwindSafe(|| {
                team.run(&|member| {
                    let _guard = barrier.guard();
                    barrier.wait(3);
                    if member == culprit {
                        resume_unwind(Box::new(member));
                    }
                    if together {
                        barrier.wait(3);
                    } else {
                        barrier.wait_until(|| false);
                    }
                });
            });
            let panic = catch_unwind(run).expect_err("a member panics");
            assert_eq!(panic.downcast_ref(), Some(&culprit));
        }
        barrier.reset();
        let count = AtomicUsize::new(0);
        team.run(&|_| {
            count.fetch_add(1, Ordering::SeqCst);
            barrier.wait(3);
        });
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn every_member_runs_and_barriers_order_their_rounds() {
        let mut team = Team::new(4).unwrap();
        let barrier = Barrier::default();
        let counter = AtomicUsize::new(0);
        for _ in 0..50 {
            counter.store(0, Ordering::SeqCst);
            team.run(&|_| {
                for round in 1..=20 {
                    counter.fetch_add(1, Ordering::SeqCst);
                    barrier.wait(4);
                    assert_eq!(counter.load(Ordering::SeqCst), round * 4);
                    barrier.wait(4);
                }
            });
        }
    }
}
