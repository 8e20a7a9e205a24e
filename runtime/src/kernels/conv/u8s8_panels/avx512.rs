//! Panels with AVX-512 VNNI.

use super::{BLOCKS, PASS, Pass, QUAD_BYTES, record_words};
use std::arch::x86_64::*;

/// Vectors of a pass.
const VECTORS: usize = PASS / 16;

/// # Safety
/// As for [`super::run_pass`]; the machine must have AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn run(pass: &Pass<'_>) {
    let mut weights = pass.weights;
    for (o, segments) in pass.segments.chunks_exact(BLOCKS.len()).enumerate() {
        // SAFETY: the unit has sums of a pass for every output, and a record for every block, of quads of the panel.
        unsafe {
            let to = pass.sums.add(o * pass.stride);
            let mut sums = [_mm512_setzero_si512(); VECTORS];
            if pass.add {
                for t in 0..VECTORS {
                    sums[t] = _mm512_loadu_si512(to.add(t * 16).cast());
                }
            }
            for _ in 0..segments[0].count {
                weights = block::<{ BLOCKS[0] }>(&mut sums, weights, pass.panel);
            }
            for _ in 0..segments[1].count {
                weights = block::<{ BLOCKS[1] }>(&mut sums, weights, pass.panel);
            }
            for _ in 0..segments[2].count {
                weights = block::<{ BLOCKS[2] }>(&mut sums, weights, pass.panel);
            }
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
unsafe fn block<const N: usize>(sums: &mut [__m512i; VECTORS], weights: *const u32, panel: *const u8) -> *const u32 {
    // SAFETY: by the contract.
    unsafe {
        let numbers = weights.add(N).cast::<u8>();
        for i in 0..N {
            let w = _mm512_set1_epi32(*weights.add(i) as i32);
            let quad = panel.add(usize::from(*numbers.add(i)) * QUAD_BYTES);
            for t in 0..VECTORS {
                sums[t] = _mm512_dpbusd_epi32(sums[t], _mm512_load_si512(quad.add(t * 64).cast()), w);
            }
        }
        weights.add(record_words(N))
    }
}
