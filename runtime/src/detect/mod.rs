//! Detection: pictures to network input, network output to boxes.
//!
//! [`Pipeline`] does all of it; its parts can be used alone. Nothing here reads image files.

mod bilinear;
mod buffer;
mod clock;
mod decode;
mod error;
mod head;
mod image_ref;
mod letterbox;
mod nms;
mod params;
mod pipeline;

pub use error::Error;
pub use image_ref::ImageRef;
pub use letterbox::{Letterbox, Placement, Resize};
pub use nms::{Candidate, Nms, NmsParams, iou};
pub use params::Params;
pub use pipeline::{Detections, NmsHook, Pipeline, PipelineBuilder, Timings};
