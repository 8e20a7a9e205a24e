//! The options that decide what counts as an object.

use clap::{Args, ValueEnum};

use crate::app::failure::Failure;
use crate::detect::{Params, Resize};

/// Another tool whose defaults are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Compat {
    /// Confidence 0.45, IoU 0.25, at most 300 boxes.
    Deepsparse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ResizeArg {
    /// Keep the aspect ratio, pad with grey.
    Letterbox,
    /// Scale width and height on their own.
    Stretch,
}

impl From<ResizeArg> for Resize {
    fn from(resize: ResizeArg) -> Self {
        match resize {
            ResizeArg::Letterbox => Self::Letterbox,
            ResizeArg::Stretch => Self::Stretch,
        }
    }
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What counts as an object")]
pub(super) struct ParamArgs {
    /// Report objects with a score above this [default: 0.25]
    #[arg(long, value_name = "0..1", value_parser = unit_interval)]
    conf_thres: Option<f32>,

    /// Drop a box that overlaps a better one of its class by more than this [default: 0.45]
    #[arg(long, value_name = "0..1", value_parser = unit_interval)]
    iou_thres: Option<f32>,

    /// Objects per image [default: 1000]
    #[arg(long, value_name = "N")]
    max_det: Option<usize>,

    /// Report these classes only: ids or names, as in `--classes 0 2 3` or `--classes person car`
    #[arg(long, value_name = "CLASS", num_args = 1..)]
    classes: Vec<String>,

    /// Let boxes suppress boxes of other classes
    #[arg(long)]
    agnostic_nms: bool,

    /// Report every class of a box above the threshold, not only the best
    #[arg(long)]
    multi_label: bool,

    /// Take the default thresholds of another tool
    #[arg(long, value_name = "TOOL")]
    compat: Option<Compat>,

    /// How images are fitted into the network input
    #[arg(long, value_name = "HOW", default_value = "letterbox")]
    resize: ResizeArg,
}

pub(super) fn unit_interval(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

impl ParamArgs {
    /// The parameters of a call to a model of `classes` classes with these names, if any.
    ///
    /// # Errors
    /// [`Failure::Usage`] when a class is not one of the model's.
    pub(super) fn params(&self, names: &[String], classes: usize) -> Result<Params, Failure> {
        let defaults = match self.compat {
            Some(Compat::Deepsparse) => Params::deepsparse(),
            None => Params::default(),
        };
        let wanted = self.classes.iter().map(|text| class_id(text, names, classes)).collect::<Result<Vec<_>, _>>()?;
        Ok(Params {
            conf_thres: self.conf_thres.unwrap_or(defaults.conf_thres),
            iou_thres: self.iou_thres.unwrap_or(defaults.iou_thres),
            max_det: self.max_det.unwrap_or(defaults.max_det),
            classes: (!wanted.is_empty()).then_some(wanted),
            agnostic: self.agnostic_nms,
            multi_label: self.multi_label,
            resize: self.resize.into(),
        })
    }
}

fn class_id(text: &str, names: &[String], classes: usize) -> Result<usize, Failure> {
    let named = names.iter().position(|name| name == text);
    let id = named.or_else(|| text.parse().ok().filter(|id| *id < classes));
    id.ok_or_else(|| {
        let last = classes - 1;
        let known = match (names.first(), names.get(last)) {
            (Some(first), Some(last)) => format!(", or names, \"{first}\" to \"{last}\""),
            _ => String::new(),
        };
        Failure::Usage(format!("--classes: the model has no class {text:?}; it has the ids 0 to {last}{known}"))
    })
}
