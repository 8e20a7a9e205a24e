//! Vector forms of the functions that epilogues and heads spend their time in: the operations of the definitions, in
//! their order, on a vector of numbers at once.

use super::silu_bytes::{BASE, FRACTION};
use super::{Quantizer, SIGMOID_LIMIT, SIGMOID_P, SIGMOID_Q};
use core::arch::x86_64::*;

/// A vector of `f32`.
///
/// Functions over vectors are compiled for the instruction set of what they are inlined into. A closure called twice is
/// not, and takes ten times as long.
///
/// # Safety
/// Of every method: the machine has the instruction set of the vector, which is AVX2 and FMA, or AVX-512 F and BW; and
/// pointers are valid for as many elements as the vector has.
pub(crate) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// As many 32-bit integers.
    type Integers: Copy;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self * by + plus`, rounded once.
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;
    /// `plus - self * by`, rounded once.
    unsafe fn neg_mul_add(self, by: Self, plus: Self) -> Self;
    /// `other` where either is a NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `other` where either is a NaN.
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn splat_integer(x: i32) -> Self::Integers;
    /// The bits as integers, with an integer added to them, which may wrap, as numbers.
    unsafe fn integer_sum(self, other: Self::Integers) -> Self;
    /// The nearest integers, ties to even, saturated to 16 bits, plus `zero`, saturated to bytes; a NaN becomes the least.
    /// Written in the order of the elements.
    unsafe fn store_bytes(xs: [Self; 4], zero: u8, to: *mut u8);
    /// The bits less those of [`BASE`], without their low [`FRACTION`] ones, saturated to bytes. Written in the order of the
    /// elements.
    unsafe fn store_fixed_bytes(xs: [Self; 4], to: *mut u8);
    /// Whether the bits of an element have none of those of `mask`.
    unsafe fn any_zero(xs: [Self; 4], mask: Self::Integers) -> bool;
}

/// [`Vector`] by the intrinsics of an instruction set; what packs bytes or tests bits stays to be written.
macro_rules! vector {
    ($vector:ty, $integers:ty, $lanes:literal: $set1:ident $load:ident $store:ident $add:ident $mul:ident $div:ident
     $fmadd:ident $fnmadd:ident $max:ident $min:ident $set1_integer:ident $add_integer:ident $cast:ident $convert:ident
     $($store_bytes:tt)*) => {
        // SAFETY (all blocks): by the contract of the trait.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Vector for $vector {
            const LANES: usize = $lanes;
            type Integers = $integers;

            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                unsafe { $set1(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                unsafe { $mul(self, other) }
            }
            #[inline(always)]
            unsafe fn div(self, other: Self) -> Self {
                unsafe { $div(self, other) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
                unsafe { $fmadd(self, by, plus) }
            }
            #[inline(always)]
            unsafe fn neg_mul_add(self, by: Self, plus: Self) -> Self {
                unsafe { $fnmadd(self, by, plus) }
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                unsafe { $max(self, other) }
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                unsafe { $min(self, other) }
            }
            #[inline(always)]
            unsafe fn splat_integer(x: i32) -> $integers {
                unsafe { $set1_integer(x) }
            }
            #[inline(always)]
            unsafe fn integer_sum(self, other: $integers) -> Self {
                unsafe { $convert($add_integer($cast(self), other)) }
            }
            $($store_bytes)*
        }
    };
}

vector! {
    __m256, __m256i, 8: _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_mul_ps _mm256_div_ps
    _mm256_fmadd_ps _mm256_fnmadd_ps _mm256_max_ps _mm256_min_ps _mm256_set1_epi32 _mm256_add_epi32
    _mm256_castps_si256 _mm256_cvtepi32_ps

    #[inline(always)]
    unsafe fn store_bytes([a, b, c, d]: [Self; 4], zero: u8, to: *mut u8) {
        unsafe {
            let zero = _mm256_set1_epi16(i16::from(zero));
            let ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
            let cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
            store_packed_256(_mm256_packus_epi16(_mm256_adds_epi16(ab, zero), _mm256_adds_epi16(cd, zero)), to);
        }
    }

    #[inline(always)]
    unsafe fn store_fixed_bytes(xs: [Self; 4], to: *mut u8) {
        unsafe {
            let base = _mm256_set1_epi32(BASE.to_bits() as i32);
            let mut fixed = [base; 4];
            for (fixed, x) in fixed.iter_mut().zip(xs) {
                *fixed = _mm256_srai_epi32::<{ FRACTION as i32 }>(_mm256_sub_epi32(_mm256_castps_si256(x), base));
            }
            let [a, b, c, d] = fixed;
            store_packed_256(_mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)), to);
        }
    }

    #[inline(always)]
    unsafe fn any_zero(xs: [Self; 4], mask: __m256i) -> bool {
        unsafe {
            let mut least = mask;
            for x in xs {
                least = _mm256_min_epu32(least, _mm256_and_si256(_mm256_castps_si256(x), mask));
            }
            let zero = _mm256_cmpeq_epi32(least, _mm256_setzero_si256());
            _mm256_movemask_ps(_mm256_castsi256_ps(zero)) != 0
        }
    }
}

vector! {
    __m512, __m512i, 16: _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_mul_ps _mm512_div_ps
    _mm512_fmadd_ps _mm512_fnmadd_ps _mm512_max_ps _mm512_min_ps _mm512_set1_epi32 _mm512_add_epi32
    _mm512_castps_si512 _mm512_cvtepi32_ps

    #[inline(always)]
    unsafe fn store_bytes([a, b, c, d]: [Self; 4], zero: u8, to: *mut u8) {
        unsafe {
            let zero = _mm512_set1_epi16(i16::from(zero));
            let ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
            let cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
            store_packed_512(_mm512_packus_epi16(_mm512_adds_epi16(ab, zero), _mm512_adds_epi16(cd, zero)), to);
        }
    }

    #[inline(always)]
    unsafe fn store_fixed_bytes(xs: [Self; 4], to: *mut u8) {
        unsafe {
            let base = _mm512_set1_epi32(BASE.to_bits() as i32);
            let mut fixed = [base; 4];
            for (fixed, x) in fixed.iter_mut().zip(xs) {
                *fixed = _mm512_srai_epi32::<FRACTION>(_mm512_sub_epi32(_mm512_castps_si512(x), base));
            }
            let [a, b, c, d] = fixed;
            store_packed_512(_mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)), to);
        }
    }

    #[inline(always)]
    unsafe fn any_zero(xs: [Self; 4], mask: __m512i) -> bool {
        unsafe {
            let mut zero = 0;
            for x in xs {
                zero |= _mm512_testn_epi32_mask(_mm512_castps_si512(x), mask);
            }
            zero != 0
        }
    }
}

/// Stores bytes that were packed in halves of a vector: four of each of four vectors, and the other four of each.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn store_packed_256(bytes: __m256i, to: *mut u8) {
    // SAFETY: forwarded.
    unsafe {
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_storeu_si256(to.cast(), _mm256_permutevar8x32_epi32(bytes, order));
    }
}

/// As [`store_packed_256`], in quarters.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn store_packed_512(bytes: __m512i, to: *mut u8) {
    // SAFETY: forwarded.
    unsafe {
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_storeu_si512(to.cast(), _mm512_permutexvar_epi32(order, bytes));
    }
}

/// [`sigmoid`](super::sigmoid) of `N` vectors, whose chains of operations overlap.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn sigmoid<V: Vector, const N: usize>(xs: [V; N]) -> [V; N] {
    // SAFETY: forwarded.
    unsafe { sigmoid_of_ratio(sigmoid_ratio(xs)) }
}

/// The first part of [`sigmoid`], up to the quotient.
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn sigmoid_ratio<V: Vector, const N: usize>(xs: [V; N]) -> [V; N] {
    // SAFETY: forwarded.
    unsafe {
        let mut x = xs;
        let mut square = xs;
        let mut p = [V::splat(SIGMOID_P[0]); N];
        let mut q = xs;
        for i in 0..N {
            // A NaN becomes the lower limit, as in the definition.
            x[i] = x[i].max(V::splat(-SIGMOID_LIMIT)).min(V::splat(SIGMOID_LIMIT));
            square[i] = x[i].mul(x[i]);
            q[i] = square[i].add(V::splat(SIGMOID_Q[0]));
        }
        for k in 1..SIGMOID_Q.len() {
            for i in 0..N {
                if k < SIGMOID_P.len() {
                    p[i] = p[i].mul_add(square[i], V::splat(SIGMOID_P[k]));
                }
            }
            for i in 0..N {
                q[i] = q[i].mul_add(square[i], V::splat(SIGMOID_Q[k]));
            }
        }
        for i in 0..N {
            x[i] = p[i].mul(x[i]).div(q[i]);
        }
        x
    }
}

/// The second part of [`sigmoid`].
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn sigmoid_of_ratio<V: Vector, const N: usize>(mut ratios: [V; N]) -> [V; N] {
    for y in &mut ratios {
        // SAFETY: forwarded.
        *y = unsafe { y.add(V::splat(0.5)).max(V::splat(0.0)) };
    }
    ratios
}

/// [`silu`](super::silu) of `N` vectors, of their [`sigmoid_ratio`].
///
/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(crate) unsafe fn silu_of_ratio<V: Vector, const N: usize>(xs: [V; N], ratios: [V; N]) -> [V; N] {
    // SAFETY: forwarded.
    unsafe {
        let mut ys = sigmoid_of_ratio(ratios);
        for i in 0..N {
            ys[i] = xs[i].mul(ys[i]);
        }
        ys
    }
}

impl Quantizer {
    /// [`Quantizer::quantize`] of four vectors of consecutive numbers, written to `to`.
    ///
    /// What lies below the lower bound saturates when it is packed, and so does a NaN, which is converted to the least
    /// integer: the result is that of the definition, which clamps first.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn quantize_to<V: Vector>(&self, mut xs: [V; 4], to: *mut u8) {
        // SAFETY: forwarded.
        unsafe {
            let (scale, inverse) = (V::splat(self.scale), V::splat(self.inverse));
            for x in &mut xs {
                let bounded = V::splat(self.high).min(*x);
                let q = bounded.mul(inverse);
                let rest = q.neg_mul_add(scale, bounded);
                *x = rest.mul_add(inverse, q);
            }
            V::store_bytes(xs, self.zero, to);
        }
    }
}

#[cfg(test)]
mod tests;
