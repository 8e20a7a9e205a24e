//! The engine: executes a program's schedule with a team of threads.

use super::arena::Arena;
use super::clock::StepClock;
use super::golden::Values;
use super::program::{Kind, Program, Step};
use super::shares::{Shares, share};
use super::threads::{Barrier, Team};
use super::validate::validate;
use super::{Buffers, DType, Infer, ModelSpec, RunError, StartError, TensorMut, TensorRef, TensorSpec};
use crate::simd::Isa;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(feature = "std")]
use core::time::Duration;

/// Threads that this process can keep busy: what its affinity and its quota allow, at least one.
pub fn cores() -> usize {
    #[cfg(feature = "std")]
    {
        std::thread::available_parallelism().map_or(1, core::num::NonZero::get)
    }
    #[cfg(not(feature = "std"))]
    super::MAX_THREADS
}

/// A compiled model ready to run.
///
/// One image is computed by all threads together, layer by layer; of a larger batch every thread takes whole images.
pub struct Engine {
    team: Team,
    work: Work,
}

impl Engine {
    /// Allocates arenas and starts `threads` threads, at least one, for the best instruction set of this machine.
    ///
    /// # Errors
    /// When the operating system refuses a thread or memory, or the program reads or writes outside its arena,
    /// constants and tensors ([`ProgramError`](super::ProgramError)). Unrolled kernels are trusted.
    pub fn new(program: &'static Program, threads: usize) -> Result<Engine, StartError> {
        Engine::with_isa(program, threads, Isa::detect())
    }

    /// As [`Engine::new`], for an instruction set no better than the machine's and what the program has tables for.
    ///
    /// # Errors
    /// When the operating system refuses a thread or memory, or the program reads or writes outside its arena,
    /// constants and tensors ([`ProgramError`](super::ProgramError)). Unrolled kernels are trusted.
    pub fn with_isa(program: &'static Program, threads: usize, isa: Isa) -> Result<Engine, StartError> {
        validate(program)?;
        let team = Team::new(threads)?;
        let scratch_bytes = program.layers.iter().map(|l| l.kind.scratch_bytes()).max().unwrap_or(0);
        let work = Work {
            program,
            isa: isa.min(Isa::detect()).min(program.widest_isa()),
            arenas: (0..team.len()).map(|_| Arena::new(program.arena_bytes)).collect::<Result<_, _>>()?,
            scratch: (0..team.len()).map(|_| Arena::new(scratch_bytes)).collect::<Result<_, _>>()?,
            shares: Shares::new(team.len(), program.schedule.len()),
            next_image: AtomicU32::new(0),
            barrier: Barrier::default(),
            inputs: Vec::with_capacity(program.spec.inputs.len()),
            outputs: Vec::with_capacity(program.spec.outputs.len()),
        };
        Ok(Engine { team, work })
    }

    /// Threads of the team.
    pub fn threads(&self) -> usize {
        self.team.len()
    }

    /// The instruction set that runs.
    pub fn isa(&self) -> Isa {
        self.work.isa
    }

