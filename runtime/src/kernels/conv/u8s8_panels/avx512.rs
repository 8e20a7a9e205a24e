//! Panels with AVX-512 VNNI.

use super::{BLOCKS, PASS, Pass, QUAD_BYTES, record_words};
use crate::kernels::conv::wide::broadcast4;
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
        for four in (0..N).step_by(4) {
            let spread = _mm512_castps_si512(broadcast4(weights.add(four).cast()));
            let listed = if RUN { 0 } else { *numbers.add(four / 4) as usize };
            macro_rules! quad {
                ($i:literal) => {
                    let w = _mm512_shuffle_epi32::<{ $i * 0x55 }>(spread);
                    let number = if RUN { *numbers as usize + four + $i } else { listed >> (8 * $i) & 0xff };
                    let quad = panel.add(number * QUAD_BYTES);
                    for (t, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_dpbusd_epi32(*sum, _mm512_load_si512(quad.add(t * 64).cast()), w);
                    }
                };
            }
            quad!(0);
            quad!(1);
            quad!(2);
            quad!(3);
        }
        weights.add(record_words(N, RUN))
    }
}
