//! Scales of integers: the range that loses least on the numbers seen.

/// Levels of a `u8`.
const LEVELS: f32 = 255.0;

/// Ranges that are tried, each a little narrower than the one before.
const TRIES: usize = 60;

/// Scale and zero point of a `u8` input whose elements are like `sample`, which holds finite numbers. Zero is exact.
pub fn input(sample: &[f32]) -> (f32, u8) {
    let (mut low, mut high) = (0.0f32, 0.0f32);
    for &x in sample {
        low = low.min(x);
        high = high.max(x);
    }
    if high <= low {
        return (1.0, 0);
    }
    // The upper end first: activations have their long tail there.
    high = narrowed(high, |high| input_error(sample, low, high));
    low = narrowed(low, |low| input_error(sample, low, high));
    affine(low, high)
}

/// The end of a range that loses least: `end` or a part of it.
fn narrowed(end: f32, error: impl Fn(f32) -> f64) -> f32 {
    let ends = (0..TRIES).map(|i| end * (1.0 - i as f32 / (TRIES as f32 * 1.1)));
    let errors = ends.map(|end| (error(end), end));
    errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(end, |(_, end)| end)
}

/// Scale and zero point of a range that holds zero.
fn affine(low: f32, high: f32) -> (f32, u8) {
    let scale = ((high - low) / LEVELS).max(f32::MIN_POSITIVE);
    (scale, (-low / scale).round_ties_even().clamp(0.0, LEVELS) as u8)
}

fn input_error(sample: &[f32], low: f32, high: f32) -> f64 {
    let (scale, zero) = affine(low, high);
    sample.iter().map(|&x| f64::from(x - rounded_input(x, scale, zero)).powi(2)).sum()
}

/// What is left of an element after quantisation.
pub fn rounded_input(x: f32, scale: f32, zero: u8) -> f32 {
    let zero = f32::from(zero);
    (((x / scale).round_ties_even() + zero).clamp(0.0, LEVELS) - zero) * scale
}

/// Scale of an `i8` weight without zero point; an error of an element counts as much as its `importance`.
pub fn weight(elements: &[f32], importance: impl Fn(usize) -> f64) -> f32 {
    let largest = elements.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    if largest == 0.0 {
        return 1.0;
    }
    let error = |end: f32| {
        let scale = end / 127.0;
        let errors = elements.iter().enumerate().filter(|(_, w)| **w != 0.0);
        errors.map(|(i, &w)| importance(i) * f64::from(w - f32::from(rounded_weight(w, scale)) * scale).powi(2)).sum()
    };
    (narrowed(largest, error) / 127.0).max(f32::MIN_POSITIVE)
}

/// A weight in units of its scale.
pub fn rounded_weight(w: f32, scale: f32) -> i8 {
    (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::{input, rounded_input, rounded_weight, weight};

    #[test]
    fn zero_is_exact_and_ranges_are_covered() {
        for (low, high) in [(0.0, 1.0), (-0.278, 6.0), (-3.0, 3.0), (-2.0, 0.0)] {
            let sample: Vec<f32> = (0..=1000).map(|i| low + (high - low) * i as f32 / 1000.0).collect();
            let (scale, zero) = input(&sample);
            assert_eq!(rounded_input(0.0, scale, zero), 0.0);
            for &x in &sample {
                assert!((rounded_input(x, scale, zero) - x).abs() <= (high - low) * 0.02, "{low} to {high}: {x}");
            }
        }
        assert_eq!(input(&[0.0; 4]), (1.0, 0));
    }

    #[test]
    fn a_lone_outlier_does_not_cost_everybody_their_precision() {
        let mut sample: Vec<f32> = (0..1_000_000).map(|i| i as f32 / 1_000_000.0).collect();
        sample.push(4.0);
        let (scale, _) = input(&sample);
        assert!(scale < 2.5 / 255.0, "{scale}");
    }

    #[test]
    fn weights_keep_their_sign_and_size() {
        let weights = [0.5, -0.25, 0.0, 0.1];
        let scale = weight(&weights, |_| 1.0);
        let stored: Vec<i8> = weights.iter().map(|&w| rounded_weight(w, scale)).collect();
        for (w, q) in weights.iter().zip(&stored) {
            assert!((w - f32::from(*q) * scale).abs() < 0.03, "{w} {q} {scale}");
        }
        assert_eq!(stored[2], 0);
        assert_eq!(weight(&[0.0], |_| 1.0), 1.0);
    }
}
