//! Distillation without labels: a dense network teaches its sparse copy what it sees in photographs.
//!
//! Teacher and student look at the same random crops. The loss adds two things: how far the student's detections are from
//! the teacher's, weighted by how sure the teacher is of an object, and how far every convolution's output is
//! from the teacher's, relative to its spread. The latter reaches every layer directly, which is what makes a few
//! dozen photographs enough. Zeros stay zeros; with [`Options::quantise_from`] the last part of the time is
//! spent with quantisation simulated.
//!
//! The schedule follows the share of the budget that is spent, by the clock or by steps, so that every budget ends
//! with a learning rate of zero.

mod augment;
mod error;
mod loss;
mod optimiser;
mod ranges;
mod vectors;

pub use augment::{Augmentation, Picture};
pub use error::Error;
pub use ranges::measure_ranges;

use super::network::{Gradients, Network, Weights, Workspace};
use augment::Sampler;
use loss::{DistillationLoss, Normalisation};
use optimiser::Adam;
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// After this time.
    Time(Duration),
    /// After this many steps, which makes a run repeatable to the bit.
    Steps(usize),
}

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// When to end.
    pub budget: Budget,
    /// Images of a step.
    pub batch: usize,
    /// Height and width of a training image: a multiple of the largest stride.
    pub size: usize,
    /// Largest change of a convolution's output by one step, relative to its magnitude.
    pub learning_rate: f32,
    /// Weight of the feature term beside the detections.
    pub features: f32,
    /// Share of the budget after which quantisation is simulated; `None` for a float student.
    pub quantise_from: Option<f32>,
    /// How photographs are varied.
    pub augmentation: Augmentation,
    /// Of all random choices.
    pub seed: u64,
}

impl Options {
    /// The defaults for a budget.
    pub fn new(budget: Budget) -> Self {
        Options {
            budget,
            batch: 4,
            size: 320,
            learning_rate: 0.003,
            features: 1.0,
            quantise_from: None,
            augmentation: Augmentation::default(),
            seed: 1,
        }
    }
}

/// Where training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub steps: usize,
    /// Share of the budget that is spent.
    pub spent: f32,
    /// Recent loss of the detections, per object the teacher sees.
    pub detections: f32,
    /// Recent error of the features, relative to their spread, mean over layers.
    pub features: f32,
    /// Whether quantisation is simulated.
    pub quantised: bool,
}

/// What training did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Steps done.
    pub steps: usize,
    /// Crops looked at.
    pub images: usize,
    /// Time taken.
    pub elapsed: Duration,
    /// The losses of the first steps.
    pub before: Progress,
    /// The losses of the last steps.
    pub after: Progress,
}

/// Trains `student` to see what `teacher` sees, on variations of `pictures`. Weights that its masks hold at zero stay so.
///
/// `progress` is shown every step and may end training early; the student then keeps what it has learnt.
///
/// # Errors
/// When there is no picture, the networks differ in more than weights, or the size does not fit the strides.
pub fn run(
    teacher: &Network,
    student: &mut Network,
    pictures: &[Picture],
    options: &Options,
    progress: &mut dyn FnMut(&Progress, &Network) -> ControlFlow<()>,
) -> Result<Report, Error> {
    let sampler = Sampler::new(pictures, &options.augmentation, options.size)?;
    check_alike(teacher, student)?;
    let mut images: Vec<Image> = (0..options.batch.max(1) as u64)
        .map(|index| Image::new(teacher, student, options, index))
        .collect::<Result<_, _>>()?;
    let teacher_weights = teacher.weights();
    let mut adam = Adam::new(student);
    let mut normalisation = Normalisation::new(teacher);
    let start = Instant::now();
    let spent = |steps: usize| match options.budget {
        Budget::Time(time) => start.elapsed().as_secs_f32() / time.as_secs_f32().max(1e-3),
        Budget::Steps(all) => steps as f32 / all.max(1) as f32,
    };
    let (mut steps, mut quantised) = (0, false);
    let mut before = None;
    let mut now = Progress { steps, spent: 0.0, detections: 0.0, features: 0.0, quantised };
    loop {
        let share = spent(steps);
        if share >= 1.0 {
            break;
        }
        if !quantised && options.quantise_from.is_some_and(|from| share >= from) {
            simulate_quantisation(student, pictures, options)?;
            quantised = true;
        }
        let student_weights = student.weights();
        let task = Task {
            teacher,
            student,
            options,
            sampler: &sampler,
            teacher_weights: &teacher_weights,
            student_weights: &student_weights,
        };
        images.par_iter_mut().for_each(|image| image.look(&task));
        images.iter().for_each(|image| normalisation.note(teacher, &image.taught));
        images.par_iter_mut().for_each(|image| image.learn(&task, &normalisation));
        let (first, others) = images.split_first_mut().expect("at least one image");
        others.iter().for_each(|other| first.gradients.add(&other.gradients));
        adam.step(student, &first.gradients, options.learning_rate * schedule(steps, share));
        steps += 1;
        let count = images.len() as f32;
        let mean = |of: fn(&Image) -> f32| images.iter().map(of).sum::<f32>() / count;
        let losses = [mean(|image| image.losses[0]), mean(|image| image.losses[1])];
        let keep = if steps == 1 { 0.0 } else { 0.95 };
        now = Progress {
            steps,
            spent: spent(steps).min(1.0),
            detections: keep * now.detections + (1.0 - keep) * losses[0],
            features: keep * now.features + (1.0 - keep) * losses[1],
            quantised,
        };
        before.get_or_insert(now);
        if progress(&now, student).is_break() {
            break;
        }
    }
    let images = steps * images.len();
    Ok(Report { steps, images, elapsed: start.elapsed(), before: before.unwrap_or(now), after: now })
}