    /// The program that runs.
    pub fn program(&self) -> &'static Program {
        self.work.program
    }

    /// As [`Infer::run`], all threads together on one image after the other, and returns the time spent in every layer
    /// of the program. What passes until all threads are awake belongs to no layer.
    ///
    /// # Errors
    /// As for [`Infer::run`].
    #[cfg(feature = "std")]
    pub fn run_profiled(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Vec<Duration>, RunError> {
        let images = check(self.work.program.spec, inputs, outputs)?;
        self.work.set_tensors(inputs, outputs);
        let program = self.work.program;
        let mut times = vec![Duration::ZERO; program.layers.len()];
        for image in 0..images {
            let clock = StepClock::new(program.schedule.len());
            self.run_together(image, Some(&clock));
            for (step, time) in program.schedule.iter().zip(clock.times()) {
                times[step.layer as usize] += time;
            }
        }
        Ok(times)
    }

    /// As [`Infer::run`] for one image on one thread, and shows `observe` what every layer wrote first, with the index
    /// of the layer, as soon as the layer is complete.
    ///
    /// # Errors
    /// As for [`Infer::run`].
    pub fn run_observed(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
        observe: &mut dyn FnMut(usize, &Values),
    ) -> Result<(), RunError> {
        check(self.work.program.spec, inputs, outputs)?;
        self.work.set_tensors(inputs, outputs);
        let program = self.work.program;
        let mut last = vec![0; program.layers.len()];
        program.schedule.iter().enumerate().for_each(|(at, step)| last[step.layer as usize] = at);
        // SAFETY: `check` proved that every tensor holds image 0; arenas and scratch belong to this engine alone.
        unsafe {
            self.work.run_steps(0, 0, &mut |at, buffers| {
                let layer = program.schedule[at].layer as usize;
                if last[layer] == at {
                    observe(layer, &program.layers[layer].kind.read_written(buffers));
                }
            });
        }
        Ok(())
    }

    fn run_together(&mut self, image: usize, clock: Option<&StepClock>) {
        self.work.shares.reset();
        self.work.barrier.reset();
        let (work, members) = (&self.work, self.team.len());
        // SAFETY: `check` proved that every tensor holds this image; arenas and scratch belong to this engine alone.
        self.team.run(&|member| unsafe { work.run_member(member, members, image, clock) });
    }

    fn run_images(&mut self, images: usize) {
        let threads = self.team.len();
        let together = if threads == 1 { 0 } else { images % threads };
        let apart = images - together;
        *self.work.next_image.get_mut() = 0;
        if apart > 0 {
            let work = &self.work;
            self.team.run(&|member| {
                loop {
                    let image = work.next_image.fetch_add(1, Ordering::Relaxed) as usize;
                    if image >= apart {
                        break;
                    }
                    // SAFETY: as in `run_together`; each member has an arena of its own.
                    unsafe { work.run_alone(member, image) };
                }
            });
        }
        (apart..images).for_each(|image| self.run_together(image, None));
    }
}

impl Infer for Engine {
    fn engine(&mut self) -> Option<&mut Engine> {
        Some(self)
    }

    fn spec(&self) -> &'static ModelSpec {
        self.work.program.spec
    }

    fn run(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) -> Result<(), RunError> {
        let images = check(self.work.program.spec, inputs, outputs)?;
        self.work.set_tensors(inputs, outputs);
        self.run_images(images);
        Ok(())
    }
}

/// Checks tensors against the spec and returns the number of images.
fn check(spec: &ModelSpec, inputs: &[TensorRef<'_>], outputs: &[TensorMut<'_>]) -> Result<usize, RunError> {
    let count = |what, expected: usize, got: usize| {
        if expected == got { Ok(()) } else { Err(RunError::Count { what, expected, got }) }
    };
    count("inputs", spec.inputs.len(), inputs.len())?;
    count("outputs", spec.outputs.len(), outputs.len())?;
    let inputs = inputs.iter().map(|t| match t {
        TensorRef::F32(v) => (DType::F32, v.len()),
        TensorRef::U8(v) => (DType::U8, v.len()),
    });
    let outputs = outputs.iter().map(|t| match t {
        TensorMut::F32(v) => (DType::F32, v.len()),
        TensorMut::U8(v) => (DType::U8, v.len()),
    });
    let mut images = None;
    for (spec, (dtype, got)) in spec.inputs.iter().zip(inputs).chain(spec.outputs.iter().zip(outputs)) {
        let TensorSpec { name, dtype: expected, .. } = *spec;
        if dtype != expected {
            return Err(RunError::DType { name, expected });
        }
        let per_image = spec.len();
        let images = *images.get_or_insert((got / per_image).max(1));
        if got != images * per_image {
            return Err(RunError::Length { name, per_image, got, images });
        }
    }
    Ok(images.unwrap_or(1))
}

/// What the members of the team share.
struct Work {
    program: &'static Program,
    isa: Isa,
    /// One per thread; the first also serves runs of all threads together.
    arenas: Vec<Arena>,
    scratch: Vec<Arena>,
    /// Units of every step of the image that all threads compute together.
    shares: Shares,
    /// Next image of a batch that threads compute apart.
    next_image: AtomicU32,
    barrier: Barrier,
    /// Tensor pointers of one call, here so that a run allocates nothing.
    inputs: Vec<*const u8>,
    outputs: Vec<*mut u8>,
}

// SAFETY: the tensor pointers are set at the start of a call and used within it.
unsafe impl Send for Work {}
// SAFETY: within a call inputs are only read, and members write disjoint parts of outputs and arenas.
unsafe impl Sync for Work {}

