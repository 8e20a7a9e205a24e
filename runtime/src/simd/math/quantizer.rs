//! Quantisation to bytes, exact on every machine.

#[cfg(not(feature = "std"))]
use super::Float as _;
use super::{ROUND, clamp};

/// Quantisation to `u8`: `clamp(round_half_even(x / scale) + zero, 0, 255)`, a NaN to 0.
///
/// The division is exact without dividing: for a correctly rounded reciprocal `y` of `scale`, `q = x * y` and
/// `q + (x - q * scale) * y` in fused arithmetic is the correctly rounded quotient (Markstein, 1990).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    pub(super) scale: f32,
    pub(super) inverse: f32,
    /// Values beyond these bounds saturate.
    low: f32,
    pub(super) high: f32,
    pub(super) zero: u8,
}

impl Quantizer {
    /// A quantiser for a positive scale whose reciprocal is a normal number.
    pub const fn new(scale: f32, zero: u8) -> Quantizer {
        let z = zero as f32;
        Quantizer { scale, inverse: 1.0 / scale, low: -z * scale, high: (255.0 - z) * scale, zero }
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
}
