//! Which found object is which marked one, by COCO's rules.

use super::{Found, Judged, Truth, iou};

/// Intersections over union at which average precision is measured: 0.5 to 0.95 in steps of 0.05.
pub const IOU_THRESHOLDS: usize = 10;

/// Ranges of area, in pixels: all, small, medium, large.
pub const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// Found objects that count per picture and class, best first. COCO's figures stand on the largest, 100, although a
/// detector may report more: it is what `pycocotools`, and so every published figure, counts.
pub const MAX_DETS: [usize; 3] = [1, 10, 100];

/// Threshold `index`, computed as NumPy's `linspace(0.5, 0.95, 10)` does.
pub fn iou_threshold(index: usize) -> f64 {
    if index == IOU_THRESHOLDS - 1 { 0.95 } else { index as f64 * ((0.95 - 0.5) / 9.0) + 0.5 }
}

/// A found object against one class of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Score of the object.
    pub score: f64,
    /// Place among the objects of its picture and class, best first.
    pub rank: usize,
    /// For every threshold, whether it is a marked object.
    pub right: [bool; IOU_THRESHOLDS],
    /// For every threshold, whether it counts neither way.
    pub ignored: [bool; IOU_THRESHOLDS],
}

/// All of one class in a range of areas, over all pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassMatches {
    /// Marked objects that count.
    pub instances: usize,
    /// Found objects, pictures in order, best first within each.
    pub found: Vec<Match>,
}

impl ClassMatches {
    /// Matches every object of a class.
    pub fn new(pictures: &[Judged], class_id: usize, area: [f64; 2]) -> Self {
        let mut matches = Self::default();
        for picture in pictures {
            let truths: Vec<&Truth> = picture.truths.iter().filter(|t| t.class_id == class_id).collect();
            let mut found: Vec<&Found> = picture.found.iter().filter(|f| f.class_id == class_id).collect();
            if truths.is_empty() && found.is_empty() {
                continue;
            }
            found.sort_by(|a, b| b.score.total_cmp(&a.score));
            found.truncate(MAX_DETS[MAX_DETS.len() - 1]);
            matches.add(&truths, &found, area);
        }
        matches
    }

    fn add(&mut self, truths: &[&Truth], found: &[&Found], [low, high]: [f64; 2]) {
        let outside = |area: f64| area < low || area > high;
        let ignored = |t: &Truth| t.crowd || outside(t.area);
        let (counted, rest): (Vec<&Truth>, Vec<&Truth>) = truths.iter().partition(|t| !ignored(t));
        let counts = counted.len();
        self.instances += counts;
        let truths = [counted, rest].concat();
        let first = self.found.len();
        self.found.extend(found.iter().enumerate().map(|(rank, f)| Match {
            score: f.score,
            rank,
            right: [false; IOU_THRESHOLDS],
            ignored: [outside(f.xywh[2] * f.xywh[3]); IOU_THRESHOLDS],
        }));
        let overlaps: Vec<Vec<f64>> =
            found.iter().map(|f| truths.iter().map(|t| iou(f.xywh, t.xywh, t.crowd)).collect()).collect();
        for threshold in 0..IOU_THRESHOLDS {
            let least = iou_threshold(threshold).min(1.0 - 1e-10);
            let mut taken = vec![false; truths.len()];
            for (overlaps, result) in overlaps.iter().zip(&mut self.found[first..]) {
                let mut best: Option<usize> = None;
                let mut best_overlap = least;
                for (at, &overlap) in overlaps.iter().enumerate() {
                    if taken[at] && !truths[at].crowd {
                        continue;
                    }
                    // What counts comes first, and is preferred to anything that does not.
                    if best.is_some_and(|b| b < counts) && at >= counts {
                        break;
                    }
                    if overlap >= best_overlap {
                        (best, best_overlap) = (Some(at), overlap);
                    }
                }
                if let Some(best) = best {
                    taken[best] = true;
                    result.right[threshold] = best < counts;
                    result.ignored[threshold] = best >= counts;
                }
            }
        }
    }

    /// The found objects in order of falling score.
    pub fn by_score(&self) -> Vec<&Match> {
        let mut sorted: Vec<&Match> = self.found.iter().collect();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
        sorted
    }
}
