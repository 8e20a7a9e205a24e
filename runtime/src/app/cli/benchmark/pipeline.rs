//! `benchmark --pipeline`: pictures to boxes, and where the time goes.

use std::path::PathBuf;

use clap::Args;

use super::super::Context;
use super::super::tensors::{Memory, Random};
use super::measure::{Measured, Plan, measure_streams};
use crate::app::NewEngine;
use crate::app::failure::Failure;
use crate::app::source::{Limits, Picture, Sources};
use crate::detect::{Error, ImageRef, Params, Pipeline};
use crate::engine::ModelSpec;

/// Pictures that are kept decoded, at most.
const MAX_PICTURES: usize = 64;

#[derive(Args, Debug)]
#[command(next_help_heading = "The whole pipeline")]
pub(super) struct PipelineArgs {
    /// Time letterbox, network and suppression on decoded pictures, and say what each takes
    #[arg(long)]
    pipeline: bool,

    /// Pictures for --pipeline: files, directories or patterns, the first 64 of them [default: noise]
    #[arg(long, value_name = "IMAGE|DIR", num_args = 1.., requires = "pipeline")]
    data: Vec<PathBuf>,

    /// Width and height of the noise
    #[arg(long, value_names = ["W", "H"], num_args = 2, default_values = ["1280", "720"], requires = "pipeline",
          value_parser = clap::value_parser!(u16).range(1..))]
    image_size: Vec<u16>,
}

/// A decoded picture.
pub(super) struct Pixels {
    data: Vec<u8>,
    width: usize,
    height: usize,
}

impl PipelineArgs {
    /// The pictures to run; `None` without `--pipeline`.
    pub(super) fn pictures(&self, context: &mut Context<'_, '_>) -> Result<Option<Vec<Pixels>>, Failure> {
        if !self.pipeline {
            return Ok(None);
        }
        if context.spec.detector.is_none() {
            return Err(Failure::new(Error::NotADetector { model: context.spec.source }));
        }
        if self.data.is_empty() {
            let [width, height] = [self.image_size[0], self.image_size[1]].map(usize::from);
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            let data = (0..width * height * 3).map(|_| random.level()).collect();
            return Ok(Some(vec![Pixels { data, width, height }]));
        }
        let sources = Sources::expand(self.data.iter().map(PathBuf::as_path));
        if let Some(problem) = sources.problems.first() {
            return Err(Failure::new(problem));
        }
        let open = |path: &PathBuf| {
            let mut picture = Picture::open(path, &Limits::default())
                .map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))?;
            let (width, height) = (picture.width(), picture.height());
            Ok(Pixels { data: picture.pixels_mut().to_vec(), width, height })
        };
        let pictures = sources.images.iter().take(MAX_PICTURES).map(open).collect::<Result<Vec<_>, Failure>>()?;
        if pictures.is_empty() {
            return Err(Failure::new("--data names no image"));
        }
        Ok(Some(pictures))
    }
}

/// Measures a pipeline on each stream, which takes the pictures in turn.
pub(super) fn measure_pipeline(
    plan: &Plan,
    new: NewEngine,
    spec: &'static ModelSpec,
    pictures: &[Pixels],
) -> Result<Measured, Failure> {
    plan.expect_startable()?;
    Memory::expect_room(spec, plan.batch, plan.streams, "-b")?;
    measure_streams(plan, new, &|engine| {
        let mut pipeline = Pipeline::builder_boxed(engine).batch(plan.batch).build().map_err(Failure::new)?;
        let (params, batch) = (Params::default(), plan.batch);
        let mut next = 0;
        Ok(Box::new(move || {
            let images = (next..next + batch).map(|at| &pictures[at % pictures.len()]);
            let images = images.map(|p| ImageRef::rgb(&p.data, p.width, p.height).expect("a decoded picture"));
            let images: Vec<_> = images.collect();
            next = (next + batch) % pictures.len();
            pipeline.run(&images, &params).map_err(Failure::new)?;
            Ok(pipeline.timings())
        }))
    })
}

/// What every stage takes: share of the whole, and milliseconds of a batch.
pub(super) fn stages(measured: &Measured) -> [(&'static str, f64, f64); 4] {
    let runs = measured.latencies.count() as f64;
    let total = measured.latencies.mean();
    let stage = |name, time: std::time::Duration| {
        let mean = time.as_secs_f64() * 1e3 / runs;
        (name, 100.0 * mean / total.max(1e-9), mean)
    };
    let times = &measured.stages;
    [
        ("total_inference", 100.0, total),
        stage("pre_process", times.pre_process),
        stage("engine_forward", times.inference),
        stage("post_process", times.post_process),
    ]
}

/// The two lists that `deepsparse.benchmark_pipeline` ends with.
pub(super) fn breakdown(measured: &Measured) -> String {
    let stages = stages(measured);
    let shares = stages.map(|(name, share, _)| format!("     {name}: {share:.2}%\n"));
    let means = stages.map(|(name, _, mean)| format!("     {name}: {mean:.4}\n"));
    format!("Processing Time Breakdown: \n{}Mean Latency Breakdown (ms/batch): \n{}", shares.concat(), means.concat())
}
