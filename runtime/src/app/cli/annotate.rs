//! `annotate`: pictures with the objects drawn in, as DeepSparse's command makes them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::Context;
use super::drawing::DrawArgs;
use super::finder::{Finder, FinderArgs, not_a_detector};
use super::legacy::{expect_input, ignored};
use super::pictures::Pictures;
use crate::app::draw::{self, Canvas};
use crate::app::failure::Failure;
use crate::app::save::{Videos, draw_on, encode, next_annotations};
use crate::app::source::FrameKind;
use crate::app::{files, report};

/// What this program calls its own engine.
const ENGINE: &str = "peristyle";

/// Draw objects into images, with the options and files of deepsparse.object_detection.annotate
///
/// Saves SAVE_DIR/NAME/result-0.jpg, result-1.jpg, ... in the order of the images, or to NAME-001, NAME-002, ... inside
/// that directory when it holds something; a video is results.mp4, with the frames per second of the program in its
/// corner. What cannot be read is reported and skipped; the exit code is then 1. Thresholds are those of `detect`; `--compat deepsparse` takes DeepSparse's.
#[derive(Args, Debug)]
pub(super) struct AnnotateArgs {
    /// Images, videos, directories, patterns with `*`, .txt or .streams lists, `-` for a pipe, the address of a stream, or
    /// the number of a webcam
    #[arg(short, long, required = true, num_args = 1.., value_name = "SOURCE")]
    source: Vec<PathBuf>,

    /// Save below this directory
    #[arg(long, value_name = "DIR", default_value = "annotation-results")]
    save_dir: PathBuf,

    /// Directory of the results [default: ENGINE-annotations]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Save nothing, only print what is found
    #[arg(long)]
    no_save: bool,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, alias = "threads", value_name = "N")]
    num_cores: Option<NonZeroUsize>,

    /// Frames per second of the resulting videos, when theirs are more: evenly spaced frames are kept
    #[arg(long, value_name = "FPS")]
    target_fps: Option<f64>,

    #[command(flatten)]
    drawing: DrawArgs,

    #[command(flatten)]
    finder: FinderArgs,

    #[command(flatten)]
    legacy: DeepsparseArgs,
}

/// Options of DeepSparse that a compiled detector has no use for.
#[derive(Args, Debug)]
#[command(next_help_heading = "Accepted from DeepSparse's command lines")]
struct DeepsparseArgs {
    /// Ignored: the model is in this program
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    model_filepath: Option<String>,

    /// Ignored but for the default of `--name`
    #[arg(long, value_name = "ENGINE", hide_short_help = true, default_value = ENGINE)]
    #[arg(value_parser = [ENGINE, "deepsparse", "onnxruntime", "torch"])]
    engine: String,

    /// Must be the height and width that the model was compiled for
    #[arg(long, num_args = 2, value_names = ["HEIGHT", "WIDTH"], hide_short_help = true)]
    model_input_image_shape: Vec<usize>,
}

impl DeepsparseArgs {
    fn check(&self, context: &mut Context<'_, '_>) -> Result<(), Failure> {
        if let [height, width] = self.model_input_image_shape[..] {
            expect_input("--model-input-image-shape", height, width, context)?;
        }
        if self.model_filepath.is_some() {
            let why = format!("the model in this program is {}", context.spec.source);
            ignored("--model-filepath", &why, context);
        }
        if self.engine != ENGINE {
            ignored("--engine", "the network is compiled into this program", context);
        }
        Ok(())
    }
}

pub(super) fn run(args: &AnnotateArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if context.spec.detector.is_none() {
        return Err(not_a_detector(context.spec, context.program));
    }
    args.legacy.check(context)?;
    let pictures = Pictures::find(&args.source, context)?;
    if args.target_fps.is_some() && pictures.still() {
        ignored("--target-fps", "the sources are images", context);
    }
    if args.target_fps.is_some_and(|fps| !fps.is_finite() || fps <= 0.0) {
        return Err(Failure::Usage("--target-fps must be above 0".to_owned()));
    }
    let mut finder = Finder::new(&args.finder, args.num_cores, "--num-cores", context)?;
    let style = args.drawing.style();
    let directory = if args.no_save {
        None
    } else {
        let name = args.name.clone().unwrap_or_else(|| format!("{}-annotations", args.legacy.engine));
        Some(next_annotations(&args.save_dir, &name)?)
    };
    if let Some(directory) = &directory {
        writeln!(context.console.out, "Results will be saved to {}", directory.display())?;
    }

    let mut videos = Videos::new(args.target_fps);
    let mut copies = 0;
    let end = pictures.visit(NonZeroUsize::MIN, context.console, |turn, mut picture, desk| {
        let begun = Instant::now();
        let found = finder.find(&picture)?;
        let line = report::frame_line(turn.place, turn.path, turn.kind, &found, &finder.pipeline);
        desk.line(&line)?;
        let Some(directory) = &directory else { return Ok(()) };
        draw_on(&mut picture, &found, &style, &finder.pipeline);
        if turn.kind == FrameKind::Image {
            let path = directory.join(format!("result-{}.jpg", turn.place[0] - 1));
            return Ok(files::replace(&path, &encode(picture.as_ref(), "jpg".as_ref())?)?);
        }
        if let FrameKind::Video { index: 0, fps: Some(fps), .. } = turn.kind
            && let Some(target) = args.target_fps.filter(|target| *target >= fps)
        {
            desk.complain(format_args!(
                "note: --target-fps {target} is ignored for {}: it has {fps:.6} frames per second",
                turn.path.display()
            ));
        }
        let (width, height) = (picture.width(), picture.height());
        let fps = format!("FPS: {:.0}", begun.elapsed().as_secs_f64().max(1e-6).recip());
        draw::note(&mut Canvas::new(picture.pixels_mut(), width, height), &fps);
        videos.save(turn.path, turn.kind, &picture, || {
            copies += 1;
            let number = if copies > 1 { format!("-{copies}") } else { String::new() };
            directory.join(format!("results{number}.mp4"))
        })?;
        Ok(())
    })?;
    videos.finish()?;

    if let Some(directory) = &directory {
        writeln!(context.console.out, "Results saved to {}", directory.display())?;
    }
    end.result()
}
