//! What is said about images.

use std::borrow::Cow;

use serde::Serialize;

use super::params::Format;
use crate::app::report::{box_in_pixels, score};
use crate::detect::Detections;

/// `boxes`, `scores`, `labels` and `class_ids`: a list per image of each.
#[derive(Serialize)]
struct Columns<'a> {
    boxes: Vec<Vec<[f64; 4]>>,
    scores: Vec<Vec<f64>>,
    labels: Vec<Vec<Cow<'a, str>>>,
    class_ids: Vec<&'a [usize]>,
    /// For clients of DeepSparse; never anything.
    intermediate_outputs: (),
}

/// A box in the words of YOLOv5's Flask example.
#[derive(Serialize)]
struct Record<'a> {
    xmin: f64,
    ymin: f64,
    xmax: f64,
    ymax: f64,
    confidence: f64,
    class: usize,
    name: Cow<'a, str>,
}

fn label(names: &[String], id: usize) -> Cow<'_, str> {
    names.get(id).map_or_else(|| id.to_string().into(), |name| name.as_str().into())
}

fn records<'a>(found: &Detections, names: &'a [String]) -> Vec<Record<'a>> {
    let record = |(xyxy, confidence, class)| {
        let [xmin, ymin, xmax, ymax] = box_in_pixels(xyxy);
        Record { xmin, ymin, xmax, ymax, confidence: score(confidence), class, name: label(names, class) }
    };
    found.iter().map(record).collect()
}

/// The answer as JSON. `flat` leaves out the list of images around the records of a single one.
pub fn json(found: &[Detections], names: &[String], format: Format, flat: bool) -> Vec<u8> {
    let text = match format {
        Format::Records if flat && found.len() == 1 => serde_json::to_vec(&records(&found[0], names)),
        Format::Records => serde_json::to_vec(&found.iter().map(|image| records(image, names)).collect::<Vec<_>>()),
        Format::Columns => serde_json::to_vec(&Columns {
            boxes: found.iter().map(|image| image.boxes.iter().map(|b| box_in_pixels(*b)).collect()).collect(),
            scores: found.iter().map(|image| image.scores.iter().map(|s| score(*s)).collect()).collect(),
            labels: (found.iter()).map(|image| image.class_ids.iter().map(|id| label(names, *id)).collect()).collect(),
            class_ids: found.iter().map(|image| image.class_ids.as_slice()).collect(),
            intermediate_outputs: (),
        }),
    };
    text.expect("strings and finite numbers have a JSON form")
}
