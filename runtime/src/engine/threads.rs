//! A fixed team of threads that runs one job at a time together with its caller.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Spins this often on a barrier before giving the core away.
const SPINS: u32 = 4_000;

type Job = *const (dyn Fn(usize) + Sync);

struct State {
    /// Number of jobs started; a change wakes the workers.
    generation: usize,
    job: Option<Job>,
    /// Workers that have not finished the current job.
    running: usize,
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
    /// When the operating system refuses a thread.
    pub fn new(threads: usize) -> std::io::Result<Team> {
        let state = State { generation: 0, job: None, running: 0, stopping: false };
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

    /// Runs `job(member)` once on every member, and returns when all are done.
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
        job(0);
        let mut state = self.shared.lock();
        while state.running > 0 {
            state = self.shared.finished.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.job = None;
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.started.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has already printed its message.
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
        unsafe { (*job)(member) };
        let mut state = shared.lock();
        state.running -= 1;
        if state.running == 0 {
            shared.finished.notify_one();
        }
    }
}

/// A barrier for members of a running job, reusable any number of times.
#[derive(Debug, Default)]
pub struct Barrier {
    arrived: AtomicUsize,
    round: AtomicUsize,
}

impl Barrier {
    /// Waits until `members` members have called this. Everything they did before is visible afterwards.
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
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
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
