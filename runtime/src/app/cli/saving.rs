//! The options that decide what `detect` saves, and where.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use super::drawing::DrawArgs;
use super::legacy::ignored;
use crate::app::failure::Failure;
use crate::app::save::{LabelFormat, RunDir, Wanted, next_run};
use crate::detect::Pipeline;

#[derive(Args, Debug)]
#[command(next_help_heading = "What is saved")]
pub(super) struct SaveArgs {
    /// Save to this directory itself, not to a new one below `--project`
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["project", "name", "exist_ok"])]
    output: Option<PathBuf>,

    /// Save below this directory [default: runs/detect]
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,

    /// Save to PROJECT/NAME, or NAME2, NAME3, ... when it is there [default: exp]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Save to PROJECT/NAME even when it is there
    #[arg(long)]
    exist_ok: bool,

    /// Save no copies with the objects drawn in
    #[arg(long)]
    nosave: bool,

    /// Save labels/IMAGE.txt: a line `class x y w h` per object, in widths and heights of the image
    #[arg(long)]
    save_txt: bool,

    /// Box format of --save-txt: 0 for centre and size, 1 for left, top, right, bottom
    #[arg(long, value_name = "0|1", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=1))]
    save_format: u8,

    /// Add the score to the lines of --save-txt
    #[arg(long)]
    save_conf: bool,

    /// Save predictions.csv: image, class and score of every object
    #[arg(long)]
    save_csv: bool,

    /// Save every object as crops/CLASS/IMAGE.jpg
    #[arg(long)]
    save_crop: bool,

    /// Save predictions.json: a list of results as COCO's evaluation reads them
    #[arg(long)]
    save_json: bool,

    #[command(flatten)]
    drawing: DrawArgs,
}

impl SaveArgs {
    /// Opens the directory of the run; `None` when nothing is to be saved.
    ///
    /// Copies are saved as a rule, but beside `--json` only when a directory is named: then the lines are what is
    /// wanted.
    pub(super) fn open(
        &self,
        json: bool,
        sources: &[PathBuf],
        pipeline: &Pipeline,
        context: &mut Context<'_, '_>,
    ) -> Result<Option<RunDir>, Failure> {
        if self.save_conf && !self.save_txt {
            ignored("--save-conf", "it adds scores to the files of --save-txt", context);
        }
        let named = self.output.is_some() || self.project.is_some() || self.name.is_some();
        let wanted = Wanted {
            copies: (!self.nosave && (named || !json)).then(|| self.drawing.style()),
            labels: self.save_txt.then_some(LabelFormat { corners: self.save_format == 1, score: self.save_conf }),
            crops: self.save_crop,
            table: self.save_csv,
            results: self.save_json,
        };
        if wanted.nothing() {
            return Ok(None);
        }
        RunDir::open(&self.directory()?, &wanted, sources, pipeline).map(Some)
    }

    fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(output) = &self.output {
            return Ok(output.clone());
        }
        let project = self.project.as_deref().unwrap_or(Path::new("runs/detect"));
        let name = self.name.as_deref().unwrap_or("exp");
        if self.exist_ok { Ok(project.join(name)) } else { next_run(project, name) }
    }
}
