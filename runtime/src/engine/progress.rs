//! How far the units of every step are.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Which units of every step of a schedule are complete.
#[derive(Debug)]
pub struct Progress {
    /// Where the units of every step start, and where those of the last one end.
    starts: Vec<usize>,
    done: Vec<AtomicBool>,
    counts: Vec<Counts>,
}

/// Of a step.
#[derive(Debug, Default)]
struct Counts {
    /// Units done.
    done: AtomicU32,
    /// Shares of its padding written.
    padded: AtomicU32,
}

impl Progress {
    /// Nothing is done of steps that have so many units.
    pub fn new(units: impl Iterator<Item = usize>) -> Progress {
        let mut starts = Vec::from([0]);
        units.for_each(|units| starts.push(starts[starts.len() - 1] + units));
        let done = (0..starts[starts.len() - 1]).map(|_| AtomicBool::new(false)).collect();
        let counts = (1..starts.len()).map(|_| Counts::default()).collect();
        Progress { starts, done, counts }
    }

    /// Nothing is done any more.
    pub fn reset(&mut self) {
        self.done.iter_mut().for_each(|done| *done.get_mut() = false);
        self.counts.iter_mut().for_each(|counts| *counts = Counts::default());
    }

    /// Units of a step.
    pub fn units(&self, step: usize) -> usize {
        self.starts[step + 1] - self.starts[step]
    }

    /// A unit is done, once.
    pub fn finish(&self, step: usize, unit: usize) {
        self.done[self.starts[step] + unit].store(true, Ordering::Release);
        self.counts[step].done.fetch_add(1, Ordering::Release);
    }

    /// Whether all units of a step are done: all that was written is visible then.
    pub fn is_complete(&self, step: usize) -> bool {
        self.counts[step].done.load(Ordering::Acquire) as usize == self.units(step)
    }

    /// Whether these units of a step are done: all that they wrote is visible then.
    pub fn are_done(&self, step: usize, units: Range<usize>) -> bool {
        let start = self.starts[step];
        self.done[start + units.start..start + units.end].iter().all(|done| done.load(Ordering::Acquire))
    }

    /// A share of the padding of a step is written.
    pub fn finish_padding(&self, step: usize) {
        self.counts[step].padded.fetch_add(1, Ordering::Release);
    }

    /// Whether so many shares of the padding of a step are written: all of it is visible then.
    pub fn is_padded(&self, step: usize, shares: usize) -> bool {
        self.counts[step].padded.load(Ordering::Acquire) as usize == shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_complete_when_all_their_units_are_done() {
        let mut progress = Progress::new([2, 0, 3].into_iter());
        assert_eq!([0, 1, 2].map(|step| progress.units(step)), [2, 0, 3]);
        for _ in 0..2 {
            assert_eq!([0, 1, 2].map(|step| progress.is_complete(step)), [false, true, false]);
            progress.finish(2, 1);
            assert!(progress.are_done(2, 1..2) && progress.are_done(2, 0..0) && !progress.are_done(2, 0..2));
            progress.finish(2, 0);
            assert!(progress.are_done(2, 0..2) && !progress.is_complete(2) && !progress.are_done(0, 1..2));
            progress.finish(2, 2);
            assert_eq!([0, 1, 2].map(|step| progress.is_complete(step)), [false, true, true]);
            progress.finish_padding(1);
            assert!(!progress.is_padded(1, 2) && progress.is_padded(0, 0));
            progress.finish_padding(1);
            assert!(progress.is_padded(1, 2));
            progress.reset();
        }
    }
}