/// Share of the learning rate: a short rise, at least until Adam knows its second moments, then half a cosine to zero.
fn schedule(steps: usize, spent: f32) -> f32 {
    const RISE: f32 = 0.03;
    const FIRST_STEPS: f32 = 30.0;
    let rise = (spent / RISE).min((steps + 1) as f32 / FIRST_STEPS).min(1.0);
    rise * (0.5 + 0.5 * (((spent - RISE) / (1.0 - RISE)).max(0.0) * std::f32::consts::PI).cos())
}

fn simulate_quantisation(student: &mut Network, pictures: &[Picture], options: &Options) -> Result<(), Error> {
    let ranges = measure_ranges(student, pictures, options)?;
    for (convolution, range) in student.convolutions_mut().iter_mut().zip(ranges) {
        convolution.quantise_weight = true;
        convolution.input_range = Some(range);
    }
    Ok(())
}

fn check_alike(teacher: &Network, student: &Network) -> Result<(), Error> {
    let (ours, theirs) = (student.convolutions(), teacher.convolutions());
    if ours.len() != theirs.len() {
        return Err(Error::Different { node: format!("{} and {} convolutions", theirs.len(), ours.len()) });
    }
    let differs = ours.iter().zip(theirs).find(|(a, b)| a.geometry != b.geometry || a.weight.len() != b.weight.len());
    differs.map_or(Ok(()), |(a, _)| Err(Error::Different { node: format!("convolution `{}`", a.name) }))
}

/// What all images of a step share.
struct Task<'a> {
    teacher: &'a Network,
    student: &'a Network,
    options: &'a Options,
    sampler: &'a Sampler<'a>,
    teacher_weights: &'a Weights,
    student_weights: &'a Weights,
}

/// One image of the batch.
struct Image {
    random: fastrand::Rng,
    pixels: Vec<f32>,
    taught: Workspace,
    learning: Workspace,
    gradients: Gradients,
    losses: [f32; 2],
}

impl Image {
    fn new(teacher: &Network, student: &Network, options: &Options, index: u64) -> Result<Self, Error> {
        let size = [options.size; 2];
        Ok(Image {
            random: fastrand::Rng::with_seed(options.seed.wrapping_mul(1000).wrapping_add(index)),
            pixels: vec![0.0; 3 * options.size * options.size],
            taught: teacher.workspace(size)?,
            learning: student.training_workspace(size)?,
            gradients: Gradients::zeros(student),
            losses: [0.0; 2],
        })
    }

    /// Draws a crop and asks both networks.
    fn look(&mut self, task: &Task) {
        task.sampler.draw(&mut self.random, &mut self.pixels);
        task.teacher.forward(task.teacher_weights, &self.pixels, &mut self.taught);
        task.student.forward(task.student_weights, &self.pixels, &mut self.learning);
    }

    fn learn(&mut self, task: &Task, normalisation: &Normalisation) {
        self.gradients.clear();
        let share = 1.0 / task.options.batch.max(1) as f32;
        let mut loss = DistillationLoss::new(task.teacher, &self.taught, normalisation, task.options.features, share);
        task.student.backward(task.student_weights, &mut self.learning, &mut loss, &mut self.gradients);
        self.losses = loss.terms();
    }
}
