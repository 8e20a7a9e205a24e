//! `detect`: which objects are in which images.

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

/// Find objects in images, with the options and files of YOLOv5's detect.py
///
/// Prints a line per image and saves copies with the objects drawn in to runs/detect/exp, exp2, exp3, ... Images that
/// cannot be read are reported and skipped; the exit code is then 1.
#[derive(Args, Debug)]
pub(super) struct DetectArgs {
    /// Image files, directories, patterns with `*`, or .txt files with a path per line
    #[arg(short, long, required = true, num_args = 1.., value_name = "IMAGE|DIR")]
    source: Vec<PathBuf>,

    /// Print a JSON object per image: image, boxes in its pixels, scores, labels, class_ids, best first. Copies are
    /// then saved only to a directory that is named: --output, --project or --name
    #[arg(long)]
    json: bool,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, alias = "num-cores", value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Look at every N-th frame of a video; of no use for images
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
        return Err(not_a_detector(context));
    }
    args.legacy.check(context)?;
    if args.vid_stride.get() > 1 {
        ignored("--vid-stride", "the sources are images", context);
    }
    let pictures = Pictures::find(&args.source, context)?;
    let mut finder = Finder::new(&args.finder, args.threads, "--threads", context)?;
    let mut saved = args.saving.open(args.json, &pictures.paths, &finder.pipeline, context)?;

    let end = pictures.visit(context.console, |turn, picture, desk| {
        let found = finder.find(&picture)?;
        let pipeline = &finder.pipeline;
        desk.line(&if args.json {
            report::json_line(turn.path, &found, pipeline)
        } else {
            report::image_line([turn.index + 1, turn.count], turn.path, &found, pipeline)
        })?;
        saved.as_mut().map_or(Ok(()), |run| run.save(turn.path, picture, &found, pipeline))
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
