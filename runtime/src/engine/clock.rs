//! When the steps of a schedule end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times the steps of one image that several threads compute together.
///
/// While they are timed, threads end every step together. A step lasts from when the last thread has ended the step before
/// to when the last one ends it. So a thread that loses its core lengthens the step it was in, and never makes another one look shorter than its work.
#[derive(Debug)]
pub struct StepClock {
    base: Instant,
    /// Nanoseconds from the base to the last arrival before the first step, and after every step.
    arrivals: Vec<AtomicU64>,
}

impl StepClock {
    /// A clock for a number of steps.
    pub fn new(steps: usize) -> StepClock {
        StepClock { base: Instant::now(), arrivals: (0..=steps).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A thread has ended `steps` steps.
    pub fn arrive(&self, steps: usize) {
        let nanoseconds = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.arrivals[steps].fetch_max(nanoseconds, Ordering::Relaxed);
    }

    /// The time of every step, once all threads are done.
    pub fn times(&self) -> impl Iterator<Item = Duration> {
        let at = |arrival: &AtomicU64| arrival.load(Ordering::Relaxed);
        self.arrivals.windows(2).map(move |pair| Duration::from_nanos(at(&pair[1]).saturating_sub(at(&pair[0]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thread_ends_a_step() {
        let clock = StepClock::new(2);
        let pause = Duration::from_millis(2);
        for arrivals in [&[0, 0][..], &[1, 1], &[2]] {
            for &steps in arrivals {
                std::thread::sleep(pause);
                clock.arrive(steps);
            }
        }
        let times: Vec<Duration> = clock.times().collect();
        assert_eq!(times.len(), 2);
        assert!(times[0] >= 2 * pause && times[1] >= pause, "{times:?}");
    }
}
