//! The engine: executes a program's schedule with a team of threads.

use super::arena::Arena;
use super::clock::StepClock;
use super::golden::Values;
use super::program::{Program, Step};
use super::progress::Progress;
use super::shares::Shares;
use super::threads::{Barrier, Team};
use super::validate::validate;
use super::work::Work;
use super::{DType, Infer, ModelSpec, RunError, StartError, TensorMut, TensorRef, TensorSpec};
use crate::simd::Isa;
use alloc::vec;
use alloc::vec::Vec;
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
        let isa = isa.min(Isa::detect()).min(program.widest_isa());
        let units = |step: &Step| program.layers[step.layer as usize].kind.units(isa, &step.rows());
        let work = Work {
            program,
            isa,
            arenas: (0..team.len()).map(|_| Arena::new(program.arena_bytes)).collect::<Result<_, _>>()?,
            scratch: (0..team.len()).map(|_| Arena::new(scratch_bytes)).collect::<Result<_, _>>()?,
            shares: Shares::new(team.len(), program.schedule.len()),
            pad_shares: Shares::new(team.len(), program.schedule.len()),
            progress: Progress::new(program.schedule.iter().map(units)),
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

    /// As [`Infer::run`] for one image on one thread, with steps that overlap as far as they may: those of odd or of even
    /// number compute all their units, in order or in `descending` order, before those of the step before that they do not
    /// need.
    ///
    /// # Errors
    /// As for [`Infer::run`].
    #[doc(hidden)]
    pub fn run_overlapped(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
        odd: bool,
        descending: bool,
    ) -> Result<(), RunError> {
        check(self.work.program.spec, inputs, outputs)?;
        self.work.set_tensors(inputs, outputs);
        self.work.progress.reset();
        // SAFETY: `check` proved that every tensor holds image 0; arenas and scratch belong to this engine alone.
        unsafe { self.work.run_overlapped(|step| (step % 2 == 1) == odd, descending) };
        Ok(())
    }

    fn run_together(&mut self, image: usize, clock: Option<&StepClock>) {
        self.work.shares.reset();
        self.work.pad_shares.reset();
        self.work.progress.reset();
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
