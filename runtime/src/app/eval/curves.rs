//! Precision and recall against confidence, and against each other, at an intersection over union of 0.5.

use super::matching::ClassMatches;

/// Points of a curve.
pub const POINTS: usize = 1000;

/// The curves of one class, at confidences from 0 to 1 in equal steps; precision against recall likewise.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// Precision at every confidence.
    pub precision: Vec<f64>,
    /// Recall at every confidence.
    pub recall: Vec<f64>,
    /// Precision at every recall.
    pub precision_at_recall: Vec<f64>,
}

impl Curves {
    /// The curves of a class of which an object is marked; `None` when none is.
    pub fn new(matches: &ClassMatches) -> Option<Self> {
        if matches.instances == 0 {
            return None;
        }
        let sorted: Vec<_> = matches.by_score().into_iter().filter(|m| !m.ignored[0]).collect();
        let mut hits = 0;
        let (mut confidences, mut precisions, mut recalls) = (Vec::new(), Vec::new(), Vec::new());
        for (index, found) in sorted.iter().enumerate() {
            hits += usize::from(found.right[0]);
            confidences.push(-found.score);
            recalls.push(hits as f64 / matches.instances as f64);
            precisions.push(hits as f64 / (index + 1) as f64);
        }
        let at = |step: usize| -(step as f64 / (POINTS - 1) as f64);
        // Where nothing is confident enough, nothing is wrong and nothing is found.
        let precision = (0..POINTS).map(|i| interpolate(at(i), &confidences, &precisions, 1.0)).collect();
        let recall = (0..POINTS).map(|i| interpolate(at(i), &confidences, &recalls, 0.0)).collect();
        Some(Self { precision, recall, precision_at_recall: envelope(&recalls, &precisions) })
    }

    /// Harmonic mean of precision and recall at every confidence.
    pub fn f1(&self) -> Vec<f64> {
        let f1 = |(p, r): (&f64, &f64)| 2.0 * p * r / (p + r + 1e-16);
        self.precision.iter().zip(&self.recall).map(f1).collect()
    }
}

/// Where the mean F1 of all classes is greatest, smoothed so that one lucky point does not win.
pub fn best_point(curves: &[Curves]) -> usize {
    let mean = mean(curves.iter().map(Curves::f1));
    let smooth = smooth(&mean, 0.1);
    // The first of equals, as NumPy's `argmax`.
    (0..smooth.len()).rev().max_by(|a, b| smooth[*a].total_cmp(&smooth[*b])).unwrap_or(0)
}

/// Mean of curves; empty without curves.
pub fn mean(curves: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    let mut sum: Vec<f64> = Vec::new();
    let mut count = 0usize;
    for curve in curves {
        sum.resize(curve.len(), 0.0);
        sum.iter_mut().zip(&curve).for_each(|(s, v)| *s += v);
        count += 1;
    }
    sum.iter_mut().for_each(|s| *s /= count.max(1) as f64);
    sum
}

/// Box filter over `fraction` of the curve, its ends repeated.
pub fn smooth(curve: &[f64], fraction: f64) -> Vec<f64> {
    if curve.is_empty() {
        return Vec::new();
    }
    let width = (curve.len() as f64 * fraction * 2.0) as usize / 2 + 1;
    let half = width / 2;
    let at = |i: usize| curve[i.saturating_sub(half).min(curve.len() - 1)];
    let sums = (0..curve.len()).map(|i| (i..i + 2 * half + 1).map(at).sum::<f64>());
    sums.map(|sum| sum / (2 * half + 1) as f64).collect()
}

/// The best precision at a recall or a greater one, at `POINTS` recalls.
fn envelope(recalls: &[f64], precisions: &[f64]) -> Vec<f64> {
    let end = recalls.last().copied().unwrap_or(0.0);
    let mut xs = vec![0.0];
    xs.extend(recalls);
    xs.extend([end, 1.0]);
    let mut ys = vec![1.0];
    ys.extend(precisions);
    ys.extend([0.0, 0.0]);
    for i in (0..ys.len() - 1).rev() {
        ys[i] = ys[i + 1].max(ys[i]);
    }
    (0..POINTS).map(|i| interpolate(i as f64 / (POINTS - 1) as f64, &xs, &ys, 1.0)).collect()
}

/// Linear interpolation between the points of ascending `xs`; `left` before the first of them.
fn interpolate(x: f64, xs: &[f64], ys: &[f64], left: f64) -> f64 {
    let after = xs.partition_point(|v| *v <= x);
    match (after.checked_sub(1), xs.get(after)) {
        (None, _) => left,
        (Some(before), None) => ys[before],
        (Some(before), Some(next)) => ys[before] + (ys[after] - ys[before]) * (x - xs[before]) / (next - xs[before]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::eval::matching::{IOU_THRESHOLDS, Match};

    fn matches(instances: usize, found: &[(f64, bool)]) -> ClassMatches {
        let one = |(rank, &(score, right)): (usize, &(f64, bool))| Match {
            score,
            rank,
            right: [right; IOU_THRESHOLDS],
            ignored: [false; IOU_THRESHOLDS],
        };
        ClassMatches { instances, found: found.iter().enumerate().map(one).collect() }
    }

    #[test]
    fn curves_pass_through_what_was_counted() {
        let curves = Curves::new(&matches(2, &[(0.9, true), (0.6, false), (0.3, true)])).unwrap();
        let at = |confidence: f64| (confidence * (POINTS - 1) as f64).round() as usize;
        assert_eq!((curves.precision[at(1.0)], curves.recall[at(1.0)]), (1.0, 0.0));
        assert!((curves.precision[at(0.6)] - 0.5).abs() < 2e-3, "{}", curves.precision[at(0.6)]);
        assert!((curves.recall[at(0.1)] - 1.0).abs() < 1e-12);
        assert!((curves.precision[at(0.1)] - 2.0 / 3.0).abs() < 1e-12);
        assert!((curves.precision_at_recall[at(0.75)] - 2.0 / 3.0).abs() < 1e-12);
        assert!(Curves::new(&matches(0, &[(0.9, false)])).is_none());
    }

    #[test]
    fn smoothing_keeps_a_level_and_the_best_point_is_the_plateau() {
        assert_eq!(smooth(&[2.0; 50], 0.1), vec![2.0; 50]);
        let curves = Curves::new(&matches(1, &[(0.8, true), (0.4, false)])).unwrap();
        let best = best_point(&[curves]) as f64 / (POINTS - 1) as f64;
        assert!((0.45..0.75).contains(&best), "{best}");
    }
}
