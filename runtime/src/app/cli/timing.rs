//! Statistics of latencies.

use serde_json::{Map, Value, json};

/// Latencies of batches, in milliseconds, with the statistics that benchmarks print.
pub(super) struct Latencies {
    /// Ascending; not empty.
    sorted: Vec<f64>,
}

impl Latencies {
    /// `None` when there are no latencies.
    pub(super) fn new(mut milliseconds: Vec<f64>) -> Option<Self> {
        milliseconds.sort_by(f64::total_cmp);
        (!milliseconds.is_empty()).then_some(Self { sorted: milliseconds })
    }

    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn min(&self) -> f64 {
        self.sorted[0]
    }

    pub(super) fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len() as f64
    }

    /// Standard deviation of the population.
    pub(super) fn std(&self) -> f64 {
        let mean = self.mean();
        (self.sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / self.sorted.len() as f64).sqrt()
    }

    /// Percentile, 0 to 100, interpolated between neighbours.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let position = percent / 100.0 * (self.sorted.len() - 1) as f64;
        let (below, above) = (self.sorted[position.floor() as usize], self.sorted[position.ceil() as usize]);
        below + (above - below) * position.fract()
    }

    /// The object `benchmark_result` of an exported benchmark.
    pub(super) fn to_json(&self, scenario: &str, items_per_sec: f64, seconds_ran: f64) -> Value {
        let mut result = Map::new();
        result.insert("scenario".into(), json!(scenario));
        result.insert("items_per_sec".into(), json!(items_per_sec));
        result.insert("seconds_ran".into(), json!(seconds_ran));
        result.insert("iterations".into(), json!(self.count()));
        result.insert("median".into(), json!(self.percentile(50.0)));
        result.insert("mean".into(), json!(self.mean()));
        result.insert("std".into(), json!(self.std()));
        result.insert("min".into(), json!(self.min()));
        for percent in [25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9] {
            result.insert(format!("{percent:.1}%"), json!(self.percentile(percent)));
        }
        Value::Object(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_agree_with_numpy() {
        let l = Latencies::new(vec![4.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((l.count(), l.min(), l.mean()), (4, 1.0, 4.25));
        assert_eq!((l.percentile(50.0), l.percentile(25.0)), (3.0, 1.75));
        assert!((l.percentile(99.9) - 9.982).abs() < 1e-9);
        assert!((l.std() - 3.491_060_011).abs() < 1e-9);
        assert!(Latencies::new(vec![]).is_none());
    }
}
