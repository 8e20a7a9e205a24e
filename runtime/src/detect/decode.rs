//! Network outputs to candidate boxes.

use super::nms::Candidate;
use crate::engine::RawLevel;
#[cfg(not(feature = "std"))]
use crate::simd::math::Float as _;
use crate::simd::math::sigmoid;
use alloc::vec;
use alloc::vec::Vec;

/// Numbers before the class scores in a row: x, y, w, h, objectness.
const BOX_FIELDS: usize = 5;

/// Which candidates are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'a> {
    /// Objectness and score must be greater than this.
    pub conf_thres: f32,
    /// One candidate per class above the threshold, instead of one for the best class.
    pub multi_label: bool,
    /// Wanted classes by index; empty for all.
    pub wanted: &'a [bool],
}

impl Filter<'_> {
    fn wants(&self, class_id: usize) -> bool {
        self.wanted.is_empty() || self.wanted.get(class_id).copied().unwrap_or(false)
    }

    /// Appends the candidates of one row: `xywh` is centre and size, `scores` the class scores.
    fn push(&self, xywh: [f32; 4], objectness: f32, scores: &[f32], candidates: &mut Vec<Candidate>) {
        let [x, y, w, h] = xywh;
        let xyxy = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
        let mut add = |score: f32, class_id: usize| {
            if score > self.conf_thres && self.wants(class_id) {
                candidates.push(Candidate { xyxy, score, class_id });
            }
        };
        if self.multi_label {
            scores.iter().enumerate().for_each(|(class_id, s)| add(s * objectness, class_id));
        } else {
            let mut best = (f32::NEG_INFINITY, 0);
            for (class_id, s) in scores.iter().enumerate() {
                let score = s * objectness;
                if score > best.0 {
                    best = (score, class_id);
                }
            }
            add(best.0, best.1);
        }
    }
}

/// Appends the candidates of decoded rows `[candidates, 5 + classes]` of one image.
pub(super) fn decoded(rows: &[f32], classes: usize, filter: &Filter<'_>, candidates: &mut Vec<Candidate>) {
    for row in rows.chunks_exact(BOX_FIELDS + classes) {
        if row[4] > filter.conf_thres {
            filter.push([row[0], row[1], row[2], row[3]], row[4], &row[BOX_FIELDS..], candidates);
        }
    }
}

/// Appends the candidates of one level of a raw head, `[anchors, grid_height, grid_width, 5 + classes]` of one image.
pub(super) fn raw(
    rows: &[f32],
    classes: usize,
    level: &RawLevel,
    grid: [usize; 2],
    filter: &Filter<'_>,
    candidates: &mut Vec<Candidate>,
) {
    let [_, grid_width] = grid;
    let cells = grid[0] * grid_width;
    let logit_floor = logit_below(filter.conf_thres);
    let mut scores = vec![0f32; classes];
    for (index, row) in rows.chunks_exact(BOX_FIELDS + classes).enumerate() {
        if row[4] <= logit_floor {
            continue;
        }
        let objectness = sigmoid(row[4]);
        if objectness > filter.conf_thres {
            let cell = index % cells;
            let [anchor_w, anchor_h] = level.anchors[index / cells];
            let size = |v: f32| (2.0 * sigmoid(v)) * (2.0 * sigmoid(v));
            let xywh = [
                (2.0 * sigmoid(row[0]) - 0.5 + (cell % grid_width) as f32) * level.stride,
                (2.0 * sigmoid(row[1]) - 0.5 + (cell / grid_width) as f32) * level.stride,
                size(row[2]) * anchor_w,
                size(row[3]) * anchor_h,
            ];
            scores.iter_mut().zip(&row[BOX_FIELDS..]).for_each(|(s, v)| *s = sigmoid(*v));
            filter.push(xywh, objectness, &scores, candidates);
        }
    }
}

/// A number whose sigmoid is below `threshold` by more than rounding; rows at or under it need no sigmoid.
fn logit_below(threshold: f32) -> f32 {
    let threshold = f64::from(threshold);
    let logit = (threshold / (1.0 - threshold)).ln();
    if logit.is_finite() { (logit - 0.01 - 1e-4 * logit.abs()) as f32 } else { f32::NEG_INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Filter<'_> = Filter { conf_thres: 0.25, multi_label: false, wanted: &[] };

    #[test]
    fn keeps_the_best_class_above_the_threshold() {
        let rows = [
            [50.0, 40.0, 20.0, 10.0, 0.8, 0.5, 0.9, 0.9],
            [50.0, 40.0, 20.0, 10.0, 0.25, 1.0, 1.0, 1.0],
            [50.0, 40.0, 20.0, 10.0, 0.9, 0.1, 0.2, 0.1],
            [50.0, 40.0, 20.0, 10.0, f32::NAN, 0.9, 0.9, 0.9],
        ];
        let mut found = Vec::new();
        decoded(rows.as_flattened(), 3, &ALL, &mut found);
        assert_eq!(found, [Candidate { xyxy: [40.0, 35.0, 60.0, 45.0], score: 0.9 * 0.8, class_id: 1 }]);
    }

    #[test]
    fn multi_label_gives_every_class_and_the_filter_applies_after_the_choice() {
        let row = [50.0, 40.0, 20.0, 10.0, 1.0, 0.5, 0.9, 0.1];
        let ids = |filter: Filter<'_>| {
            let mut found = Vec::new();
            decoded(&row, 3, &filter, &mut found);
            found.iter().map(|c| c.class_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(Filter { multi_label: true, ..ALL }), [0, 1]);
        assert_eq!(ids(Filter { multi_label: true, wanted: &[true, false, true], ..ALL }), [0]);
        assert!(ids(Filter { wanted: &[true, false, true], ..ALL }).is_empty());
    }

    #[test]
    fn a_raw_level_decodes_by_the_published_formula() {
        let level = RawLevel { output: 0, stride: 8.0, anchors: &[[10.0, 13.0], [16.0, 30.0]] };
        let mut rows = vec![[-20f32; 7]; 2 * 2 * 3];
        rows[6 + 3 + 2] = [0.0, 1.0, -1.0, 0.5, 3.0, 2.0, -2.0];
        let mut found = Vec::new();
        raw(rows.as_flattened(), 2, &level, [2, 3], &ALL, &mut found);
        assert_eq!(found.len(), 1);
        let s = |v: f64| 1.0 / (1.0 + (-v).exp());
        let centre = [(2.0 * s(0.0) - 0.5 + 2.0) * 8.0, (2.0 * s(1.0) - 0.5 + 1.0) * 8.0];
        let size = [(2.0 * s(-1.0)).powi(2) * 16.0, (2.0 * s(0.5)).powi(2) * 30.0];
        let expected = [centre[0] - size[0] / 2.0, centre[1] - size[1] / 2.0];
        assert!((f64::from(found[0].xyxy[0]) - expected[0]).abs() < 1e-4);
        assert!((f64::from(found[0].xyxy[1]) - expected[1]).abs() < 1e-4);
        assert!((f64::from(found[0].xyxy[3]) - expected[1] - size[1]).abs() < 1e-4);
        assert!((f64::from(found[0].score) - s(3.0) * s(2.0)).abs() < 1e-6);
        assert_eq!(found[0].class_id, 0);
    }

    #[test]
    fn skipping_by_logit_loses_nothing() {
        for threshold in [0.0, 1e-30, 0.001, 0.25, 0.5, 0.999, 0.999_999_9, 1.0] {
            let floor = logit_below(threshold);
            assert!(floor == f32::NEG_INFINITY || sigmoid(floor) <= threshold, "{threshold}");
        }
    }
}
