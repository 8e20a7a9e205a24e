//! How far the units of every step are.

use super::program::{Kind, Layer, Needs, Program, Step};
use crate::simd::Isa;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Which units of every step of a schedule are complete.
#[derive(Debug)]
pub struct Progress {
    /// Where the units of every step start, and where those of the last one end.
    starts: Vec<usize>,
    done: Vec<AtomicBool>,
    /// Units done, and shares of the padding, of every step.
    counts: Vec<[AtomicU32; 2]>,
}

impl Progress {
    /// Nothing is done of steps that have so many units.
    pub fn new(units: impl Iterator<Item = usize>) -> Progress {
        let mut starts = Vec::from([0]);
        units.for_each(|units| starts.push(starts[starts.len() - 1] + units));
        let done = (0..starts[starts.len() - 1]).map(|_| AtomicBool::new(false)).collect();
        let counts = (1..starts.len()).map(|_| [const { AtomicU32::new(0) }; 2]).collect();
        Progress { starts, done, counts }
    }

    /// Nothing is done any more.
    pub fn reset(&mut self) {
        self.done.iter_mut().for_each(|done| *done.get_mut() = false);
        self.counts.iter_mut().flatten().for_each(|count| *count.get_mut() = 0);
    }

    /// Units of a step.
    pub fn units(&self, step: usize) -> usize {
        self.starts[step + 1] - self.starts[step]
    }

    /// A unit is done, once.
    pub fn finish(&self, step: usize, unit: usize) {
        self.done[self.starts[step] + unit].store(true, Ordering::Release);
        self.counts[step][0].fetch_add(1, Ordering::Release);
    }

    /// Whether all units of a step are done: all that was written is visible then.
    pub fn is_complete(&self, step: usize) -> bool {
        self.counts[step][0].load(Ordering::Acquire) as usize == self.units(step)
    }

    /// Whether these units of a step are done: all that they wrote is visible then.
    pub fn are_done(&self, step: usize, units: Range<usize>) -> bool {
        let start = self.starts[step];
        self.done[start + units.start..start + units.end].iter().all(|done| done.load(Ordering::Acquire))
    }

    /// A share of the padding of a step is written.
    pub fn pad(&self, step: usize) {
        self.counts[step][1].fetch_add(1, Ordering::Release);
    }

    /// Whether so many shares of the padding of a step are written: all of it is visible then.
    pub fn is_padded(&self, step: usize, shares: usize) -> bool {
        self.counts[step][1].load(Ordering::Acquire) as usize == shares
    }
}

/// Whether a step may start before the one before it is complete.
pub fn overlaps(program: &Program, step: usize) -> bool {
    let is_conv = |step: &Step| matches!(program.layers[step.layer as usize].kind, Kind::Conv(_));
    match program.schedule[step].needs {
        _ if step == 0 => false,
        Needs::All => false,
        Needs::Nothing => true,
        Needs::Rows { .. } => is_conv(&program.schedule[step - 1]) && is_conv(&program.schedule[step]),
    }
}

/// The units of the step before `step` that a unit of it reads.
pub fn units_read(program: &Program, isa: Isa, step: usize, unit: usize) -> Range<usize> {
    let at = |step: &Step| (program.layers[step.layer as usize], step.first as usize..step.end as usize);
    let Needs::Rows { stride, above, below } = program.schedule[step].needs else { return 0..0 };
    let ((reader, rows), (writer, written)) = (at(&program.schedule[step]), at(&program.schedule[step - 1]));
    let (Layer { kind: Kind::Conv(reader), .. }, Layer { kind: Kind::Conv(writer), .. }) = (reader, writer) else {
        return 0..0;
    };
    let [first, last] = reader.pixels_of_unit(isa, &rows, unit);
    let [stride, above, below] = [stride, above, below].map(|n| n as usize);
    let top = (first[0] * stride).saturating_sub(above);
    let bottom = last[0] * stride + below;
    if top >= written.end || bottom < written.start {
        return 0..0;
    }
    // Without a window a unit needs the pixels that it computes.
    let alike = [stride, above, below] == [1, 0, 0] && reader.out_width == writer.out_width;
    let columns = if alike { [first[1], last[1]] } else { [0, writer.out_width - 1] };
    let row = |y: usize| y.clamp(written.start, written.end - 1);
    writer.units_of_pixels(isa, &written, [row(top), columns[0]], [row(bottom), columns[1]])
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
            progress.pad(1);
            assert!(!progress.is_padded(1, 2) && progress.is_padded(0, 0));
            progress.pad(1);
            assert!(progress.is_padded(1, 2));
            progress.reset();
        }
    }
}