impl Work {
    fn set_tensors(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) {
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

    fn buffers(&self, arena: usize, scratch: usize, image: usize) -> Buffers<'_> {
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
    unsafe fn run_alone(&self, member: usize, image: usize) {
        // SAFETY: forwarded.
        unsafe { self.run_steps(member, image, &mut |_, _| ()) };
    }

    /// As `run_alone`, with a call after every step.
    ///
    /// # Safety
    /// As for `run_alone`.
    unsafe fn run_steps(&self, member: usize, image: usize, done: &mut dyn FnMut(usize, &Buffers<'_>)) {
        let buffers = self.buffers(member, member, image);
        for (at, step) in self.program.schedule.iter().enumerate() {
            for unit in 0..self.pad_units(step) {
                // SAFETY: this thread is alone on the arena.
                unsafe { self.run_pad_unit(&buffers, step, unit) };
            }
            for unit in 0..self.units(step) {
                // SAFETY: steps before this one are complete; this thread is alone on the arena.
                unsafe { self.run_unit(&buffers, step, unit) };
            }
            done(at, &buffers);
        }
    }

    /// # Safety
    /// As for `run_alone`, with all members on the first arena in the same call.
    unsafe fn run_member(&self, member: usize, members: usize, image: usize, clock: Option<&StepClock>) {
        let buffers = self.buffers(0, member, image);
        let _guard = self.barrier.guard();
        if let Some(clock) = clock {
            // Members wake one after the other; that is no layer's time.
            clock.arrive(0);
            self.barrier.wait(members);
        }
        for (index, step) in self.program.schedule.iter().enumerate() {
            let pads = self.pad_units(step);
            if pads > 0 {
                for unit in share(pads, member, members) {
                    // SAFETY: no member computes the layer before all padding is written.
                    unsafe { self.run_pad_unit(&buffers, step, unit) };
                }
                self.barrier.wait(members);
            }
            let units = self.units(step);
            while let Some(unit) = self.shares.claim(index, units, member) {
                // SAFETY: the barrier completes the steps before this one; each unit is claimed once.
                unsafe { self.run_unit(&buffers, step, unit) };
            }
            if let Some(clock) = clock {
                clock.arrive(index + 1);
            }
            self.barrier.wait(members);
        }
    }

    /// Units of the padding that the first step of a layer writes: channels of its padded maps. Units of the layer
    /// write into the same rows, so all padding is complete before they start.
    fn pad_units(&self, step: &Step) -> usize {
        let maps = if step.first == 0 { &self.program.layers[step.layer as usize].pads[..] } else { &[] };
        maps.iter().map(|map| map.channels).sum()
    }

    /// # Safety
    /// Nobody reads the padding or computes the step's layer, and nobody else writes this unit.
    unsafe fn run_pad_unit(&self, buffers: &Buffers<'_>, step: &Step, mut unit: usize) {
        for map in self.program.layers[step.layer as usize].pads.iter() {
            if unit < map.channels {
                // SAFETY: forwarded.
                return unsafe { map.slice(unit, 1).fill_padding(buffers.arena) };
            }
            unit -= map.channels;
        }
    }

    fn units(&self, step: &Step) -> usize {
        let layer = self.program.layers[step.layer as usize];
        let rows = rows(step);
        match &layer.kind {
            Kind::Conv(conv) => conv.units(self.isa, &rows),
            Kind::LoadInput(load) => load.units(&rows),
            Kind::CopyMap(copy) => copy.to.channels,
            Kind::MaxPool(pool) => pool.output.channels,
            Kind::AveragePool(pool) => pool.output.channels,
            Kind::Resize(resize) => resize.output.channels,
            Kind::Unary(unary) => unary.units(),
            Kind::Binary(binary) => binary.units(),
            Kind::Softmax(_) => 1,
            Kind::MatMul(product) => product.units(),
            Kind::DetectHead(head) => head.units(),
        }
    }

    /// # Safety
    /// The inputs of the step's layer are complete for its rows, and nobody else computes this unit.
    unsafe fn run_unit(&self, buffers: &Buffers<'_>, step: &Step, unit: usize) {
        let layer = self.program.layers[step.layer as usize];
        let rows = rows(step);
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

fn rows(step: &Step) -> Range<usize> {
    step.first as usize..step.end as usize
}
