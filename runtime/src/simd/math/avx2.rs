//! Vector forms of the functions that epilogues and heads spend their time in: the operations of the definitions, in
//! their order, on eight numbers at once.

use super::{Quantizer, SIGMOID_LIMIT, SIGMOID_P, SIGMOID_Q};
use core::arch::x86_64::{
    __m256, __m256i, _mm256_add_ps, _mm256_adds_epi16, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_packs_epi32, _mm256_packus_epi16,
    _mm256_permutevar8x32_epi32, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_setzero_si256,
};

/// [`sigmoid`](super::sigmoid) of `N` vectors, whose chains of operations overlap.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn sigmoid<const N: usize>(xs: [__m256; N]) -> [__m256; N] {
    sigmoid_of_ratio(sigmoid_ratio(xs))
}

/// The first part of [`sigmoid`], up to the quotient.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn sigmoid_ratio<const N: usize>(xs: [__m256; N]) -> [__m256; N] {
    let mut x = xs;
    let mut square = xs;
    let mut p = [_mm256_set1_ps(SIGMOID_P[0]); N];
    let mut q = xs;
    for i in 0..N {
        // Of a NaN and a limit, the second operand wins: the lower limit, as in the definition.
        let above = _mm256_max_ps(x[i], _mm256_set1_ps(-SIGMOID_LIMIT));
        x[i] = _mm256_min_ps(above, _mm256_set1_ps(SIGMOID_LIMIT));
        square[i] = _mm256_mul_ps(x[i], x[i]);
        q[i] = _mm256_add_ps(square[i], _mm256_set1_ps(SIGMOID_Q[0]));
    }
    for k in 1..SIGMOID_Q.len() {
        for i in 0..N {
            if k < SIGMOID_P.len() {
                p[i] = _mm256_fmadd_ps(p[i], square[i], _mm256_set1_ps(SIGMOID_P[k]));
            }
        }
        for i in 0..N {
            q[i] = _mm256_fmadd_ps(q[i], square[i], _mm256_set1_ps(SIGMOID_Q[k]));
        }
    }
    for i in 0..N {
        x[i] = _mm256_div_ps(_mm256_mul_ps(p[i], x[i]), q[i]);
    }
    x
}

/// The second part of [`sigmoid`].
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sigmoid_of_ratio<const N: usize>(mut ratios: [__m256; N]) -> [__m256; N] {
    for y in &mut ratios {
        *y = _mm256_max_ps(_mm256_add_ps(*y, _mm256_set1_ps(0.5)), _mm256_setzero_ps());
    }
    ratios
}

/// [`silu`](super::silu) of `N` vectors, of their [`sigmoid_ratio`].
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn silu_of_ratio<const N: usize>(xs: [__m256; N], ratios: [__m256; N]) -> [__m256; N] {
    let mut ys = sigmoid_of_ratio(ratios);
    for i in 0..N {
        ys[i] = _mm256_mul_ps(xs[i], ys[i]);
    }
    ys
}

impl Quantizer {
    /// [`Quantizer::quantize`] of 32 consecutive numbers.
    ///
    /// What lies below the lower bound saturates when it is packed, and so does a NaN, which is converted to the least
    /// integer: the result is that of the definition, which clamps first.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(crate) fn quantize_lanes(&self, xs: [__m256; 4]) -> __m256i {
        let (scale, inverse) = (_mm256_set1_ps(self.scale), _mm256_set1_ps(self.inverse));
        let mut steps = [_mm256_setzero_si256(); 4];
        for (steps, x) in steps.iter_mut().zip(xs) {
            // The second operand is kept when it is a NaN.
            let x = _mm256_min_ps(_mm256_set1_ps(self.high), x);
            let q = _mm256_mul_ps(x, inverse);
            let rest = _mm256_fnmadd_ps(q, scale, x);
            *steps = _mm256_cvtps_epi32(_mm256_fmadd_ps(rest, inverse, q));
        }
        let zero = _mm256_set1_epi16(i16::from(self.zero));
        let [a, b, c, d] = steps;
        let ab = _mm256_adds_epi16(_mm256_packs_epi32(a, b), zero);
        let cd = _mm256_adds_epi16(_mm256_packs_epi32(c, d), zero);
        // Packing works in halves of a vector: four bytes of a, b, c, d, and the other four of each.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::simd::math;
    use std::mem::transmute;

