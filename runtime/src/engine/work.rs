//! What the threads of a team do together.

use super::arena::Arena;
use super::clock::StepClock;
use super::needs::{overlaps, units_read};
use super::program::{Kind, Program, Step};
use super::progress::Progress;
use super::shares::{Shares, share};
use super::threads::Barrier;
use super::{Buffers, TensorMut, TensorRef};
use crate::simd::Isa;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::AtomicU32;

/// What the members of the team share.
pub(super) struct Work {
    pub(super) program: &'static Program,
    pub(super) isa: Isa,
    /// One per thread; the first also serves runs of all threads together.
    pub(super) arenas: Vec<Arena>,
    pub(super) scratch: Vec<Arena>,
    /// Units of every step of the image that all threads compute together.
    pub(super) shares: Shares,
    /// As many shares of the padding of every step as there are members.
    pub(super) pad_shares: Shares,
    pub(super) progress: Progress,
    /// Next image of a batch that threads compute apart.
    pub(super) next_image: AtomicU32,
    pub(super) barrier: Barrier,
    /// Tensor pointers of one call, here so that a run allocates nothing.
    pub(super) inputs: Vec<*const u8>,
    pub(super) outputs: Vec<*mut u8>,
}

// SAFETY: the tensor pointers are set at the start of a call and used within it.
unsafe impl Send for Work {}
// SAFETY: within a call inputs are only read, and members write disjoint parts of outputs and arenas.
unsafe impl Sync for Work {}

impl Work {
    pub(super) fn set_tensors(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) {
        self.inputs.clear();
        self.inputs.extend(inputs.iter().map(|t| match t {
            TensorRef::F32(v) => v.as_ptr().cast::<u8>(),
            TensorRef::U8(v) => v.as_ptr(),
        }));
        self.outputs.clear();
        self.outputs.extend(outputs.iter_mut().map(|t| match t {
            TensorMut::F32(v) => v.as_mut_ptr().cast::<u8>(),
            TensorMut::U8(v) => v.as_mut_ptr(),
        }));
    }

