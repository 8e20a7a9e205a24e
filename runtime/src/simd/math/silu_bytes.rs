//! SiLU and quantisation at once, for numbers whose quotients are not near a tie.
//!
//! The definitions take a division, some twenty roundings and a correction of the quotient by the scale. A coarser rational
//! comes within a few ten-thousandths of a step of that quotient, and two numbers of one interval between ties are the same
//! byte. Quotients nearer to a tie than that are in doubt, and left to the definitions.

use super::Quantizer;
use super::vector::Vector;

/// Bits of the fraction of a quotient.
pub(super) const FRACTION: u32 = 14;
/// What quotients are added to, so that the bits of the sum count parts of a step: all of them lie between two powers of
/// two, from 128 steps below a quotient of 0 to 384 steps above it.
pub(super) const BASE: f32 = 640.0;
/// Quotients within this many parts of a tie are in doubt.
const DOUBT: u32 = 4;
/// The size of a part, in steps.
const PART: f32 = 1.0 / (1 << FRACTION) as f32;

/// `x * sigmoid(x)` as `x * (q(x²) + x * p(x²)) / (2 * q(x²))`, where `x` is clamped to `limit` on both sides in the
/// polynomials, and below elsewhere. Coefficients of powers of `x²`, highest first; the highest of `q` is 1 and left out.
#[derive(Debug)]
pub(crate) struct Ratio {
    limit: f32,
    p: [f32; 4],
    q: [f32; 3],
    /// Most that results of positive numbers differ from the definition, besides [`RELATIVE`] of it.
    error: f32,
    /// Most that results of negative numbers down to `-limit` do, which the definition has no more exactly. Beyond, both
    /// are less than half a step away from 0.
    below: f32,
}

/// SiLU of no number is further below 0.
const LEAST: f32 = 0.28;
/// Part of a result by which it may differ from the definition.
const RELATIVE: f32 = 3.5e-7;
/// For quantisers of results up to its limit, and of steps that are not small.
const NARROW: Ratio = Ratio {
    limit: 11.3,
    p: [0.014_607_254, 30.727_757, 6_370.488_3, 204_952.25],
    q: [554.010_6, 46_899.04, 409_905.38],
    error: 5e-7,
    below: 2.7e-6,
};
/// Keeps its bounds beyond its limit.
const WIDE: Ratio = Ratio {
    limit: 14.5,
    p: [0.013_371_363, 32.809_677, 7_304.449_7, 239_513.6],
    q: [618.413_64, 54_522.953, 479_035.75],
    error: 5e-6,
    below: 7.5e-6,
};

impl Ratio {
    /// The one that serves all of some quantisers. None does when steps are so small that a number which is not in doubt
    /// could be another byte.
    pub(crate) fn of(quantizers: impl Iterator<Item = Quantizer> + Clone) -> Option<&'static Ratio> {
        let narrow = quantizers.clone().all(|quantizer| quantizer.high <= NARROW.limit);
        let ratio: &'static Ratio = if narrow { &NARROW } else { &WIDE };
        let mut served = true;
        for Quantizer { scale, .. } in quantizers {
            // The reciprocal and the definition's quotient are rounded, and so is the sum with the offset.
            let above = ratio.error / scale + 256.0 * (RELATIVE + f32::EPSILON);
            let below = (ratio.below + LEAST * f32::EPSILON) / scale;
            served &= above.max(below) + PART / 2.0 < DOUBT as f32 * PART;
        }
        served.then_some(ratio)
    }
}

/// A [`Ratio`] in vectors.
#[derive(Clone, Copy)]
pub(crate) struct Ratios<V> {
    limits: [V; 2],
    p: [V; 4],
    q: [V; 3],
}

impl<V: Vector> Ratios<V> {
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn new(&Ratio { limit, p: [p3, p2, p1, p0], q: [q2, q1, q0], .. }: &Ratio) -> Ratios<V> {
        // SAFETY: forwarded.
        unsafe {
            Ratios {
                limits: [V::splat(-limit), V::splat(limit)],
                p: [V::splat(p3), V::splat(p2), V::splat(p1), V::splat(p0)],
                q: [V::splat(q2), V::splat(q1), V::splat(q0)],
            }
        }
    }

    /// Twice the SiLU of finite numbers.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn of(&self, mut x: [V; 4]) -> [V; 4] {
        let (mut t, mut square, mut p, mut q) = (x, x, x, x);
        // SAFETY: forwarded.
        unsafe {
            for i in 0..4 {
                x[i] = x[i].max(self.limits[0]);
                t[i] = x[i].min(self.limits[1]);
                square[i] = t[i].mul(t[i]);
            }
            for i in 0..4 {
                q[i] = square[i].add(self.q[0]);
                p[i] = square[i].mul_add(self.p[0], self.p[1]);
            }
            for k in 1..3 {
                for i in 0..4 {
                    q[i] = q[i].mul_add(square[i], self.q[k]);
                    p[i] = p[i].mul_add(square[i], self.p[k + 1]);
                }
            }
            for i in 0..4 {
                p[i] = p[i].mul_add(t[i], q[i]);
            }
            for i in 0..4 {
                p[i] = p[i].mul(x[i]);
            }
            for i in 0..4 {
                p[i] = p[i].div(q[i]);
            }
        }
        p
    }
}

/// Quantisation of what [`Ratios::of`] gives.
#[derive(Clone, Copy)]
pub(crate) struct NearQuantizer<V> {
    half_inverse: V,
    offset: V,
}

impl<V: Vector> NearQuantizer<V> {
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn new(quantizer: &Quantizer) -> NearQuantizer<V> {
        let offset = BASE + f32::from(quantizer.zero) + 0.5 + DOUBT as f32 * PART;
        // SAFETY: forwarded.
        unsafe { NearQuantizer { half_inverse: V::splat(quantizer.inverse / 2.0), offset: V::splat(offset) } }
    }

    /// Writes the bytes of four vectors, and gives back whether one of them is in doubt.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn store(&self, mut doubled: [V; 4], to: *mut u8) -> bool {
        const IN_DOUBT: u32 = (1 << FRACTION) - 2 * DOUBT;
        // SAFETY: forwarded.
        unsafe {
            for x in &mut doubled {
                *x = x.mul_add(self.half_inverse, self.offset);
            }
            V::store_fixed_bytes(doubled, to);
            V::any_zero(doubled, V::splat_integer(IN_DOUBT as i32))
        }
    }
}

#[cfg(test)]
mod tests;
