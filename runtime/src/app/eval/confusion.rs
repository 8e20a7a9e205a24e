//! Which class is taken for which.

use super::{Judged, iou};

/// Found objects count from this score on.
pub const CONFIDENCE: f64 = 0.25;

/// Boxes are of one object above this intersection over union.
pub const OVERLAP: f64 = 0.45;

/// Counts of found class by marked class. The last index is the background: a marked object that nothing was found
/// for, or a found one that nothing is marked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    /// `counts[found][marked]`.
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// Matches objects of any class, those that overlap most first, as YOLOv5 does. Crowds take no part.
    pub fn new(pictures: &[Judged], classes: usize) -> Self {
        let mut counts = vec![vec![0; classes + 1]; classes + 1];
        for picture in pictures {
            let truths: Vec<_> = picture.truths.iter().filter(|t| !t.crowd).collect();
            let found: Vec<_> = picture.found.iter().filter(|f| f.score > CONFIDENCE).collect();
            let mut pairs = Vec::new();
            for (t, truth) in truths.iter().enumerate() {
                for (f, found) in found.iter().enumerate() {
                    let overlap = iou(found.xywh, truth.xywh, false);
                    if overlap > OVERLAP {
                        pairs.push((overlap, t, f));
                    }
                }
            }
            pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
            let (mut matched, mut used) = (vec![false; truths.len()], vec![false; found.len()]);
            for (_, t, f) in pairs {
                if !matched[t] && !used[f] {
                    (matched[t], used[f]) = (true, true);
                    counts[found[f].class_id][truths[t].class_id] += 1;
                }
            }
            let missed = truths.iter().zip(&matched).filter(|(_, matched)| !**matched);
            missed.for_each(|(truth, _)| counts[classes][truth.class_id] += 1);
            let invented = found.iter().zip(&used).filter(|(_, used)| !**used);
            invented.for_each(|(found, _)| counts[found.class_id][classes] += 1);
        }
        Self { counts }
    }

    /// Share of every marked class (a column) that is found as each class; `None` where it is less than 0.005.
    pub fn normalised(&self) -> Vec<Vec<Option<f64>>> {
        let size = self.counts.len();
        let totals: Vec<u64> = (0..size).map(|c| self.counts.iter().map(|row| row[c]).sum()).collect();
        let share = |row: &Vec<u64>| {
            let shares = row.iter().zip(&totals).map(|(n, total)| *n as f64 / (*total as f64 + 1e-9));
            shares.map(|share| (share >= 0.005).then_some(share)).collect()
        };
        self.counts.iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::eval::{Found, Truth};

    #[test]
    fn every_object_is_counted_once() {
        let truth = |class_id, x: f64| Truth { class_id, xywh: [x, 0.0, 10.0, 10.0], area: 100.0, crowd: false };
        let found = |class_id, x: f64, score| Found { class_id, xywh: [x, 0.0, 10.0, 10.0], score };
        let pictures = [Judged {
            truths: vec![truth(0, 0.0), truth(1, 100.0), truth(1, 200.0), Truth { crowd: true, ..truth(0, 300.0) }],
            found: vec![found(0, 1.0, 0.9), found(0, 2.0, 0.8), found(0, 101.0, 0.7), found(1, 200.0, 0.2)],
        }];
        let matrix = ConfusionMatrix::new(&pictures, 2);
        assert_eq!(matrix.counts, [[1, 1, 1], [0, 0, 0], [0, 1, 0]]);
        let shares = matrix.normalised();
        assert!((shares[0][1].unwrap() - 0.5).abs() < 1e-6 && shares[1][1].is_none());
    }
}
