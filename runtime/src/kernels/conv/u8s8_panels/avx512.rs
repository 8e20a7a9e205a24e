//! Panels with AVX-512 VNNI.

use super::{BLOCKS, PASS, Pass, QUAD_BYTES, record_words};
use core::arch::x86_64::*;

/// Vectors of a pass.
const VECTORS: usize = PASS / 16;

/// # Safety
/// As for [`super::run_pass`]; the machine must have AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn run(pass: &Pass<'_>) {
    let mut weights = pass.weights;
    for segments in pass.segments.chunks_exact(BLOCKS.len()) {
        // SAFETY: the unit has sums of a pass for every output, and a record for every block, of quads of the panel.
        unsafe {
            let to = pass.sums.add(usize::from(segments[0].mask) * pass.stride);
            let mut sums = [_mm512_setzero_si512(); VECTORS];
            if pass.add {
                for (t, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_loadu_si512(to.add(t * 16).cast());
                }
            }
            macro_rules! blocks {
                ($($kind:literal)*) => {$(
                    for _ in 0..segments[$kind].count {
                        weights = block::<{ BLOCKS[$kind].0 }, { BLOCKS[$kind].1 }>(&mut sums, weights, pass.panel);
                    }
                )*};
            }
            const _: () = assert!(BLOCKS.len() == 7);
            blocks!(0 1 2 3 4 5 6);
            for (t, &sum) in sums.iter().enumerate() {
                _mm512_storeu_si512(to.add(t * 16).cast(), sum);
            }
        }
    }
}

/// Adds the products of a block, and returns where the next record is.
///
/// # Safety
/// As for [`run`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn block<const N: usize, const RUN: bool>(
    sums: &mut [__m512i; VECTORS],
    weights: *const u32,
    panel: *const u8,
) -> *const u32 {
    // SAFETY: by the contract.
    unsafe {
        let numbers = weights.add(N);
        for i in 0..N {
            let w = _mm512_set1_epi32(*weights.add(i) as i32);
            let number = if RUN { *numbers as usize + i } else { usize::from(*numbers.cast::<u8>().add(i)) };
            let quad = panel.add(number * QUAD_BYTES);
            for (t, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_load_si512(quad.add(t * 64).cast()), w);
            }
        }
        weights.add(record_words(N, RUN))
    }
}
