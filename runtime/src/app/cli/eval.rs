//! `eval`: how good the detector is on pictures with marked objects.

mod saved;

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::params::{ResizeArg, unit_interval};
use super::runs::positive;
use crate::app::eval::confusion::ConfusionMatrix;
use crate::app::eval::table::Table;
use crate::app::eval::{Dataset, Found, Judged, summarise};
use crate::app::failure::Failure;
use crate::app::progress::Progress;
use crate::app::report;
use crate::app::source::{Limits, Picture};
use crate::detect::{Params, Pipeline, Timings};
use saved::Saved;

/// Measure precision, recall and mAP on pictures with marked objects
///
/// Prints the table of YOLOv5's val.py, and writes confusion matrix and curves beside it. AP is COCO's: precision at
/// 101 recalls, intersections over union from 0.5 to 0.95, the best 100 objects per picture and class (of --max-det
/// per picture), as pycocotools computes it on the file that --save-json writes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR eval --data coco128.yaml
  DETECTOR eval --data instances_val2017.json --images val2017/ --save-json
  DETECTOR eval --data dataset/ --hard-fail 0.29     exit code 1 when mAP50-95 is below 0.29

Exit codes: 0 measured, 1 an error, a picture that cannot be read, or mAP below --hard-fail, 2 wrong use.")]
pub(super) struct EvalArgs {
    /// A YOLO data.yaml (its `val`), a COCO .json, or a folder with one of them or with images/ and labels/
    #[arg(short, long, value_name = "DATA")]
    data: PathBuf,

    /// Folder of a COCO file's pictures [default: looked for beside the file]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// Count objects with a score above this
    #[arg(long, value_name = "0..1", default_value = "0.001", value_parser = unit_interval)]
    conf_thres: f32,

    /// Drop a box that overlaps a better one of its class by more than this
    #[arg(long, value_name = "0..1", default_value = "0.6", value_parser = unit_interval)]
    iou_thres: f32,

    /// Objects per picture
    #[arg(long, value_name = "N", default_value = "300", value_parser = positive)]
    max_det: usize,

    /// Pictures per run of the network
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = positive)]
    batch_size: usize,

    /// How pictures are fitted into the network input
    #[arg(long, value_name = "HOW", default_value = "letterbox")]
    resize: ResizeArg,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, aliases = ["num-cores", "ncores"], value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Take all classes for one
    #[arg(long)]
    single_cls: bool,

    /// A line for every class; printed without asking when there are fewer than 50
    #[arg(long)]
    verbose: bool,

    /// Write what was found as a COCO result file
    #[arg(long)]
    save_json: bool,

    /// Write what was found to labels/NAME.txt: class, centre and size as shares of the picture
    #[arg(long)]
    save_txt: bool,

    /// Add scores to --save-txt
    #[arg(long)]
    save_conf: bool,

    /// Write no files
    #[arg(long, conflicts_with_all = ["save_json", "save_txt"])]
    nosave: bool,

    /// Write the measured figures to this JSON file
    #[arg(short = 'x', long, value_name = "FILE")]
    export_path: Option<PathBuf>,

    /// Exit with code 1 when mAP50-95 is below this
    #[arg(long, value_name = "0..1", value_parser = unit_interval)]
    hard_fail: Option<f32>,

    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "runs/val")]
    project: PathBuf,

    /// Folder of this run in it; a number is added when it is there already
    #[arg(long, value_name = "NAME", default_value = "exp")]
    name: String,

    /// Write into that folder even when it is there
    #[arg(long)]
    exist_ok: bool,
}

