//! The elementwise functions of epilogues, defined operation by operation.
//!
//! Every function here is a fixed sequence of IEEE 754 `f32` operations (add, multiply, divide, fused
//! multiply-add, round-half-even), so that any instruction set that rounds correctly gives the same bits.
//! The vector forms and the compiler's interpreter follow these definitions exactly; that is what makes
//! int8 results equal on every machine. Bytes of SiLU are computed otherwise where they are known to be the same.

#[cfg(not(feature = "std"))]
mod float;
mod quantizer;
#[cfg(target_arch = "x86_64")]
pub(crate) mod silu_bytes;
#[cfg(target_arch = "x86_64")]
pub(crate) mod vector;

#[cfg(not(feature = "std"))]
pub(crate) use float::Float;
pub use quantizer::Quantizer;

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// High and low part of ln 2; the high part has few enough bits that `n * LN2_HI` is exact.
pub(crate) const LN2_HI: f32 = 0.693_359_4;
pub(crate) const LN2_LO: f32 = -2.121_944_4e-4;
/// Minimax polynomial of `(exp(r) - 1 - r) / r^2` on `[-ln2/2, ln2/2]`, highest degree first (Cephes `expf`).
pub(crate) const EXP_POLY: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
/// Adding and subtracting this rounds `|x| < 2^22` to the nearest integer, ties to even; between the two steps
/// the integer stands in the low bits of the sum.
pub(crate) const ROUND: f32 = 12_582_912.0;
/// Arguments of [`exp`] are clamped to `[-EXP_LIMIT, EXP_LIMIT]`, where the result is a normal number.
pub(crate) const EXP_LIMIT: f32 = 87.0;

/// `exp(x)` for `x` clamped to ±87, within 1e-7 relative.
#[inline]
pub fn exp(x: f32) -> f32 {
    // Ordered so that a NaN becomes the lower limit, as `maxps` then `minps` do.
    let x = if x > -EXP_LIMIT { x } else { -EXP_LIMIT };
    let x = if x < EXP_LIMIT { x } else { EXP_LIMIT };
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HI, x);
    let r = n.mul_add(-LN2_LO, r);
    let mut p = EXP_POLY[0];
    for c in &EXP_POLY[1..] {
        p = p.mul_add(r, *c);
    }
    let y = p.mul_add(r * r, r) + 1.0;
    f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Odd numerator and even denominator of a rational approximation of `sigmoid(x) - 0.5`, minimax up to [`SIGMOID_LIMIT`] and
/// within 2e-8 as rounded: coefficients of powers of `x * x`, highest first. The highest of the denominator is 1 and left out.
pub(crate) const SIGMOID_P: [f32; 4] = [-235_706.34, -182_851_540.0, -28_945_340_000.0, -872_376_400_000.0];
pub(crate) const SIGMOID_Q: [f32; 5] =
    [-6_876.379_4, -16_475_124.0, -5_533_363_000.0, -406_573_300_000.0, -3_489_505_700_000.0];
/// Beyond this the sigmoid is 0 or 1 to within its error.
pub(crate) const SIGMOID_LIMIT: f32 = 16.6;

/// `1 / (1 + exp(-x))` within 2e-7, never below 0.
#[inline]
pub fn sigmoid(x: f32) -> f32 {
    let x = clamp(x, -SIGMOID_LIMIT, SIGMOID_LIMIT);
    let square = x * x;
    let [mut p, p_rest @ ..] = SIGMOID_P;
    for c in p_rest {
        p = p.mul_add(square, c);
    }
    let mut q = square + SIGMOID_Q[0];
    for c in &SIGMOID_Q[1..] {
        q = q.mul_add(square, *c);
    }
    let y = (p * x) / q + 0.5;
    if y > 0.0 { y } else { 0.0 }
}

/// `x * sigmoid(x)`.
#[inline]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `x * clamp(x * (1/6) + 0.5, 0, 1)`.
#[inline]
pub fn hard_swish(x: f32) -> f32 {
    x * hard_sigmoid(x, 1.0 / 6.0, 0.5)
}

/// `clamp(fma(x, alpha, beta), 0, 1)`.
#[inline]
pub fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    clamp(x.mul_add(alpha, beta), 0.0, 1.0)
}

/// `min(max(x, lo), hi)`; a NaN becomes `lo`.
#[inline]
pub fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if x > lo { x } else { lo };
    if x < hi { x } else { hi }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp_of_the_true_value() {
        let mut worst = 0f64;
        for i in -87_000..=87_000 {
            let x = i as f32 / 1000.0;
            let y = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - y) / y).abs());
        }
        assert!(worst < 1.2e-7, "worst relative error {worst:e}");
    }

    #[test]
    fn sigmoid_and_silu_saturate_cleanly() {
        assert_eq!(sigmoid(200.0), 1.0);
        assert_eq!((sigmoid(SIGMOID_LIMIT), sigmoid(-SIGMOID_LIMIT)), (1.0, 0.0));
        assert!(sigmoid(-200.0) < 1e-7);
        assert_eq!(silu(200.0), 200.0);
        assert!(silu(-200.0).abs() < 1e-4);
        assert_eq!(silu(0.0), 0.0);
    }

    #[test]
    fn sigmoid_is_within_its_bound() {
        for i in -25_000..=25_000 {
            let x = i as f32 / 1000.0;
            let y = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - y).abs() < 2e-7, "{x}");
            assert!(sigmoid(x) >= 0.0);
        }
    }
}
