//! The queue of images, and how cores are given to them.
//!
//! One queue serves all endpoints, first come first served. A thread that takes an image takes cores with it: all that
//! are free when nothing else waits, and as few as give every waiting image its own when many do. So one client at a
//! time gets the shortest latency, and many get the highest throughput, where every core works on an image of its own.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::oneshot;

use super::error::ApiError;
use super::settings::Scheduling;
use crate::detect::{Detections, Params};

/// An image that waits.
pub struct Job {
    /// Index of the model that it is for.
    pub model: usize,
    /// The image file.
    pub image: Bytes,
    /// What to report.
    pub params: Params,
    /// When it was put into the queue.
    pub queued: Instant,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// Position in its request, and how many images the request has.
    pub place: (usize, usize),
    /// Where the answer goes. Closed when the client went away.
    pub reply: oneshot::Sender<Result<Found, ApiError>>,
}

/// The answer about an image.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The objects.
    pub detections: Detections,
    /// Time in each stage.
    pub spent: Spent,
}

/// Where the time of an image went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Waiting.
    pub queue: Duration,
    /// Decoding the file.
    pub decode: Duration,
    /// Fitting it into the network input.
    pub pre_process: Duration,
    /// In the network.
    pub inference: Duration,
    /// Reading the outputs and suppressing boxes.
    pub post_process: Duration,
}

/// Images to look at in one run, and the cores to do it with.
pub struct Batch {
    /// At least one, all of the same model and parameters.
    pub jobs: Vec<Job>,
    /// Threads of the network; to be given [back](Schedule::give_back).
    pub width: usize,
}

/// The queue.
pub struct Schedule {
    scheduling: Scheduling,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<Job>,
    free_cores: usize,
    /// Threads that wait for a batch.
    idle: usize,
    /// No more batches after those that wait.
    closed: bool,
}

