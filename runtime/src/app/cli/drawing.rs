//! The options that decide how objects are drawn.

use clap::Args;

use crate::app::draw::Style;

#[derive(Args, Debug)]
#[command(next_help_heading = "Drawing")]
pub(super) struct DrawArgs {
    /// Pixels of the lines of boxes [default: by the size of the picture]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    line_thickness: Option<u16>,

    /// Draw boxes without labels
    #[arg(long)]
    hide_labels: bool,

    /// Draw labels without scores
    #[arg(long)]
    hide_conf: bool,
}

impl DrawArgs {
    pub(super) fn style(&self) -> Style {
        Style { line: self.line_thickness, labels: !self.hide_labels, scores: !self.hide_conf }
    }
}