pub(super) fn run(args: &EvalArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if context.spec.detector.is_none() {
        return Err(Failure::new(crate::detect::Error::NotADetector { model: context.spec.source }));
    }
    let pipeline = Pipeline::builder_boxed(context.engine(args.threads)?).batch(args.batch_size).build();
    let mut pipeline = pipeline.map_err(Failure::new)?;
    let names: Vec<String> = (0..pipeline.classes()).map(|id| pipeline.label(id).into_owned()).collect();
    let dataset = Dataset::open(&args.data, args.images.as_deref(), &names).map_err(Failure::new)?;
    if dataset.category_ids.len() > names.len() {
        return Err(Failure::new(format_args!(
            "{}: it has {} classes, the model {}",
            args.data.display(),
            dataset.category_ids.len(),
            names.len()
        )));
    }
    dataset.warnings.iter().for_each(|line| context.console.complain(format_args!("warning: {line}")));
    let mut saved = if args.nosave {
        None
    } else {
        Some(Saved::create(&args.project, &args.name, args.exist_ok, args.save_txt.then_some(args.save_conf))?)
    };

    let detected = detect(args, &dataset, &mut pipeline, context, &mut saved)?;
    let mut classes: Vec<usize> = (0..names.len()).filter(|c| dataset.category_ids[*c].is_some()).collect();
    let mut pictures = detected.pictures;
    if args.single_cls {
        classes = vec![0];
        for picture in &mut pictures {
            picture.truths.iter_mut().for_each(|truth| truth.class_id = 0);
            picture.found.iter_mut().for_each(|found| found.class_id = 0);
        }
    }
    let table = Table::new(&pictures, &classes);
    let summary = summarise(&pictures, &classes);
    let name = |class: usize| if args.single_cls { "item" } else { names[class].as_str() };

    let out = &mut context.console.out;
    writeln!(out, "{}\n{}", Table::heading(), table.all_line())?;
    if args.verbose || classes.len() < 50 && classes.len() > 1 {
        for row in &table.rows {
            writeln!(out, "{}", table.class_line(row, name(row.class_id)))?;
        }
    }
    writeln!(out, "{}", report::speed_line(&detected.timings, pictures.len(), &pipeline))?;
    if args.save_json || args.verbose {
        write!(out, "{summary}")?;
    }
    if let Some(saved) = &saved {
        if args.save_json {
            saved.predictions(context.spec.source)?;
        }
        let classes_shown = if args.single_cls { vec!["item".to_owned()] } else { names.clone() };
        saved.curves(&table, &classes_shown)?;
        saved.confusion(&ConfusionMatrix::new(&pictures, classes_shown.len()), &classes_shown)?;
        writeln!(context.console.out, "Results saved to {}", saved.folder().display())?;
    }
    if let Some(path) = &args.export_path {
        saved::export(path, &table, &summary, context.spec, name)?;
    }
    gate(args.hard_fail, table.means()[3])?;
    if detected.failed { Err(Failure::Reported) } else { Ok(()) }
}

/// Fails when the mean average precision is too low.
fn gate(least: Option<f32>, map: f64) -> Result<(), Failure> {
    match least {
        Some(least) if map < f64::from(least) => {
            Err(Failure::new(format_args!("mAP50-95 is {map:.4}, below --hard-fail {least}")))
        }
        _ => Ok(()),
    }
}

/// All pictures of a data set after detection.
struct Detected {
    pictures: Vec<Judged>,
    timings: Timings,
    /// Whether a picture could not be read.
    failed: bool,
}

fn detect(
    args: &EvalArgs,
    dataset: &Dataset,
    pipeline: &mut Pipeline,
    context: &mut Context<'_, '_>,
    saved: &mut Option<Saved>,
) -> Result<Detected, Failure> {
    let params = Params {
        conf_thres: args.conf_thres,
        iou_thres: args.iou_thres,
        max_det: args.max_det,
        resize: args.resize.into(),
        ..Params::validation()
    };
    let mut detected = Detected { pictures: Vec::new(), timings: Timings::default(), failed: false };
    let mut progress = Progress::new(dataset.samples.len());
    for samples in dataset.samples.chunks(args.batch_size) {
        let mut loaded = Vec::new();
        for sample in samples {
            match Picture::open(&sample.path, &Limits::default()) {
                Ok(picture) => loaded.push((sample, picture)),
                Err(error) => {
                    detected.failed = true;
                    let line = format!("error: {}: {error}; the picture is left out", sample.path.display());
                    progress.aside(|| context.console.complain(line));
                }
            }
            progress.step();
        }
        let images: Vec<_> = loaded.iter().map(|(_, picture)| picture.as_ref()).collect();
        let results = pipeline.run(&images, &params).map_err(Failure::new)?;
        detected.timings += pipeline.timings();
        for ((sample, picture), result) in loaded.iter().zip(results) {
            let size = [picture.width(), picture.height()];
            let found: Vec<Found> = result.iter().map(|(b, score, class)| Found::new(class, b, score)).collect();
            if let Some(saved) = saved {
                saved.add(sample, size, &found, &dataset.category_ids)?;
            }
            detected.pictures.push(Judged { truths: sample.truths_in(size[0], size[1]), found });
        }
    }
    if detected.pictures.is_empty() {
        return Err(Failure::new(format_args!("{}: no picture of it could be read", args.data.display())));
    }
    Ok(detected)
}
