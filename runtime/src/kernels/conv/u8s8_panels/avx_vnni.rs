//! Panels with dot products in 256 bits: one output after the other, from the records that AVX2 reads.
//!
//! Loops count: what iterators compute may have its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{BLOCKS, PASS, Pass, QUAD_BYTES, record_words};
use crate::simd::has;
use core::arch::x86_64::*;

/// Vectors of a pass.
const VECTORS: usize = PASS / 8;

/// # Safety
/// As for [`super::run_pass`], with segments and records of outputs; the machine must have AVX2 and dot products in 256
/// bits.
pub unsafe fn run(pass: &Pass<'_>) {
    // SAFETY: forwarded; what has the instruction set has either encoding.
    unsafe {
        if has!("avxvnni") {
            vex::run(pass);
        } else {
            evex::run(pass);
        }
    }
}

/// The kernel with dot products in one of their encodings.
macro_rules! kernel {
    ($encoding:ident, $features:literal, $dot:ident) => {
        mod $encoding {
            use super::*;

            /// # Safety
            /// As for [`super::run`]; the machine must have this encoding.
            #[target_feature(enable = $features)]
            pub unsafe fn run(pass: &Pass<'_>) {
                let mut record = pass.weights;
                // SAFETY: the unit has sums of a pass for every output, and a record for every block, of quads of the panel.
                unsafe {
                    for segments in pass.segments.chunks_exact(BLOCKS.len()) {
                        let row = pass.sums.add(usize::from(segments[0].mask) * pass.stride).cast::<__m256i>();
                        let mut sums = [_mm256_setzero_si256(); VECTORS];
                        if pass.add {
                            for t in 0..VECTORS {
                                sums[t] = _mm256_loadu_si256(row.add(t));
                            }
                        }
                        macro_rules! quad {
                            ($i:expr, $quad:expr) => {
                                let w = _mm256_set1_epi32(*record.add($i) as i32);
                                let quad: *const u8 = $quad;
                                for t in 0..VECTORS {
                                    let x = _mm256_load_si256(quad.add(t * 32).cast());
                                    sums[t] = $dot(sums[t], x, w);
                                }
                            };
                        }
                        for kind in 0..BLOCKS.len() {
                            let (block, run) = BLOCKS[kind];
                            for _ in 0..segments[kind].count {
                                let numbers = record.add(block);
                                if run {
                                    let first = pass.panel.add(*numbers as usize * QUAD_BYTES);
                                    for i in 0..block {
                                        quad!(i, first.add(i * QUAD_BYTES));
                                    }
                                } else {
                                    for i in 0..block {
                                        let number = usize::from(*numbers.cast::<u8>().add(i));
                                        quad!(i, pass.panel.add(number * QUAD_BYTES));
                                    }
                                }
                                record = record.add(record_words(block, run));
                            }
                        }
                        for t in 0..VECTORS {
                            _mm256_storeu_si256(row.add(t), sums[t]);
                        }
                    }
                }
            }
        }
    };
}
kernel!(vex, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
kernel!(evex, "avx2,avx512f,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
