//! The loops of the loss, compiled for the widest vectors of the machine.

use crate::sparsify::network::sigmoid;
use pulp::{Arch, Simd, WithSimd};

/// Elements that are added up side by side.
const PARTS: usize = 16;

/// Replaces every element by its sigmoid.
pub(super) fn sigmoids(x: &[f32]) -> Vec<f32> {
    let mut result = x.to_vec();
    Arch::new().dispatch(Sigmoids { x: &mut result });
    result
}

/// The sum of the elements and that of their squares.
pub(super) fn sums(x: &[f32]) -> [f32; 2] {
    Arch::new().dispatch(Sums { x })
}

/// Adds `factor * (ours - taught)` to `gradient`; returns the sum of squared differences.
pub(super) fn pull(taught: &[f32], ours: &[f32], factor: f32, gradient: &mut [f32]) -> f32 {
    Arch::new().dispatch(Pull { taught, ours, factor, gradient })
}

/// The same with the factor times a weight per element.
pub(super) fn pull_weighted(taught: &[f32], ours: &[f32], weights: &[f32], factor: f32, gradient: &mut [f32]) -> f32 {
    Arch::new().dispatch(PullWeighted { taught, ours, weights, factor, gradient })
}

/// Adds `factor * weight * (sigmoid(ours) - sigmoid(taught))`, the derivative of a cross entropy, to `gradient`; returns
/// the weighted sum of the differences' magnitudes.
pub(super) fn pull_sigmoids(taught: &[f32], ours: &[f32], weights: &[f32], factor: f32, gradient: &mut [f32]) -> f32 {
    Arch::new().dispatch(PullSigmoids { taught, ours, weights, factor, gradient })
}

struct Sigmoids<'a> {
    x: &'a mut [f32],
}

impl WithSimd for Sigmoids<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.x.iter_mut().for_each(|x| *x = sigmoid(*x));
    }
}

struct Sums<'a> {
    x: &'a [f32],
}

impl WithSimd for Sums<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f32; 2] {
        let (mut sums, mut squares) = ([0.0f32; PARTS], [0.0f32; PARTS]);
        let (chunks, rest) = self.x.as_chunks::<PARTS>();
        for chunk in chunks {
            for i in 0..PARTS {
                sums[i] += chunk[i];
                squares[i] += chunk[i] * chunk[i];
            }
        }
        [sums.iter().chain(rest).sum(), squares.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()]
    }
}

/// Calls `$one` with every index, adding up what it returns in parts.
macro_rules! added_up {
    ($len:expr, $one:expr) => {{
        let (len, one) = ($len, $one);
        let mut parts = [0.0f32; PARTS];
        let whole = len - len % PARTS;
        for start in (0..whole).step_by(PARTS) {
            for (lane, part) in parts.iter_mut().enumerate() {
                *part += one(start + lane);
            }
        }
        parts.iter().sum::<f32>() + (whole..len).map(one).sum::<f32>()
    }};
}

struct Pull<'a> {
    taught: &'a [f32],
    ours: &'a [f32],
    factor: f32,
    gradient: &'a mut [f32],
}

impl WithSimd for Pull<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let len = self.gradient.len();
        let (taught, ours, gradient) = (&self.taught[..len], &self.ours[..len], &mut self.gradient[..len]);
        let mut one = |i: usize| {
            let difference = ours[i] - taught[i];
            gradient[i] += self.factor * difference;
            difference * difference
        };
        added_up!(len, &mut one)
    }
}

struct PullWeighted<'a> {
    taught: &'a [f32],
    ours: &'a [f32],
    weights: &'a [f32],
    factor: f32,
    gradient: &'a mut [f32],
}

impl WithSimd for PullWeighted<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let len = self.gradient.len();
        let (taught, ours, gradient) = (&self.taught[..len], &self.ours[..len], &mut self.gradient[..len]);
        let weights = &self.weights[..len];
        let mut one = |i: usize| {
            let difference = ours[i] - taught[i];
            gradient[i] += self.factor * weights[i] * difference;
            weights[i] * difference * difference
        };
        added_up!(len, &mut one)
    }
}

struct PullSigmoids<'a> {
    taught: &'a [f32],
    ours: &'a [f32],
    weights: &'a [f32],
    factor: f32,
    gradient: &'a mut [f32],
}

impl WithSimd for PullSigmoids<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let len = self.gradient.len();
        let (taught, ours, gradient) = (&self.taught[..len], &self.ours[..len], &mut self.gradient[..len]);
        let weights = &self.weights[..len];
        let mut one = |i: usize| {
            let difference = sigmoid(ours[i]) - sigmoid(taught[i]);
            gradient[i] += self.factor * weights[i] * difference;
            weights[i] * difference.abs()
        };
        added_up!(len, &mut one)
    }
}
