//! Threads that look at images. Nothing of it runs where connections are served.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::ApiError;
use super::metrics::Metrics;
use super::schedule::{Batch, Found, Job, Schedule, Spent};
use super::settings::Limits;
use crate::app::Compiled;
use crate::app::source::{Limits as PictureLimits, Picture};
use crate::detect::Pipeline;

/// Scans of a JPEG file, a few times those of any encoder: a small file must not keep a thread busy for long.
const MOST_SCANS: usize = 64;

/// Networks that are not running, by model and threads.
///
/// A network is made when it is first needed and kept: at most one per stream and width.
pub struct Networks {
    models: Vec<Compiled>,
    idle: Mutex<HashMap<(usize, usize), Vec<Pipeline>>>,
}

impl Networks {
    /// No networks yet.
    pub fn new(models: Vec<Compiled>) -> Self {
        Self { models, idle: Mutex::default() }
    }

    /// An idle network, or a new one.
    fn take(&self, model: usize, width: usize) -> Result<Pipeline, ApiError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&(model, width)).and_then(Vec::pop);
        if let Some(pipeline) = idle {
            return Ok(pipeline);
        }
        let engine = (self.models[model].new)(width).map_err(|error| {
            let message = format!("cannot start {width} threads: {error}");
            tracing::error!("{message}; start the service with fewer --num-cores or --streams");
            ApiError::unavailable("no_threads", 5, message)
        })?;
        let built = Pipeline::builder_boxed(engine).build();
        built.map_err(|error| ApiError::internal(error.to_string()))
    }

    /// Keeps a network for later.
    pub fn put(&self, model: usize, width: usize, pipeline: Pipeline) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.entry((model, width)).or_default().push(pipeline);
    }
}

/// What the threads share.
pub struct Workshop {
    /// Where images come from.
    pub schedule: Arc<Schedule>,
    /// What looks at them.
    pub networks: Networks,
    /// Where time is reported.
    pub metrics: Arc<Metrics>,
    /// How large images may be.
    pub limits: Limits,
}

impl Workshop {
    /// Looks at images until the queue is closed and empty.
    pub fn work(&self) {
        while let Some(batch) = self.schedule.next() {
            let width = batch.width;
            // A panic is a bug, but no reason to leave other clients alone. Replies that are dropped say so.
            if catch_unwind(AssertUnwindSafe(|| self.look(batch))).is_err() {
                tracing::error!("looking at an image panicked; the network is made anew");
            }
            self.schedule.give_back(width);
        }
    }

    /// Answers everything that waits with a refusal, until the queue is closed and empty.
    pub fn refuse(&self, refusal: &ApiError) {
        while let Some(Batch { jobs, width }) = self.schedule.next() {
            jobs.into_iter().for_each(|job| answer(job, Err(refusal.clone())));
            self.schedule.give_back(width);
        }
    }

    fn look(&self, batch: Batch) {
        let Batch { jobs, width } = batch;
        let (model, params) = (jobs[0].model, jobs[0].params.clone());
        let taken = Instant::now();
        let mut opened: Vec<(Job, Picture, Duration)> = Vec::with_capacity(jobs.len());
        for job in jobs {
            let started = Instant::now();
            match Picture::decode(&job.image, &picture_limits(&self.limits)) {
                Ok(picture) => opened.push((job, picture, started.elapsed())),
                Err(error) => {
                    let refusal = ApiError::picture(&error, job.place.0, job.place.1, self.limits.pixels);
                    answer(job, Err(refusal));
                }
            }
        }
        opened.retain(|(job, ..)| !job.reply.is_closed());
        if opened.is_empty() {
            return;
        }
        let mut pipeline = match self.networks.take(model, width) {
            Ok(pipeline) => pipeline,
            Err(refusal) => return opened.into_iter().for_each(|(job, ..)| answer(job, Err(refusal.clone()))),
        };
        let pictures: Vec<_> = opened.iter().map(|(_, picture, _)| picture.as_ref()).collect();
        let found = pipeline.run(&pictures, &params);
        let timings = pipeline.timings();
        self.networks.put(model, width, pipeline);
        self.metrics.batch(pictures.len());
        let images = pictures.len() as u32;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let refusal = ApiError::invalid(error.to_string());
                return opened.into_iter().for_each(|(job, ..)| answer(job, Err(refusal.clone())));
            }
        };
        for ((job, _, decode), detections) in opened.into_iter().zip(found) {
            let spent = Spent {
                queue: taken - job.queued,
                decode,
                pre_process: timings.pre_process / images,
                inference: timings.inference / images,
                post_process: timings.post_process / images,
            };
            answer(job, Ok(Found { detections, spent }));
        }
    }
}

/// Answers an image. Nobody listens when the client went away.
fn answer(job: Job, answer: Result<Found, ApiError>) {
    let _ = job.reply.send(answer);
}

fn picture_limits(limits: &Limits) -> PictureLimits {
    PictureLimits {
        file_bytes: limits.body_bytes as u64,
        pixels: limits.pixels,
        // Four channels of 16 bits.
        decoder_bytes: limits.pixels.saturating_mul(8),
        scans: MOST_SCANS,
    }
}
