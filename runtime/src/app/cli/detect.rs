//! `detect`: which objects are in which images.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::annotated::AnnotatedDir;
use super::params::ParamArgs;
use crate::app::failure::Failure;
use crate::app::report;
use crate::app::source::{Limits, Picture, Sources};
use crate::detect::{self, Pipeline, Timings};

/// Find objects in images
///
/// Prints a line per image. Images that cannot be read are reported and skipped; the exit code is then 1.
#[derive(Args, Debug)]
pub(super) struct DetectArgs {
    /// Image files, directories, patterns with `*`, or .txt files with a path per line
    #[arg(short, long, required = true, num_args = 1.., value_name = "IMAGE|DIR")]
    source: Vec<PathBuf>,

    /// Print a JSON object per image: image, boxes in its pixels, scores, labels, class_ids, best first
    #[arg(long)]
    json: bool,

    /// Save copies with the objects drawn in to this directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    params: ParamArgs,
}

pub(super) fn run(args: &DetectArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let sources = Sources::expand(args.source.iter().map(PathBuf::as_path));
    if context.spec.detector.is_none() {
        return Err(not_a_detector(context));
    }
    if let Some(line) = sources.skipped_line() {
        context.console.complain(format_args!("warning: {line}"));
    }
    for problem in &sources.problems {
        context.console.complain(format_args!("error: {problem}"));
    }
    let mut failed = !sources.problems.is_empty();
    if sources.images.is_empty() {
        return Err(if failed { Failure::Reported } else { Failure::new("the sources name no image") });
    }
    let mut pipeline = Pipeline::builder_boxed(context.engine(args.threads)?).build().map_err(Failure::new)?;
    let params = args.params.params(&pipeline)?;

    let mut copies = match &args.output {
        Some(directory) => Some(AnnotatedDir::create(directory, &sources.images)?),
        None => None,
    };

    let mut total = Timings::default();
    let mut done = 0;
    for (index, path) in sources.images.iter().enumerate() {
        let picture = match Picture::open(path, &Limits::default()) {
            Ok(picture) => picture,
            Err(error) => {
                context.console.complain(format_args!("error: {}: {error}", path.display()));
                failed = true;
                continue;
            }
        };
        let found = pipeline.run(&[picture.as_ref()], &params).map_err(Failure::new)?.remove(0);
        total += pipeline.timings();
        done += 1;
        let line = if args.json {
            report::json_line(path, &found, &pipeline)
        } else {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let about = report::console_line(&found, &pipeline, pipeline.timings().inference);
            format!("image {}/{} {}: {about}", index + 1, sources.images.len(), absolute.display())
        };
        writeln!(context.console.out, "{line}")?;
        context.console.out.flush()?;
        if let Some(copies) = &mut copies {
            copies.save(path, picture, &found, &pipeline)?;
        }
    }
    if !args.json && done > 0 {
        writeln!(context.console.out, "{}", report::speed_line(&total, done, &pipeline))?;
        if let Some(directory) = &args.output {
            writeln!(context.console.out, "Results saved to {}", directory.display())?;
        }
    }
    if failed { Err(Failure::Reported) } else { Ok(()) }
}

fn not_a_detector(context: &Context<'_, '_>) -> Failure {
    let error = detect::Error::NotADetector { model: context.spec.source };
    Failure::new(format_args!("{error}: {} infer --input tensors.npz --output DIR", context.program))
}