    pub(super) fn buffers(&self, arena: usize, scratch: usize, image: usize) -> Buffers<'_> {
        Buffers {
            spec: self.program.spec,
            arena: self.arenas[arena].as_ptr(),
            scratch: self.scratch[scratch].as_ptr(),
            inputs: &self.inputs,
            outputs: &self.outputs,
            image,
        }
    }

    /// # Safety
    /// Tensors hold image `image`; nobody else uses the member's arena and scratch.
    pub(super) unsafe fn run_alone(&self, member: usize, image: usize) {
        // SAFETY: forwarded.
        unsafe { self.run_steps(member, image, &mut |_, _| ()) };
    }

    /// As `run_alone`, with a call after every step.
    ///
    /// # Safety
    /// As for `run_alone`.
    pub(super) unsafe fn run_steps(&self, member: usize, image: usize, done: &mut dyn FnMut(usize, &Buffers<'_>)) {
        let buffers = self.buffers(member, member, image);
        for (at, step) in self.program.schedule.iter().enumerate() {
            for unit in 0..self.pad_units(step) {
                // SAFETY: this thread is alone on the arena.
                unsafe { self.run_pad_unit(&buffers, step, unit) };
            }
            for unit in 0..self.progress.units(at) {
                // SAFETY: steps before this one are complete; this thread is alone on the arena.
                unsafe { self.run_unit(&buffers, step, unit) };
            }
            done(at, &buffers);
        }
    }

    /// # Safety
    /// As for `run_alone`, with all members on the first arena in the same call.
    pub(super) unsafe fn run_member(&self, member: usize, members: usize, image: usize, clock: Option<&StepClock>) {
        let buffers = self.buffers(0, member, image);
        let _guard = self.barrier.guard();
        if let Some(clock) = clock {
            // Members wake one after the other; that is no layer's time.
            clock.arrive(0);
            self.barrier.wait(members);
        }
        for (index, step) in self.program.schedule.iter().enumerate() {
            // Steps before the previous one are complete, and of that one as much as this one needs. A clock sees every
            // step on its own.
            let together = clock.is_none() && overlaps(self.program, index);
            let complete = index.saturating_sub(2)..if together { index - 1 } else { index };
            self.barrier.wait_until(|| complete.clone().all(|step| self.progress.is_complete(step)));
            let pads = self.pad_units(step);
            if pads > 0 {
                while let Some(part) = self.pad_shares.claim(index, members, member) {
                    for unit in share(pads, part, members) {
                        // SAFETY: no member computes the layer before all padding is written.
                        unsafe { self.run_pad_unit(&buffers, step, unit) };
                    }
                    self.progress.finish_padding(index);
                }
                self.barrier.wait_until(|| self.progress.is_padded(index, members));
            }
            while let Some(unit) = self.shares.claim(index, self.progress.units(index), member) {
                if together {
                    let read = units_read(self.program, self.isa, index, unit);
                    self.barrier.wait_until(|| self.progress.are_done(index - 1, read.clone()));
                }
                // SAFETY: what the unit reads is complete; each unit is claimed once.
                unsafe { self.run_unit(&buffers, step, unit) };
                self.progress.finish(index, unit);
            }
            if let Some(clock) = clock {
                clock.arrive(index + 1);
            }
        }
    }

    /// Computes image 0 on this thread. Steps that `early` names start before the step before them wherever they may: their
    /// units are computed in order, or the last one first, each after what it needs, and then what is left of the step
    /// before. Units run whole: what is between their rows only while they run does not show.
    ///
    /// # Safety
    /// Nobody else uses the first arena and scratch.
    pub(super) unsafe fn run_overlapped(&self, early: impl Fn(usize) -> bool, descending: bool) {
        let buffers = self.buffers(0, 0, 0);
        let schedule = &self.program.schedule;
        let early = |at: usize| at < schedule.len() && early(at) && overlaps(self.program, at);
        let complete = |at: usize, units: Range<usize>| {
            for unit in units.filter(|&unit| !self.progress.are_done(at, unit..unit + 1)) {
                // SAFETY: what the unit reads is complete; this thread is alone on the arena.
                unsafe { self.run_unit(&buffers, &schedule[at], unit) };
                self.progress.finish(at, unit);
            }
        };
        for (at, step) in schedule.iter().enumerate() {
            let units = self.progress.units(at);
            for unit in 0..self.pad_units(step) {
                // SAFETY: steps before the previous one are complete, and nobody computes this one.
                unsafe { self.run_pad_unit(&buffers, step, unit) };
            }
            if early(at) {
                for unit in 0..units {
                    let unit = if descending { units - 1 - unit } else { unit };
                    complete(at - 1, units_read(self.program, self.isa, at, unit));
                    complete(at, unit..unit + 1);
                }
                complete(at - 1, 0..self.progress.units(at - 1));
            } else if !early(at + 1) {
                complete(at, 0..units);
            }
        }
    }

    /// Units of the padding that the first step of a layer writes: channels of its padded maps. Units of the layer
    /// write into the same rows, so all padding is complete before they start.
    pub(super) fn pad_units(&self, step: &Step) -> usize {
        let maps = if step.first == 0 { &self.program.layers[step.layer as usize].pads[..] } else { &[] };
        maps.iter().map(|map| map.channels).sum()
    }

    /// # Safety
    /// Nobody reads the padding or computes the step's layer, and nobody else writes this unit.
    pub(super) unsafe fn run_pad_unit(&self, buffers: &Buffers<'_>, step: &Step, mut unit: usize) {
        for map in self.program.layers[step.layer as usize].pads.iter() {
            if unit < map.channels {
                // SAFETY: forwarded.
                return unsafe { map.slice(unit, 1).fill_padding(buffers.arena) };
            }
            unit -= map.channels;
        }
    }

    /// # Safety
    /// What the unit reads is complete, and nobody else computes it.
    pub(super) unsafe fn run_unit(&self, buffers: &Buffers<'_>, step: &Step, unit: usize) {
        let layer = self.program.layers[step.layer as usize];
        let rows = step.rows();
        let (arena, scratch) = (buffers.arena, buffers.scratch);
        // SAFETY: forwarded.
        unsafe {
            match &layer.kind {
                Kind::Conv(conv) => conv.run_unit(self.isa, arena, scratch, &rows, unit),
                Kind::LoadInput(load) => load.run_unit(self.isa, arena, buffers.input(load.input), unit, &rows),
                Kind::CopyMap(copy) => copy.run_channel(arena, unit, &rows),
                Kind::MaxPool(pool) => pool.run_channel(self.isa, arena, scratch, unit, &rows),
                Kind::AveragePool(pool) => pool.run_channel(arena, unit, &rows),
                Kind::Resize(resize) => resize.run_channel(self.isa, arena, unit, &rows),
                Kind::Unary(unary) => unary.run_unit(self.isa, buffers, unit),
                Kind::Binary(binary) => binary.run_unit(buffers, unit),
                Kind::Softmax(softmax) => softmax.run(buffers),
                Kind::MatMul(product) => product.run_unit(buffers, unit),
                Kind::DetectHead(head) => head.run_unit(self.isa, buffers, unit),
            }
        }
    }
}
