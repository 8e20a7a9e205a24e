//! `detect`: which objects are in which images, videos and streams.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::finder::{Finder, FinderArgs, not_a_detector};
use super::legacy::{Yolov5Args, ignored};
use super::pictures::Pictures;
use super::saving::SaveArgs;
use crate::app::failure::Failure;
use crate::app::report;
use crate::app::save::RunDir;

/// Find objects in images, videos and streams, with the options and files of YOLOv5's detect.py
///
/// Prints a line per image or frame and saves copies with the objects drawn in to runs/detect/exp, exp2, exp3, ... What
/// cannot be read is reported and skipped; the exit code is then 1. Streams and webcams show their newest frame, however
/// slow the network is, until Ctrl-C.
#[derive(Args, Debug)]
pub(super) struct DetectArgs {
    /// Images, videos, directories, patterns with `*`, .txt or .streams lists, `-` for a pipe, the address of a stream, or
    /// the number of a webcam
    #[arg(short, long, required = true, num_args = 1.., value_name = "SOURCE")]
    source: Vec<PathBuf>,

    /// Print a JSON object per image: image, boxes in its pixels, scores, labels, class_ids, best first. Copies are
    /// then saved only to a directory that is named: --output, --project or --name
    #[arg(long)]
    json: bool,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, alias = "num-cores", value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Of every N frames of videos and streams, take the first
    #[arg(long, value_name = "N", default_value = "1")]
    vid_stride: NonZeroUsize,

    #[command(flatten)]
    finder: FinderArgs,

    #[command(flatten)]
    saving: SaveArgs,

    #[command(flatten)]
    legacy: Yolov5Args,
}

pub(super) fn run(args: &DetectArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if context.spec.detector.is_none() {
        return Err(not_a_detector(context.spec, context.program));
    }
    args.legacy.check(context)?;
    let pictures = Pictures::find(&args.source, context)?;
    if args.vid_stride.get() > 1 && pictures.still() {
        ignored("--vid-stride", "the sources are images", context);
    }
    let mut finder = Finder::new(&args.finder, args.threads, "--threads", context)?;
    let mut saved = args.saving.open(args.json, &pictures.files(), &finder.pipeline, context)?;

    let end = pictures.visit(args.vid_stride, context.console, |turn, picture, desk| {
        let found = finder.find(&picture)?;
        let pipeline = &finder.pipeline;
        desk.line(&if args.json {
            report::json_line(turn.path, turn.kind, &found, pipeline)
        } else {
            report::frame_line(turn.place, turn.path, turn.kind, &found, pipeline)
        })?;
        saved.as_mut().map_or(Ok(()), |run| run.save(turn.path, turn.kind, picture, &found, pipeline))
    })?;

    let directory = saved.as_ref().map(|run| run.directory().to_owned());
    let labels = saved.map_or(Ok(None), RunDir::finish)?;
    let (total, images) = finder.spent();
    if !args.json && images > 0 {
        writeln!(context.console.out, "{}", report::speed_line(total, images, &finder.pipeline))?;
        if let Some(directory) = &directory {
            writeln!(context.console.out, "Results saved to {}", directory.display())?;
            if let Some(count) = labels {
                writeln!(context.console.out, "{count} labels saved to {}", directory.join("labels").display())?;
            }
        }
    }
    end.result()
}
