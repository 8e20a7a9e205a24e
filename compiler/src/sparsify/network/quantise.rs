//! Rounding as quantisation does it, in float: `u8` asymmetric for inputs, `s8` symmetric per tensor for weights.

use super::pointwise;

/// The `u8` grid of a convolution's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputRange {
    /// Distance of two levels.
    pub scale: f32,
    /// The level that stands for zero.
    pub zero: u8,
}

impl InputRange {
    /// The grid that covers `[lo, hi]` and zero.
    pub fn covering(lo: f32, hi: f32) -> Self {
        let (lo, hi) = (lo.min(0.0), hi.max(0.0));
        let scale = ((hi - lo) / 255.0).max(f32::MIN_POSITIVE);
        InputRange { scale, zero: (-lo / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }

    /// Least and largest number on the grid.
    pub fn bounds(self) -> [f32; 2] {
        let at = |level: f32| (level - f32::from(self.zero)) * self.scale;
        [at(0.0), at(255.0)]
    }

    /// Rounds every element of `x` to the grid, into `rounded`.
    pub(super) fn round(self, x: &[f32], rounded: &mut [f32]) {
        pointwise::round_to_grid(x, self.scale, f32::from(self.zero), rounded);
    }
}

/// A weight rounded to `s8` with one scale, the largest magnitude being 127 steps.
pub fn quantised_weight(weight: &[f32]) -> Vec<f32> {
    let scale = weight.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 127.0;
    if scale == 0.0 {
        return weight.to_vec();
    }
    weight.iter().map(|w| (w / scale).round_ties_even() * scale).collect()
}
