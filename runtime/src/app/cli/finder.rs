//! The detector with the choices of a command line.

use std::num::NonZeroUsize;

use clap::Args;

use super::params::ParamArgs;
use super::{Context, class_names};
use crate::app::failure::Failure;
use crate::app::source::Picture;
use crate::detect::{self, Detections, Params, Pipeline, Timings};
use crate::engine::ModelSpec;

/// The options that decide what is found and what it is called.
#[derive(Args, Debug)]
pub(super) struct FinderArgs {
    #[command(flatten)]
    params: ParamArgs,

    /// Names of the classes instead of those in the model: `coco`, a file with a name per line, a .json list, or the
    /// names with commas between them
    #[arg(long, value_name = "NAMES", help_heading = "What counts as an object")]
    class_names: Option<String>,
}

impl FinderArgs {
    /// Names of the classes, if there are any, and the parameters of a call.
    ///
    /// # Errors
    /// When the options do not fit a model of `classes` classes.
    pub(super) fn read(&self, classes: usize, spec: &ModelSpec) -> Result<(Vec<String>, Params), Failure> {
        let names = match &self.class_names {
            Some(text) => class_names::read(text, classes)?,
            None => spec.class_names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let params = self.params.params(&names, classes)?;
        Ok((names, params))
    }
}

/// Finds objects and adds up the time it takes.
pub(super) struct Finder {
    pub pipeline: Pipeline,
    params: Params,
    total: Timings,
    images: usize,
}

impl Finder {
    /// A detector on `threads`, which `option` chooses.
    ///
    /// # Errors
    /// When the model is no detector, the options do not fit it, or the threads cannot be started.
    pub(super) fn new(
        args: &FinderArgs,
        threads: Option<NonZeroUsize>,
        option: &str,
        context: &Context<'_, '_>,
    ) -> Result<Self, Failure> {
        let Some(head) = &context.spec.detector else { return Err(not_a_detector(context.spec, context.program)) };
        let (names, params) = args.read(head.classes, context.spec)?;
        let builder = Pipeline::builder_boxed(context.engine_by(threads, option)?).batch(1);
        let pipeline = builder.class_names(names).build().map_err(Failure::new)?;
        Ok(Self { pipeline, params, total: Timings::default(), images: 0 })
    }

    /// The objects in a picture.
    pub(super) fn find(&mut self, picture: &Picture) -> Result<Detections, Failure> {
        let found = self.pipeline.run(&[picture.as_ref()], &self.params).map_err(Failure::new)?.remove(0);
        self.total += self.pipeline.timings();
        self.images += 1;
        Ok(found)
    }

    /// The time that all pictures took, and how many they were.
    pub(super) fn spent(&self) -> (&Timings, usize) {
        (&self.total, self.images)
    }
}

/// What to do with a model that finds no objects.
pub(super) fn not_a_detector(spec: &'static ModelSpec, program: &str) -> Failure {
    let error = detect::Error::NotADetector { model: spec.source };
    Failure::new(format_args!("{error}: {program} infer --input tensors.npz --output DIR"))
}
