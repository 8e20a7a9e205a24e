//! Quantisation to bytes, exact on every machine.

use super::{ROUND, SIGMOID_LIMIT, clamp, sigmoid_odd};

/// Quantisation to `u8`: `clamp(round_half_even(x / scale) + zero, 0, 255)`, a NaN to 0.
///
/// The division is exact without dividing: for a correctly rounded reciprocal `y` of `scale`, `q = x * y` and
/// `q + (x - q * scale) * y` in fused arithmetic is the correctly rounded quotient (Markstein, 1990).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    scale: f32,
    inverse: f32,
    /// Values beyond these bounds saturate.
    low: f32,
    high: f32,
    zero: u8,
    /// Bits of the largest distance from an integer at which [`Quantizer::near_silu`] is certain.
    certain: u32,
}

impl Quantizer {
    /// A quantiser for a positive scale whose reciprocal is a normal number.
    pub const fn new(scale: f32, zero: u8) -> Quantizer {
        let z = zero as f32;
        // Both paths to a step round a few times: relative to 2^-24 the exact one by at most 3 * 256 and, where the
        // sigmoid is clamped at 0, by 18 / scale; the near one by 2 * 256 for the reciprocal, by 512 + 255 + 9 / scale
        // for `w / 2 + zero`, and by 511 for the sum.
        let margin = (2558.0 + 27.0 / scale) / 16_777_216.0;
        let certain = if margin < 0.5 { (0.5 - margin).to_bits() } else { 0 };
        Quantizer { scale, inverse: 1.0 / scale, low: -z * scale, high: (255.0 - z) * scale, zero, certain }
    }

    /// The scale.
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// The zero point.
    pub const fn zero(&self) -> u8 {
        self.zero
    }

    /// Quantises one value.
    #[inline(always)]
    pub fn quantize(&self, x: f32) -> u8 {
        let x = clamp(x, self.low, self.high);
        let q = x * self.inverse;
        let rest = (-q).mul_add(self.scale, x);
        let shifted = rest.mul_add(self.inverse, q) + ROUND;
        (shifted.to_bits() as u8).wrapping_add(self.zero)
    }

    /// `quantize(silu(x))` of a number greater than minus infinity in fewer operations, and a measure of doubt: the result is exact when the measure
    /// is below [`Quantizer::doubt`], and may be a neighbour otherwise.
    #[inline(always)]
    pub(crate) fn near_silu(&self, x: f32) -> (u8, u32) {
        let x = if x > -SIGMOID_LIMIT { x } else { -SIGMOID_LIMIT };
        let odd = sigmoid_odd(if x < SIGMOID_LIMIT { x } else { SIGMOID_LIMIT });
        let w = x * self.inverse;
        let steps = clamp(odd.mul_add(w, w.mul_add(0.5, f32::from(self.zero))), 0.0, 255.0);
        let shifted = steps + ROUND;
        let rest = steps - (shifted - ROUND);
        (shifted.to_bits() as u8, rest.to_bits() & 0x7fff_ffff)
    }

    /// See [`Quantizer::near_silu`].
    #[inline(always)]
    pub(crate) fn doubt(&self) -> u32 {
        self.certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizer_divides_exactly() {
        let mut state = 1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..200 {
            let scale = f32::from_bits(0x3900_0000 + (next() as u32 & 0x07ff_ffff));
            let zero = next() as u8;
            let quantizer = Quantizer::new(scale, zero);
            for _ in 0..20_000 {
                let steps = ((next() >> 40) as f32 / (1 << 24) as f32 - 0.2) * 400.0;
                // Half of the values lie at a tie or one rounding beside it.
                let x = match next() % 4 {
                    0 => (steps.floor() + 0.5) * scale,
                    1 => ((steps.floor() + 0.5) * scale).next_up(),
                    _ => steps * scale,
                };
                let z = f32::from(zero);
                let expected = clamp(x / scale, -z, 255.0 - z).round_ties_even() as i32 + i32::from(zero);
                assert_eq!(i32::from(quantizer.quantize(x)), expected, "{x} / {scale} + {zero}");
            }
        }
    }

    #[test]
    fn quantize_rounds_half_to_even_and_saturates() {
        assert_eq!(Quantizer::new(1.0, 10).quantize(0.5), 10);
        assert_eq!(Quantizer::new(1.0, 10).quantize(1.5), 12);
        assert_eq!(Quantizer::new(1.0, 10).quantize(-0.5), 10);
        assert_eq!(Quantizer::new(1.0, 10).quantize(1e30), 255);
        assert_eq!(Quantizer::new(1.0, 10).quantize(-1e30), 0);
        assert_eq!(Quantizer::new(1.0, 10).quantize(f32::NAN), 0);
    }

    #[test]
    fn near_silu_is_exact_or_in_doubt() {
        let mut state = 9u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..300 {
            // Scales from 2^-14 to 2^3, and zero points with and without room for the negative side of the function.
            let scale = f32::from_bits(0x3880_0000 + (next() as u32 % 0x0880_0000));
            let quantizer = Quantizer::new(scale, if round % 3 == 0 { 0 } else { next() as u8 });
            for _ in 0..5_000 {
                let r = (next() >> 40) as f32 / (1 << 24) as f32;
                let x = match next() % 4 {
                    0 => (r - 0.5) * 40.0,
                    1 => r * 300.0 * scale,
                    2 => (r - 0.5) * 6.0,
                    // At a tie of the identity, which the function approaches.
                    _ => ((r * 256.0).floor() + 0.5) * scale,
                };
                let (near, doubt) = quantizer.near_silu(x);
                let exact = quantizer.quantize(super::super::silu(x));
                if doubt < quantizer.doubt() {
                    assert_eq!(near, exact, "silu({x}) / {scale}");
                }
            }
            for x in [0.0, -18.0, 18.0, -1e30, 1e30, f32::INFINITY, f32::MIN_POSITIVE] {
                let (near, doubt) = quantizer.near_silu(x);
                let exact = quantizer.quantize(super::super::silu(x));
                assert!(near == exact || doubt >= quantizer.doubt(), "silu({x}) / {scale}");
            }
        }
    }

    #[test]
    fn near_silu_is_seldom_in_doubt() {
        for scale in [0.01, 0.03, 0.1] {
            let quantizer = Quantizer::new(scale, 5);
            let doubts = (-100_000..100_000).filter(|&i| quantizer.near_silu(i as f32 * 1e-4).1 >= quantizer.doubt());
            let doubts = doubts.count();
            assert!(doubts < 200, "{doubts} of 200,000 at scale {scale}");
        }
    }
}
