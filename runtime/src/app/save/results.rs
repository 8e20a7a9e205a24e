//! `predictions.json`: results as COCO's evaluation reads them.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::app::coco;
use crate::app::failure::Failure;
use crate::app::files::Unfinished;
use crate::detect::{Detections, Pipeline};

/// A list with an object per box.
pub(super) struct Results {
    file: Unfinished,
    /// Id of each class; its index where this is empty.
    category_ids: Vec<usize>,
    first: bool,
}

impl Results {
    /// Starts the file of a run.
    pub(super) fn create(run: &Path, pipeline: &Pipeline) -> Result<Self, Failure> {
        let mut file = Unfinished::create(&run.join("predictions.json"))?;
        file.append(b"[")?;
        let category_ids = coco::category_ids(pipeline.class_names()).unwrap_or_default();
        Ok(Self { file, category_ids, first: true })
    }

    /// Adds the objects of a picture, or of frame `frame` of a video, best score first.
    pub(super) fn add(&mut self, image: &Path, frame: Option<u64>, found: &Detections) -> Result<(), Failure> {
        let image_id = match frame {
            None => image_id(image),
            Some(frame) => Value::from(format!("{}_{frame}", image.file_stem().unwrap_or_default().to_string_lossy())),
        };
        let mut lines = String::new();
        for (xyxy, score, class_id) in found.iter() {
            let comma = if self.first { "" } else { "," };
            let category = self.category_ids.get(class_id).unwrap_or(&class_id);
            let [x, y, w, h] = corner_and_size(xyxy);
            let score = rounded(f64::from(score), 1e5);
            let entry = format!(
                "{comma}\n{{\"image_id\": {image_id}, \"category_id\": {category}, \
                 \"bbox\": [{x:?}, {y:?}, {w:?}, {h:?}], \"score\": {score:?}}}"
            );
            write!(lines, "{entry}").expect("writing to a string succeeds");
            self.first = false;
        }
        self.file.append(lines.as_bytes())
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.file.append(b"\n]\n")?;
        self.file.finish()
    }
}

/// The number that is the name of a file of COCO, else the name itself.
fn image_id(image: &Path) -> Value {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let number = stem.bytes().all(|b| b.is_ascii_digit()).then(|| stem.parse::<u64>().ok()).flatten();
    number.map_or_else(|| Value::from(stem.as_ref()), Value::from)
}

/// Left, top, width, height to 3 decimals.
fn corner_and_size([x1, y1, x2, y2]: [f32; 4]) -> [f64; 4] {
    [x1, y1, x2 - x1, y2 - y1].map(|v| rounded(f64::from(v), 1e3))
}

/// The nearest multiple of `1 / unit`, halves to even. Exact, since `value` was an `f32`.
fn rounded(value: f64, unit: f64) -> f64 {
    (value * unit).round_ties_even() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_number_or_name() {
        assert_eq!(image_id("val/000000000139.jpg".as_ref()), Value::from(139));
        assert_eq!(image_id("bus.jpg".as_ref()), Value::from("bus"));
        assert_eq!(image_id("99999999999999999999999.jpg".as_ref()), Value::from("99999999999999999999999"));
    }

    #[test]
    fn numbers_are_rounded_as_in_python() {
        assert_eq!(corner_and_size([0.0625, 1.0, 10.1, 2.5]), [0.062, 1.0, 10.038, 1.5]);
        assert_eq!(rounded(f64::from(0.876_543_2f32), 1e5), 0.87654);
    }
}
