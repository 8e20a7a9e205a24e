//! Passes whose results are bytes of SiLU.

use super::pass::{BYTES, Bytes, Pass, VECTORS, load};
use crate::simd::math::silu_bytes::{NearQuantizer, Ratio, Ratios};
use crate::simd::math::vector::Vector;
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
        (acc_bias, scale, bias): (i32, f32, f32),
        len: usize,
    ) {
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
                    self.block_again(isa, at, LANES, if whole { None } else { Some(last.as_mut_ptr().cast()) });
                }
            }
            if rest > 0 {
                for (Bytes { to, .. }, last) in self.bytes.iter().zip(&last) {
                    last.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
                }
            }
        }
    }

    /// Computes the bytes of `lanes` elements from `at` on, to `last`, in rows of as many, if it is given.
    ///
    /// # Safety
    /// As for [`Pass::run`].
    #[cold]
    #[inline(never)]
    unsafe fn block_again(&self, isa: Isa, at: usize, lanes: usize, last: Option<*mut u8>) {
        let mut rows = [Bytes::NOWHERE; BYTES];
        for (i, (row, bytes)) in rows.iter_mut().zip(self.bytes).enumerate() {
            let to = last.map_or(bytes.to.wrapping_add(at), |last| last.wrapping_add(i * lanes));
            *row = Bytes { to, ..*bytes };
        }
        // SAFETY: forwarded.
        unsafe { Pass { from: self.from.add(at), bytes: &rows[..self.bytes.len()], ..*self }.run(isa, lanes) };
    }
}
