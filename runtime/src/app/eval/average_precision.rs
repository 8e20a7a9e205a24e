//! Average precision as COCO defines it: precision at 101 recalls, averaged.

use super::Judged;
use super::matching::{AREAS, ClassMatches, IOU_THRESHOLDS, MAX_DETS};

/// Recalls at which precision is read: 0, 0.01, ... 1.
const RECALLS: usize = 101;

/// What was measured of one class; `NaN` where no object of it is marked.
#[derive(Clone, Debug, PartialEq)]
pub struct AveragePrecision {
    /// Average precision at every threshold of intersection over union.
    pub at: [f64; IOU_THRESHOLDS],
    /// Greatest recall at every threshold.
    pub recall: [f64; IOU_THRESHOLDS],
}

impl AveragePrecision {
    /// Of all found objects up to `max_dets` per picture.
    pub fn new(matches: &ClassMatches, max_dets: usize) -> Self {
        let nothing = [f64::NAN; IOU_THRESHOLDS];
        let mut result = Self { at: nothing, recall: nothing };
        if matches.instances == 0 {
            return result;
        }
        let sorted: Vec<_> = matches.by_score().into_iter().filter(|m| m.rank < max_dets).collect();
        for threshold in 0..IOU_THRESHOLDS {
            let counted = sorted.iter().filter(|m| !m.ignored[threshold]).map(|m| m.right[threshold]);
            let (mean, recall) = interpolated(counted, matches.instances);
            (result.at[threshold], result.recall[threshold]) = (mean, recall);
        }
        result
    }

    /// Mean over all thresholds.
    pub fn mean(&self) -> f64 {
        self.at.iter().sum::<f64>() / IOU_THRESHOLDS as f64
    }
}

/// Mean precision at 101 recalls, and the last recall, of found objects in order of falling score.
fn interpolated(right: impl Iterator<Item = bool>, instances: usize) -> (f64, f64) {
    let (mut hits, mut seen) = (0usize, 0usize);
    let mut points: Vec<(f64, f64)> = right
        .map(|right| {
            hits += usize::from(right);
            seen += 1;
            (hits as f64 / instances as f64, hits as f64 / (seen as f64 + f64::EPSILON))
        })
        .collect();
    let last = points.last().map_or(0.0, |point| point.0);
    // Precision at a recall is the best at that recall or a greater one.
    let mut best = 0.0f64;
    for (_, precision) in points.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let sum: f64 = (0..RECALLS)
        .map(|step| {
            let recall = if step == RECALLS - 1 { 1.0 } else { step as f64 * 0.01 };
            let at = points.partition_point(|point| point.0 < recall);
            points.get(at).map_or(0.0, |point| point.1)
        })
        .sum();
    (sum / RECALLS as f64, last)
}

/// COCO's twelve figures, each a mean over the classes of which an object is marked; -1 where there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Name as `pycocotools` prints it, and value.
    pub figures: Vec<(String, f64)>,
}

/// Computes COCO's figures; `classes` are those that count.
pub fn summarise(pictures: &[Judged], classes: &[usize]) -> Summary {
    let names = ["all", "small", "medium", "large"];
    let measured: Vec<Vec<ClassMatches>> =
        AREAS.iter().map(|area| classes.iter().map(|&c| ClassMatches::new(pictures, c, *area)).collect()).collect();
    let mean = |area: usize, max_dets: usize, value: &dyn Fn(&AveragePrecision) -> f64| {
        let values = measured[area].iter().map(|m| value(&AveragePrecision::new(m, max_dets)));
        let values: Vec<f64> = values.filter(|v| !v.is_nan()).collect();
        if values.is_empty() { -1.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
    };
    let recall = |ap: &AveragePrecision| ap.recall.iter().sum::<f64>() / IOU_THRESHOLDS as f64;
    let mut figures = Vec::new();
    let mut add = |what: &str, ious: &str, area: usize, max_dets: usize, value: f64| {
        let title = if what == "AP" { "Average Precision" } else { "Average Recall" };
        let name =
            format!(" {title:<18} ({what}) @[ IoU={ious:<9} | area={:>6} | maxDets={max_dets:>3} ]", names[area]);
        figures.push((name, value));
    };
    let [few, some, most] = MAX_DETS;
    add("AP", "0.50:0.95", 0, most, mean(0, most, &AveragePrecision::mean));
    add("AP", "0.50", 0, most, mean(0, most, &|ap| ap.at[0]));
    add("AP", "0.75", 0, most, mean(0, most, &|ap| ap.at[5]));
    (1..4).for_each(|area| add("AP", "0.50:0.95", area, most, mean(area, most, &AveragePrecision::mean)));
    [few, some, most].iter().for_each(|&n| add("AR", "0.50:0.95", 0, n, mean(0, n, &recall)));
    (1..4).for_each(|area| add("AR", "0.50:0.95", area, most, mean(area, most, &recall)));
    Summary { figures }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.figures.iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value:.3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hit_of_two_objects_reaches_half_of_the_recalls() {
        let (mean, recall) = interpolated([true, false].into_iter(), 2);
        assert_eq!(recall, 0.5);
        assert!((mean - 51.0 / 101.0).abs() < 1e-12);
        assert_eq!(interpolated(std::iter::empty(), 2), (0.0, 0.0));
    }

    #[test]
    fn a_late_hit_lifts_no_earlier_recall_above_its_own_precision() {
        let (mean, _) = interpolated([false, true].into_iter(), 1);
        assert!((mean - 0.5).abs() < 1e-12);
    }
}
