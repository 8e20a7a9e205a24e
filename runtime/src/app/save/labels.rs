//! Boxes as the text files that YOLOv5 trains on and writes.

use std::fmt::Write as _;

use super::percent_g::percent_g;
use super::worst_first;
use crate::detect::Detections;

/// What a line of a label file holds beside the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelFormat {
    /// Left, top, right, bottom instead of centre, width, height.
    pub corners: bool,
    /// Whether the score follows.
    pub score: bool,
}

/// A line per object, worst score first: `class x y w h`, in widths and heights of the picture.
///
/// As in YOLOv5, boxes are rounded to whole pixels of the picture before they are divided by its `size`.
pub fn label_lines(found: &Detections, size: [usize; 2], format: LabelFormat) -> String {
    let mut lines = String::new();
    for (xyxy, score, class_id) in worst_first(found) {
        let [x1, y1, x2, y2] = whole_pixels(xyxy);
        let pixels =
            if format.corners { [x1, y1, x2, y2] } else { [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1] };
        write!(lines, "{class_id}").expect("writing to a string succeeds");
        let shares = (0..4).map(|i| pixels[i] / size[i % 2] as f32);
        for number in shares.chain(format.score.then_some(score)) {
            write!(lines, " {}", percent_g(f64::from(number))).expect("writing to a string succeeds");
        }
        lines.push('\n');
    }
    lines
}

/// A box on whole pixels, halves to even.
pub(super) fn whole_pixels(xyxy: [f32; 4]) -> [f32; 4] {
    xyxy.map(f32::round_ties_even)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_yolov5() {
        let found = Detections {
            boxes: vec![[49.6, 399.4, 242.5, 903.2], [0.0, 0.0, 810.0, 1080.0]],
            scores: vec![0.875, 0.3],
            class_ids: vec![0, 5],
        };
        let lines = |corners, score| label_lines(&found, [810, 1080], LabelFormat { corners, score });
        // 50 399 242 903: the half of 242.5 goes to the even side.
        assert_eq!(lines(false, false), "5 0.5 0.5 1 1\n0 0.180247 0.602778 0.237037 0.466667\n");
        assert_eq!(lines(true, true), "5 0 0 1 1 0.3\n0 0.0617284 0.369444 0.298765 0.836111 0.875\n");
        assert_eq!(label_lines(&Detections::default(), [1, 1], LabelFormat { corners: false, score: false }), "");
    }
}
