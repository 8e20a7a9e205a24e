//! Options of other tools that a compiled detector has no use for.

use clap::Args;

use super::Context;
use crate::app::failure::Failure;

/// Those of YOLOv5's `detect.py`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Accepted from YOLOv5's command lines")]
pub(super) struct Yolov5Args {
    /// Ignored: the model is in this program
    #[arg(long, num_args = 1.., value_name = "FILE", hide_short_help = true)]
    weights: Vec<String>,

    /// Ignored: class names are in the model, `--class-names` replaces them
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    data: Option<String>,

    /// Must be the size that the model was compiled for
    #[arg(long, aliases = ["img", "img-size"], num_args = 1..=2, value_name = "PIXELS", hide_short_help = true)]
    imgsz: Vec<usize>,

    /// Ignored: this program runs on the CPU
    #[arg(long, value_name = "DEVICE", hide_short_help = true)]
    device: Option<String>,

    /// Ignored: the number format was chosen when the model was compiled
    #[arg(long, hide_short_help = true)]
    half: bool,

    /// Ignored: the network is compiled, no other library runs it
    #[arg(long, hide_short_help = true)]
    dnn: bool,

    /// Ignored: the model never changes
    #[arg(long, hide_short_help = true)]
    update: bool,

    /// Ignored: no window is opened, the copies show the same
    #[arg(long, hide_short_help = true)]
    view_img: bool,

    /// Refused: there is no test-time augmentation
    #[arg(long, hide_short_help = true)]
    augment: bool,
}

impl Yolov5Args {
    /// Says what is ignored.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what would give other results than were asked for.
    pub(super) fn check(&self, context: &mut Context<'_, '_>) -> Result<(), Failure> {
        if self.augment {
            return Err(Failure::Usage(
                "--augment: this detector looks at every image once; leave the option out".into(),
            ));
        }
        if let Some(size) = [&self.imgsz[..]].into_iter().find(|size| !size.is_empty()) {
            expect_input("--imgsz", size[0], size[size.len() - 1], context)?;
        }
        let device = self.device.as_deref().filter(|device| !matches!(*device, "" | "cpu"));
        let notes = [
            (!self.weights.is_empty(), "--weights", format!("the model in this program is {}", context.spec.source)),
            (self.data.is_some(), "--data", "class names are in the model; --class-names replaces them".into()),
            (device.is_some(), "--device", "this program runs on the CPU".into()),
            (self.half, "--half", "the number format was chosen when the model was compiled".into()),
            (self.dnn, "--dnn", "the network is compiled, no other library runs it".into()),
            (self.update, "--update", "the model never changes".into()),
            (self.view_img, "--view-img", "no window is opened; look at the saved copies".into()),
        ];
        for (given, option, why) in notes {
            if given {
                ignored(option, &why, context);
            }
        }
        Ok(())
    }
}

/// Says that an option has no effect, and why.
pub(super) fn ignored(option: &str, why: &str, context: &mut Context<'_, '_>) {
    context.console.complain(format_args!("note: {option} is ignored: {why}"));
}

/// Refuses another input size than that of the model.
pub(super) fn expect_input(
    option: &str,
    height: usize,
    width: usize,
    context: &Context<'_, '_>,
) -> Result<(), Failure> {
    match context.spec.inputs {
        [input, ..] if input.shape.len() == 4 && input.shape[2..] != [height, width] => {
            let (baked_height, baked_width) = (input.shape[2], input.shape[3]);
            Err(Failure::Usage(format!(
                "{option} {height} {width}: this detector was compiled for {baked_height}x{baked_width}; compile \
                 another with `peristyle build MODEL --imgsz {height} {width}`"
            )))
        }
        _ => Ok(()),
    }
}
