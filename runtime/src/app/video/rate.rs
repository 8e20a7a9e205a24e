//! Fewer frames in the same time.

/// Keeps evenly spaced frames of a video, so that it plays as long at a lower rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thinning {
    ratio: f64,
}

impl Thinning {
    /// From `source` frames per second to `target`; `None` when the target is not below the source, or either is not
    /// a positive number.
    pub fn new(source: f64, target: f64) -> Option<Self> {
        let possible = source.is_finite() && target.is_finite() && target > 0.0 && target < source;
        possible.then_some(Self { ratio: target / source })
    }

    /// Whether the frame with this index, counted from 0, stays. The first one does.
    pub fn keeps(&self, index: u64) -> bool {
        let kept_before = |index: u64| (index as f64 * self.ratio).ceil();
        kept_before(index + 1) > kept_before(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_frames_are_evenly_spaced() {
        let kept = |source, target, n| -> Vec<u64> {
            let thinning = Thinning::new(source, target).unwrap();
            (0..n).filter(|index| thinning.keeps(*index)).collect()
        };
        assert_eq!(kept(30.0, 10.0, 10), [0, 3, 6, 9]);
        assert_eq!(kept(30.0, 20.0, 6), [0, 1, 3, 4]);
        assert_eq!(kept(30.0, 29.0, 300).len(), 290);
    }

    #[test]
    fn a_target_at_or_above_the_source_thins_nothing() {
        for (source, target) in [(30.0, 30.0), (30.0, 60.0), (30.0, 0.0), (f64::NAN, 1.0), (30.0, -1.0)] {
            assert_eq!(Thinning::new(source, target), None, "{source} {target}");
        }
    }
}