impl Schedule {
    /// An empty queue.
    pub fn new(scheduling: Scheduling) -> Self {
        let waiting = VecDeque::with_capacity(scheduling.queue);
        let state = State { waiting, free_cores: scheduling.cores, idle: 0, closed: false };
        Self { scheduling, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the images of a request at the end, all of them or none.
    ///
    /// # Errors
    /// [`ApiError::busy`] when the queue is full. A request may overrun the end of the queue that it found.
    pub fn push(&self, jobs: Vec<Job>) -> Result<(), ApiError> {
        let mut state = self.lock();
        self.make_room(&mut state)?;
        state.waiting.extend(jobs);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether a request would be taken now.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn expect_room(&self) -> Result<(), ApiError> {
        self.make_room(&mut self.lock())
    }

    fn make_room(&self, state: &mut State) -> Result<(), ApiError> {
        if state.waiting.len() >= self.scheduling.queue {
            state.waiting.retain(|job| !job.reply.is_closed());
        }
        if state.waiting.len() < self.scheduling.queue {
            return Ok(());
        }
        let waiting = state.waiting.len();
        Err(ApiError::busy(format!("{waiting} images wait already, as many as may wait; try again later")))
    }

    /// Images that wait and that somebody still wants.
    pub fn depth(&self) -> usize {
        self.lock().waiting.iter().filter(|job| !job.reply.is_closed()).count()
    }

    /// Ends [`next`](Self::next) once nothing waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for images and cores; `None` when the queue is closed and empty.
    ///
    /// Images whose client went away are dropped; those past their deadline are answered so.
    pub fn next(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.idle += 1;
        let batch = loop {
            expire(&mut state.waiting);
            if state.waiting.is_empty() && state.closed {
                break None;
            }
            if !state.waiting.is_empty() && state.free_cores >= self.narrowest() {
                state = self.linger(state);
                expire(&mut state.waiting);
                if let Some(batch) = self.take(&mut state) {
                    break Some(batch);
                }
                continue;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.idle -= 1;
        batch
    }

    /// Returns the cores of a batch.
    pub fn give_back(&self, width: usize) {
        self.lock().free_cores += width;
        self.changed.notify_all();
    }

    /// Waits for a full batch, but not longer than the first image may wait.
    fn linger<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Scheduling { max_batch, max_wait, .. } = self.scheduling;
        while let Some(first) = state.waiting.front()
            && state.waiting.len() < max_batch
            && !state.closed
        {
            let left = max_wait.saturating_sub(first.queued.elapsed());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// The fewest threads that a network runs on.
    fn narrowest(&self) -> usize {
        (self.scheduling.cores / self.scheduling.streams).max(1)
    }

    /// Takes the first image, others that fit into the same run, and cores.
    fn take(&self, state: &mut State) -> Option<Batch> {
        let narrowest = self.narrowest();
        if state.free_cores < narrowest {
            return None;
        }
        let first = state.waiting.pop_front()?;
        let mut jobs = vec![first];
        let mut at = 0;
        while jobs.len() < self.scheduling.max_batch && at < state.waiting.len() {
            let fits = state.waiting[at].model == jobs[0].model && state.waiting[at].params == jobs[0].params;
            match fits.then(|| state.waiting.remove(at)).flatten() {
                Some(job) => jobs.push(job),
                None => at += 1,
            }
        }
        let side_by_side = (1 + state.waiting.len()).min(state.idle.max(1));
        let width = self.width(state.free_cores, side_by_side);
        state.free_cores -= width;
        Some(Batch { jobs, width })
    }

    /// The widest of the usual widths, halves of all cores down to the narrowest, that leaves as much to the others.
    fn width(&self, free: usize, side_by_side: usize) -> usize {
        let narrowest = self.narrowest();
        let share = free / side_by_side;
        let halves = std::iter::successors(Some(self.scheduling.cores), |width| Some(width / 2));
        halves.take_while(|width| *width > narrowest).find(|width| *width <= share).unwrap_or(narrowest)
    }
}

/// Drops what nobody waits for.
fn expire(waiting: &mut VecDeque<Job>) {
    let now = Instant::now();
    if !waiting.iter().any(|job| job.reply.is_closed() || job.deadline <= now) {
        return;
    }
    for job in std::mem::take(waiting) {
        if job.reply.is_closed() {
            continue;
        }
        if job.deadline > now {
            waiting.push_back(job);
            continue;
        }
        // Nobody reads it when the client went away since.
        let _ = job.reply.send(Err(late(job.queued.elapsed())));
    }
}

/// The refusal of an image that waited too long.
pub fn late(waited: Duration) -> ApiError {
    let message = format!("no answer within {} ms; the service is busy, try again later", waited.as_millis());
    ApiError::unavailable("deadline_exceeded", 1, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reply = oneshot::Receiver<Result<Found, ApiError>>;

    fn schedule(cores: usize, streams: usize, max_batch: usize, queue: usize) -> Schedule {
        Schedule::new(Scheduling { cores, streams, max_batch, max_wait: Duration::ZERO, queue })
    }

    fn job(model: usize, milliseconds: u64) -> (Job, Reply) {
        let (reply, answer) = oneshot::channel();
        let queued = Instant::now();
        let deadline = queued + Duration::from_millis(milliseconds);
        let params = Params::default();
        (Job { model, image: Bytes::new(), params, queued, deadline, place: (0, 1), reply }, answer)
    }

    #[test]
    fn one_image_gets_every_core_and_many_share_them() {
        let schedule = schedule(8, 8, 1, 100);
        let widths = [(8, 1, 8), (8, 2, 4), (8, 3, 2), (8, 8, 1), (8, 20, 1), (7, 1, 4), (3, 1, 2), (3, 2, 1)];
        for (free, side_by_side, width) in widths {
            assert_eq!(schedule.width(free, side_by_side), width, "{free} free, {side_by_side} side by side");
        }
        let coarse = self::schedule(6, 2, 1, 100);
        assert_eq!([(6, 1), (6, 2), (3, 1)].map(|(free, n)| coarse.width(free, n)), [6, 3, 3]);
    }

    #[test]
    fn a_full_queue_refuses_and_makes_room_for_those_who_stay() {
        let schedule = schedule(1, 1, 1, 2);
        let (first, gone) = job(0, 1000);
        let (second, _stays) = job(0, 1000);
        schedule.push(vec![first, second]).unwrap();
        let (third, _stays) = job(0, 1000);
        let refused = schedule.push(vec![third]).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.retry_after), (429, Some(1)));
        drop(gone);
        assert_eq!(schedule.depth(), 1);
        let (fourth, _stays) = job(0, 1000);
        schedule.push(vec![fourth]).unwrap();
        assert_eq!(schedule.depth(), 2);
    }

    #[test]
    fn late_images_are_answered_and_abandoned_ones_dropped() {
        let schedule = schedule(1, 1, 1, 9);
        let (late, mut answer) = job(0, 0);
        let (abandoned, gone) = job(0, 1000);
        let (wanted, _stays) = job(7, 1000);
        drop(gone);
        schedule.push(vec![late, abandoned, wanted]).unwrap();
        let batch = schedule.next().unwrap();
        assert_eq!((batch.jobs.len(), batch.jobs[0].model), (1, 7));
        assert_eq!(answer.try_recv().unwrap().unwrap_err().kind, "deadline_exceeded");
        schedule.close();
        assert!(schedule.next().is_none());
    }

    #[test]
    fn a_batch_is_of_one_model_and_one_set_of_parameters() {
        let schedule = schedule(2, 2, 3, 9);
        let (mut other, _a) = job(0, 1000);
        other.params.conf_thres = 0.5;
        let (jobs, _answers): (Vec<Job>, Vec<Reply>) =
            [0, 1, 0, 0, 0].map(|model| job(model, 1000)).into_iter().unzip();
        schedule.push([other].into_iter().chain(jobs).collect()).unwrap();
        let sizes: Vec<(usize, usize)> = std::iter::from_fn(|| {
            (schedule.depth() > 0).then(|| {
                let batch = schedule.next().unwrap();
                schedule.give_back(batch.width);
                (batch.jobs[0].model, batch.jobs.len())
            })
        })
        .collect();
        assert_eq!(sizes, [(0, 1), (0, 3), (1, 1), (0, 1)]);
    }
}
