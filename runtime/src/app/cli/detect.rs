//! `detect`: which objects are in which images.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::annotated::AnnotatedDir;
use super::params::ParamArgs;
use crate::app::failure::Failure;
use crate::app::interrupt::Interrupt;
use crate::app::report;
use crate::app::source::{Frame, FrameKind, Frames, Options, Sources};
use crate::detect::{self, Pipeline, Timings};

/// Find objects in images, videos and streams
///
/// Prints a line per image or frame. What cannot be read is reported and skipped; the exit code is then 1. Streams and
/// webcams show their newest frame, however slow the network is, until Ctrl-C.
#[derive(Args, Debug)]
pub(super) struct DetectArgs {
    /// Images, videos, directories, patterns with `*`, .txt or .streams lists, `-` for a pipe, the address of a stream,
    /// or the number of a webcam
    #[arg(short, long, required = true, num_args = 1.., value_name = "SOURCE")]
    source: Vec<PathBuf>,

    /// Of every N frames of videos and streams, take the first
    #[arg(long, value_name = "N", default_value = "1")]
    vid_stride: NonZeroUsize,

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
    if sources.is_empty() {
        return Err(if failed { Failure::Reported } else { Failure::new("the sources name no image") });
    }
    let mut pipeline = Pipeline::builder_boxed(context.engine(args.threads)?).build().map_err(Failure::new)?;
    let params = args.params.params(&pipeline)?;

    let mut copies = match &args.output {
        Some(directory) => Some(AnnotatedDir::create(directory, &sources.files())?),
        None => None,
    };

    let mut total = Timings::default();
    let mut done = 0;
    let mut options = Options { vid_stride: args.vid_stride, ..Options::default() };
    // What was found in images so far is whole already.
    if !sources.videos.is_empty() || !sources.live.is_empty() {
        options.interrupt =
            Interrupt::listen().map_err(|error| Failure::new(format_args!("cannot listen to Ctrl-C: {error}")))?;
    }
    let mut frames = Frames::new(sources, options);
    let count = frames.sources();
    for frame in frames.by_ref() {
        let frame = match frame {
            Ok(frame) => frame,
            Err(problem) => {
                context.console.complain(&problem);
                failed |= !problem.passing;
                continue;
            }
        };
        let found = pipeline.run(&[frame.picture.as_ref()], &params).map_err(Failure::new)?.remove(0);
        total += pipeline.timings();
        done += 1;
        let line = if args.json {
            let index = match frame.kind {
                FrameKind::Image => None,
                FrameKind::Video { index, .. } | FrameKind::Live { index, .. } => Some(index),
            };
            report::json_line(&frame.path, index, &found, &pipeline)
        } else {
            let about = report::console_line(&found, &pipeline, pipeline.timings().inference);
            format!("{}: {about}", place(&frame, count))
        };
        writeln!(context.console.out, "{line}")?;
        context.console.out.flush()?;
        if let Some(copies) = &mut copies {
            copies.save(frame, &found, &pipeline)?;
        }
    }
    if let Some(copies) = &mut copies {
        copies.finish()?;
    }
    for report in frames.live_reports().into_iter().filter(|report| report.received > 0) {
        context.console.complain(report);
    }
    if !args.json && done > 0 {
        writeln!(context.console.out, "{}", report::speed_line(&total, done, &pipeline))?;
        if let Some(directory) = &args.output {
            writeln!(context.console.out, "Results saved to {}", directory.display())?;
        }
    }
    if failed { Err(Failure::Reported) } else { Ok(()) }
}

/// Which frame of how many: `image 1/2 /photos/a.jpg`, `video 1/2 (3/30) /videos/a.mp4`, `stream 1/1 (7) rtsp://host`.
fn place(frame: &Frame, sources: usize) -> String {
    let Frame { path, source, kind, .. } = frame;
    // What came through a pipe has no place.
    let absolute = std::path::absolute(path).ok().filter(|path| path.exists()).unwrap_or_else(|| path.clone());
    match kind {
        FrameKind::Image => format!("image {source}/{sources} {}", absolute.display()),
        FrameKind::Video { index, count, .. } => {
            let of = count.map(|count| format!("/{count}")).unwrap_or_default();
            format!("video {source}/{sources} ({}{of}) {}", index + 1, path.display())
        }
        FrameKind::Live { index, .. } => format!("stream {source}/{sources} ({}) {}", index + 1, path.display()),
    }
}

fn not_a_detector(context: &Context<'_, '_>) -> Failure {
    let error = detect::Error::NotADetector { model: context.spec.source };
    Failure::new(format_args!("{error}: {} infer --input tensors.npz --output DIR", context.program))
}
