//! What is printed about one picture.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::detect::{Detections, Pipeline, Timings};

/// One line of JSON: `image`, in videos the `frame`, counted from 0, `boxes`, `scores`, `labels`, `class_ids`.
///
/// Boxes are rounded to 2 decimals, scores to 6.
pub fn json_line(image: &Path, frame: Option<u64>, found: &Detections, pipeline: &Pipeline) -> String {
    let boxes: Vec<[f64; 4]> = found.boxes.iter().map(|b| b.map(|v| rounded(v, 1e2))).collect();
    let scores: Vec<f64> = found.scores.iter().map(|s| rounded(*s, 1e6)).collect();
    let labels: Vec<Cow<'_, str>> = found.class_ids.iter().map(|id| pipeline.label(*id)).collect();
    let mut line = String::from("{");
    let mut field = |name: &str, value: serde_json::Result<String>| {
        let comma = if line.len() > 1 { ", " } else { "" };
        let value = value.expect("strings and finite numbers have a JSON form");
        write!(line, "{comma}\"{name}\": {value}").expect("writing to a string succeeds");
    };
    field("image", serde_json::to_string(&image.to_string_lossy()));
    if let Some(frame) = frame {
        field("frame", serde_json::to_string(&frame));
    }
    field("boxes", serde_json::to_string(&boxes));
    field("scores", serde_json::to_string(&scores));
    field("labels", serde_json::to_string(&labels));
    field("class_ids", serde_json::to_string(&found.class_ids));
    line + "}"
}

/// `value` as the shortest number with the decimals of `unit`, and never the tail of a converted `f32`.
fn rounded(value: f32, unit: f64) -> f64 {
    (f64::from(value) * unit).round() / unit
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
