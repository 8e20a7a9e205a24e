//! What is printed about one picture.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::source::FrameKind;
use crate::detect::{Detections, Pipeline, Timings};

/// One line of JSON: `image`, in videos the `frame`, counted from 0, `boxes`, `scores`, `labels`, `class_ids`.
///
/// Boxes are rounded to 2 decimals, scores to 6.
pub fn json_line(image: &Path, kind: FrameKind, found: &Detections, pipeline: &Pipeline) -> String {
    let mut line = JsonLine::default();
    line.field("image", &image.to_string_lossy());
    if let FrameKind::Video { index, .. } | FrameKind::Live { index, .. } = kind {
        line.field("frame", &index);
    }
    line.detections(found, pipeline);
    line.end()
}

/// An object of JSON on one line, field by field in their order.
#[derive(Debug, Default)]
pub struct JsonLine {
    fields: String,
}

impl JsonLine {
    /// Adds a field.
    pub fn field(&mut self, name: &str, value: &(impl serde::Serialize + ?Sized)) {
        let comma = if self.fields.is_empty() { "" } else { ", " };
        let value = serde_json::to_string(value).expect("strings and finite numbers have a JSON form");
        write!(self.fields, "{comma}\"{name}\": {value}").expect("writing to a string succeeds");
    }

    /// Adds `boxes`, `scores`, `labels` and `class_ids`.
    pub fn detections(&mut self, found: &Detections, pipeline: &Pipeline) {
        let boxes: Vec<[f64; 4]> = found.boxes.iter().map(|b| box_in_pixels(*b)).collect();
        let scores: Vec<f64> = found.scores.iter().map(|s| score(*s)).collect();
        let labels: Vec<Cow<'_, str>> = found.class_ids.iter().map(|id| pipeline.label(*id)).collect();
        self.field("boxes", &boxes);
        self.field("scores", &scores);
        self.field("labels", &labels);
        self.field("class_ids", &found.class_ids);
    }

    /// The object, without a line break.
    pub fn end(self) -> String {
        format!("{{{}}}", self.fields)
    }
}

/// A box as it is written in JSON: pixels with 2 decimals.
pub fn box_in_pixels(xyxy: [f32; 4]) -> [f64; 4] {
    xyxy.map(|v| rounded(v, 1e2))
}

/// A score as it is written in JSON: 6 decimals.
pub fn score(score: f32) -> f64 {
    rounded(score, 1e6)
}

/// `value` as the shortest number with the decimals of `unit`, and never the tail of a converted `f32`.
fn rounded(value: f32, unit: f64) -> f64 {
    (f64::from(value) * unit).round() / unit
}

/// What YOLOv5 prints about a picture or frame of source `number` of `count`:
/// `image 1/2 /path/bus.jpg: 640x640 4 persons, 1 bus, 63.1ms`, `video 1/2 (3/30) drive.mp4: ...`,
/// `stream 1/1 (7) rtsp://host: ...`.
pub fn frame_line(
    [number, count]: [usize; 2],
    path: &Path,
    kind: FrameKind,
    found: &Detections,
    pipeline: &Pipeline,
) -> String {
    let about = console_line(found, pipeline, pipeline.timings().inference);
    let place = match kind {
        FrameKind::Image => {
            // What came through a pipe has no place.
            let absolute = std::path::absolute(path).ok().filter(|path| path.exists());
            format!("image {number}/{count} {}", absolute.as_deref().unwrap_or(path).display())
        }
        FrameKind::Video { index, count: frames, .. } => {
            let of = frames.map(|frames| format!("/{frames}")).unwrap_or_default();
            format!("video {number}/{count} ({}{of}) {}", index + 1, path.display())
        }
        FrameKind::Live { index, .. } => format!("stream {number}/{count} ({}) {}", index + 1, path.display()),
    };
    format!("{place}: {about}")
}

/// What YOLOv5 prints about a picture after its path: `640x640 4 persons, 1 bus, 63.1ms`.
pub fn console_line(found: &Detections, pipeline: &Pipeline, inference: Duration) -> String {
    let [width, height] = pipeline.input_size();
    let mut line = format!("{height}x{width} ");
    let mut counts = std::collections::BTreeMap::new();
    found.class_ids.iter().for_each(|id| *counts.entry(*id).or_insert(0) += 1);
    for (id, count) in &counts {
        let plural = if *count > 1 { "s" } else { "" };
        write!(line, "{count} {}{plural}, ", pipeline.label(*id)).expect("writing to a string succeeds");
    }
    if counts.is_empty() {
        line += "(no detections), ";
    }
    line + &format!("{:.1}ms", milliseconds(inference))
}

/// YOLOv5's last line: mean time per picture of each stage.
pub fn speed_line(total: &Timings, images: usize, pipeline: &Pipeline) -> String {
    let [width, height] = pipeline.input_size();
    let mean = |time: Duration| milliseconds(time) / images.max(1) as f64;
    format!(
        "Speed: {:.1}ms pre-process, {:.1}ms inference, {:.1}ms NMS per image at shape (1, 3, {height}, {width})",
        mean(total.pre_process),
        mean(total.inference),
        mean(total.post_process)
    )
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
