//! Passes whose results are bytes of SiLU.

use super::pass::{BYTES, Bytes, Pass, VECTORS, load};
use crate::simd::math::silu_bytes::{NearQuantizer, Ratio, Ratios};
use crate::simd::math::vector::{Vector, sigmoid_ratio, silu_of_ratio};
use crate::simd::{Isa, prefetch_to_write};
use core::arch::x86_64::*;

impl Pass<'_> {
    /// As [`Pass::run`], for a pass whose results are the bytes of SiLU of integer sums and nothing else.
    ///
    /// # Safety
    /// As for [`Pass::run`].
    pub(super) unsafe fn run_silu_bytes(&self, isa: Isa, ratio: &Ratio, sum: (i32, f32, f32), len: usize) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(pass: &Pass<'_>, ratio: &Ratio, sum: (i32, f32, f32), len: usize) {
            // SAFETY: forwarded.
            unsafe { pass.silu_bytes::<__m256, { VECTORS * <__m256 as Vector>::LANES }>(Isa::Avx2, ratio, sum, len) }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512(pass: &Pass<'_>, ratio: &Ratio, sum: (i32, f32, f32), len: usize) {
            // SAFETY: forwarded.
            unsafe { pass.silu_bytes::<__m512, { VECTORS * <__m512 as Vector>::LANES }>(Isa::Avx512, ratio, sum, len) }
        }
        // SAFETY: forwarded.
        unsafe {
            match isa {
                Isa::Avx512 => avx512(self, ratio, sum, len),
                _ => avx2(self, ratio, sum, len),
            }
        }
    }

    /// Computes `len` elements, block by block; blocks with a byte in doubt are computed again, by the definitions. A block
    /// is begun before the one before it is ended, by way of memory, as in [`Pass::run`].
    ///
    /// # Safety
    /// As for [`Pass::run_silu_bytes`], inlined into what has the instruction set of the vectors.
    #[inline(always)]
    unsafe fn silu_bytes<V: Vector, const LANES: usize>(
        &self,
        isa: Isa,
        ratio: &Ratio,
        sum: (i32, f32, f32),
        len: usize,
    ) {
        let (acc_bias, scale, bias) = sum;
        let [first, more @ ..] = self.bytes else { return };
        // Of the last block, a part of one, these stand in for what must not be written behind a row.
        let mut last = [[0u8; LANES]; BYTES];
        let (blocks, rest) = (len.div_ceil(LANES), len % LANES);
        // SAFETY: as in `Pass::blocks`.
        unsafe {
            let (acc_bias, scale, bias) = (V::splat_integer(acc_bias), V::splat(scale), V::splat(bias));
            let ratios = Ratios::<V>::new(ratio);
            let quantizer = NearQuantizer::<V>::new(&first.quantizer);
            let mut begun = [[V::splat(0.0); VECTORS]; 2];
            for step in 0..=blocks {
                if step < blocks {
                    let mut x = load::<V>(self.from.add(step * LANES));
                    for x in &mut x {
                        *x = x.integer_sum(acc_bias).mul_add(scale, bias);
                    }
                    begun[step % 2] = ratios.of(x);
                }
                if step == 0 {
                    continue;
                }
                let doubled = begun[(step - 1) % 2];
                let at = (step - 1) * LANES;
                let whole = at + LANES <= len;
                prefetch_to_write(first.to.wrapping_add(at.wrapping_add(first.next)));
                let mut doubt = quantizer.store(doubled, if whole { first.to.add(at) } else { last[0].as_mut_ptr() });
                for (Bytes { to, quantizer, next }, last) in more.iter().zip(&mut last[1..]) {
                    prefetch_to_write(to.wrapping_add(at.wrapping_add(*next)));
                    let to = if whole { to.add(at) } else { last.as_mut_ptr() };
                    doubt |= NearQuantizer::<V>::new(quantizer).store(doubled, to);
                }
                if doubt {
                    self.block_again(isa, sum, at, if whole { None } else { Some(last.as_mut_ptr().cast()) });
                }
            }
            if rest > 0 {
                for (Bytes { to, .. }, last) in self.bytes.iter().zip(&last) {
                    last.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
                }
            }
        }
    }

    /// Computes the bytes of a block from `at` on by the definitions, to `last`, in rows of a block, if it is given.
    ///
    /// # Safety
    /// As for [`Pass::run_silu_bytes`], for a block of the vectors of `isa`.
    #[cold]
    #[inline(never)]
    unsafe fn block_again(&self, isa: Isa, sum: (i32, f32, f32), at: usize, last: Option<*mut u8>) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(pass: &Pass<'_>, sum: (i32, f32, f32), at: usize, last: Option<*mut u8>) {
            // SAFETY: forwarded.
            unsafe { pass.defined::<__m256>(sum, at, last) }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512(pass: &Pass<'_>, sum: (i32, f32, f32), at: usize, last: Option<*mut u8>) {
            // SAFETY: forwarded.
            unsafe { pass.defined::<__m512>(sum, at, last) }
        }
        // SAFETY: forwarded.
        unsafe {
            match isa {
                Isa::Avx512 => avx512(self, sum, at, last),
                _ => avx2(self, sum, at, last),
            }
        }
    }

    /// # Safety
    /// As for [`Pass::block_again`], inlined into what has the instruction set of the vectors.
    #[inline(always)]
    unsafe fn defined<V: Vector>(&self, (acc_bias, scale, bias): (i32, f32, f32), at: usize, last: Option<*mut u8>) {
        // SAFETY: forwarded.
        unsafe {
            let mut x = load::<V>(self.from.add(at));
            for x in &mut x {
                *x = x.integer_sum(V::splat_integer(acc_bias)).mul_add(V::splat(scale), V::splat(bias));
            }
            let y = silu_of_ratio(x, sigmoid_ratio(x));
            for (i, bytes) in self.bytes.iter().enumerate() {
                let to = last.map_or(bytes.to.wrapping_add(at), |last| last.wrapping_add(i * VECTORS * V::LANES));
                bytes.quantizer.quantize_to(y, to);
            }
        }
    }
}
