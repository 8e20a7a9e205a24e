//! How good a detector is: data sets with marked objects, average precision, curves, confusion.

pub mod average_precision;
pub mod confusion;
pub mod curves;
pub mod dataset;
pub mod matching;
pub mod plot;
pub mod table;

pub use average_precision::{AveragePrecision, Summary, summarise};
pub use dataset::{Dataset, ImageId, Sample};
pub use matching::{AREAS, IOU_THRESHOLDS, MAX_DETS};

/// An object that somebody marked in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Class of the model.
    pub class_id: usize,
    /// Left, top, width, height, in pixels of the picture.
    pub xywh: [f64; 4],
    /// Area in pixels: of the mask where the data set has one, else of the box.
    pub area: f64,
    /// A box around a crowd: what is found in it counts neither for nor against the model.
    pub crowd: bool,
}

/// An object that the model found, with the numbers that a COCO result file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Class of the model.
    pub class_id: usize,
    /// Left, top, width, height, in pixels of the picture, with 3 decimals.
    pub xywh: [f64; 4],
    /// 0 to 1, with 5 decimals.
    pub score: f64,
}

impl Found {
    /// An object from a box `[x1, y1, x2, y2]`, rounded as YOLOv5's `val.py` saves it, so that whoever evaluates the
    /// saved file gets the same figures.
    pub fn new(class_id: usize, [x1, y1, x2, y2]: [f32; 4], score: f32) -> Self {
        let rounded = |v: f64, unit: f64| (v * unit).round_ties_even() / unit;
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(f64::from);
        let xywh = [x1, y1, x2 - x1, y2 - y1].map(|v| rounded(v, 1e3));
        Self { class_id, xywh, score: rounded(f64::from(score), 1e5) }
    }
}

/// A picture after detection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// What is there.
    pub truths: Vec<Truth>,
    /// What was found.
    pub found: Vec<Found>,
}

/// Intersection over union of two `[left, top, width, height]` boxes; over the area of `found` when `truth` is a crowd.
pub fn iou(found: [f64; 4], truth: [f64; 4], crowd: bool) -> f64 {
    let overlap =
        |axis: usize| (found[axis] + found[axis + 2]).min(truth[axis] + truth[axis + 2]) - found[axis].max(truth[axis]);
    let (width, height) = (overlap(0), overlap(1));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let both = width * height;
    let found_area = found[2] * found[3];
    both / if crowd { found_area } else { found_area + truth[2] * truth[3] - both }
}
