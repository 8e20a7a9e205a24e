//! Functions of single elements, compiled for the widest vectors of the machine.

use crate::ir::Activation;
use pulp::{Arch, Simd, WithSimd};

/// Applies an activation in place and notes its derivative at every element where `slope` has room.
pub fn activate(activation: Activation, x: &mut [f32], slope: &mut [f32]) {
    match activation {
        Activation::Silu if slope.is_empty() => Arch::new().dispatch(Silu { x }),
        Activation::Silu => Arch::new().dispatch(SiluWithSlope { x, slope }),
        Activation::Identity => slope.fill(1.0),
        other => {
            let mut slopes = slope.iter_mut();
            for x in x {
                let (y, derivative) = value_and_slope(other, *x);
                *x = y;
                if let Some(slope) = slopes.next() {
                    *slope = derivative;
                }
            }
        }
    }
}

/// `clamp(round(x / scale) + zero, 0, 255)` and back.
pub(super) fn round_to_grid(x: &[f32], scale: f32, zero: f32, rounded: &mut [f32]) {
    Arch::new().dispatch(RoundToGrid { x, scale, zero, rounded });
}

/// Value and derivative of an activation.
pub(super) fn value_and_slope(activation: Activation, x: f32) -> (f32, f32) {
    let within = |inside: bool, slope: f32| if inside { slope } else { 0.0 };
    match activation {
        Activation::Identity => (x, 1.0),
        Activation::Relu => (x.max(0.0), within(x > 0.0, 1.0)),
        Activation::LeakyRelu { alpha } => {
            let slope = if x < 0.0 { alpha } else { 1.0 };
            (x * slope, slope)
        }
        Activation::Silu => silu(x),
        Activation::Sigmoid => {
            let s = sigmoid(x);
            (s, s * (1.0 - s))
        }
        Activation::HardSwish => {
            let gate = (x / 6.0 + 0.5).clamp(0.0, 1.0);
            (x * gate, gate + within(x.abs() < 3.0, x / 6.0))
        }
        Activation::HardSigmoid { alpha, beta } => {
            let y = alpha * x + beta;
            (y.clamp(0.0, 1.0), within(y > 0.0 && y < 1.0, alpha))
        }
        Activation::Clip { lo, hi } => (x.max(lo).min(hi), within(x > lo && x < hi, 1.0)),
    }
}

/// `exp(x)` within a few units in the last place, for `|x| <= 87`; saturated beyond.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-0.693_145_75, x);
    let r = n.mul_add(-1.428_606_8e-6, r);
    let p = r.mul_add(1.388_888_9e-3, 8.333_334e-3);
    let p = p.mul_add(r, 4.166_666_7e-2);
    let p = p.mul_add(r, 1.666_666_7e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127)) << 23);
    p * power
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let s = sigmoid(x);
    let y = x * s;
    (y, (1.0 - s).mul_add(y, s))
}

struct Silu<'a> {
    x: &'a mut [f32],
}

impl WithSimd for Silu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.x.iter_mut().for_each(|x| *x *= sigmoid(*x));
    }
}

struct SiluWithSlope<'a> {
    x: &'a mut [f32],
    slope: &'a mut [f32],
}

impl WithSimd for SiluWithSlope<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.x.iter_mut().zip(self.slope).for_each(|(x, slope)| (*x, *slope) = silu(*x));
    }
}

struct RoundToGrid<'a> {
    x: &'a [f32],
    scale: f32,
    zero: f32,
    rounded: &'a mut [f32],
}

impl WithSimd for RoundToGrid<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (scale, zero) = (self.scale, self.zero);
        let inverse = 1.0 / scale;
        let round = |x: f32| {
            let level = (x * inverse).round_ties_even() + zero;
            (level.clamp(0.0, 255.0) - zero) * scale
        };
        self.rounded.iter_mut().zip(self.x).for_each(|(r, &x)| *r = round(x));
    }
}

/// `a += b`
pub(super) fn add(a: &mut [f32], b: &[f32]) {
    Arch::new().dispatch(Add { a, b });
}

/// `a *= b`
pub(super) fn multiply(a: &mut [f32], b: &[f32]) {
    Arch::new().dispatch(Multiply { a, b });
}

/// The sum of all elements, in sixteen interleaved parts.
pub(super) fn sum(x: &[f32]) -> f32 {
    Arch::new().dispatch(Sum { x })
}

/// Zeroes `a` where `x` is outside of `[lo, hi]`.
pub(super) fn zero_outside(a: &mut [f32], x: &[f32], lo: f32, hi: f32) {
    Arch::new().dispatch(ZeroOutside { a, x, lo, hi });
}

struct Add<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.a.iter_mut().zip(self.b).for_each(|(a, b)| *a += *b);
    }
}

struct Multiply<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.a.iter_mut().zip(self.b).for_each(|(a, b)| *a *= *b);
    }
}

struct Sum<'a> {
    x: &'a [f32],
}

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let mut parts = [0.0f32; 16];
        let (chunks, rest) = self.x.as_chunks::<16>();
        for chunk in chunks {
            parts.iter_mut().zip(chunk).for_each(|(p, x)| *p += *x);
        }
        parts.iter().chain(rest).sum()
    }
}

struct ZeroOutside<'a> {
    a: &'a mut [f32],
    x: &'a [f32],
    lo: f32,
    hi: f32,
}

impl WithSimd for ZeroOutside<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (lo, hi) = (self.lo, self.hi);
        let outside = |x: f32| x < lo || x > hi;
        self.a.iter_mut().zip(self.x).for_each(|(a, &x)| *a = if outside(x) { 0.0 } else { *a });
    }
}

#[cfg(test)]
mod tests {
    use super::sigmoid;

    #[test]
    fn the_sigmoid_is_one() {
        for i in -2000..2000 {
            let x = i as f32 * 0.05;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - exact).abs() <= 2e-6 * exact + 1e-30, "{x}: {} {exact}", sigmoid(x));
        }
    }
}