    /// Every sign and exponent with mantissas at both ends and in between, so NaN, infinities and subnormals too.
    fn numbers() -> Vec<f32> {
        let mut state = 0x9e37_79b9u32;
        let mut numbers = Vec::new();
        for high in 0..512u32 {
            for mantissa in [0, 1, 0x40_0000, 0x7f_ffff] {
                numbers.push(f32::from_bits(high << 23 | mantissa));
            }
            for _ in 0..(if (118..134).contains(&(high % 256)) { 20_000 } else { 60 }) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                numbers.push(f32::from_bits(high << 23 | state >> 9));
            }
        }
        numbers.resize(numbers.len().next_multiple_of(32), 0.0);
        numbers
    }

    fn present() -> bool {
        let present = Isa::detect() >= Isa::Avx2;
        if !present {
            eprintln!("skipped: this machine lacks AVX2");
        }
        present
    }

    /// Equal bits, or both not a number.
    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    #[test]
    fn sigmoid_and_silu_are_their_definitions() {
        if !present() {
            return;
        }
        for xs in numbers().as_chunks::<32>().0 {
            // SAFETY: the machine has AVX2 and FMA; arrays and vectors of floats have the same layout.
            let (sigmoids, silus) = unsafe {
                let lanes = transmute::<[f32; 32], [__m256; 4]>(*xs);
                (
                    transmute::<[__m256; 4], [f32; 32]>(sigmoid(lanes)),
                    transmute::<[__m256; 4], [f32; 32]>(silu_of_ratio(lanes, sigmoid_ratio(lanes))),
                )
            };
            for (i, &x) in xs.iter().enumerate() {
                assert!(same(sigmoids[i], math::sigmoid(x)), "sigmoid({x:e})");
                assert!(same(silus[i], math::silu(x)), "silu({x:e})");
            }
        }
    }

    #[test]
    fn quantising_lanes_is_the_definition() {
        if !present() {
            return;
        }
        let check = |quantizer: &Quantizer, xs: &[f32; 32]| {
            // SAFETY: as above.
            let bytes = unsafe {
                let lanes = transmute::<[f32; 32], [__m256; 4]>(*xs);
                transmute::<__m256i, [u8; 32]>(quantizer.quantize_lanes(lanes))
            };
            for (i, &x) in xs.iter().enumerate() {
                assert_eq!(bytes[i], quantizer.quantize(x), "{x:e} ({:08x}) by {quantizer:?}", x.to_bits());
            }
        };
        let numbers = numbers();
        for scale in [1e-30, 3.1e-6, 0.017, 0.034_567, 0.1, 1.0, 3.0, 1e9, 1e30] {
            for zero in [0, 1, 10, 114, 128, 254, 255] {
                let quantizer = Quantizer::new(scale, zero);
                // Every tie and every integer, from beyond one bound to beyond the other, and the numbers beside them.
                let near: Vec<f32> = (-1100..=1100)
                    .flat_map(|half| {
                        let x = half as f32 * 0.5 * scale;
                        [x, x.next_up(), x.next_down(), (f64::from(half) * 0.5 * f64::from(scale)) as f32]
                    })
                    .chain([0; 28].map(|_| 0.0))
                    .collect();
                for xs in near.as_chunks::<32>().0.iter().chain(numbers.as_chunks::<32>().0) {
                    check(&quantizer, xs);
                }
            }
        }
    }
}
