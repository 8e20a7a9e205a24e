//! Panels with AVX-512 VNNI: pairs of outputs.
//!
//! Loops count: what iterators compute may have its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::dots::{PAIR, lengths};
use super::{PASS, Pass, QUAD_BYTES};
use crate::kernels::conv::table::STEPS_OF_TWO;
use crate::kernels::conv::wide::broadcast4;
use core::arch::x86_64::*;

/// Vectors of a pass.
const VECTORS: usize = PASS / 16;

/// # Safety
/// As for [`super::run_pass`], with segments and records of pairs; the machine must have AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn run(pass: &Pass<'_>) {
    let mut weight = pass.weights;
    for segments in pass.segments.chunks_exact(STEPS_OF_TWO.len()) {
        // SAFETY: the unit has sums of a pass for both outputs, and a record of so many steps, of quads of the panel.
        unsafe {
            let row = |place: u8| pass.sums.wrapping_add(usize::from(place) * pass.stride);
            let rows = [row(segments[0].mask), row(segments[1].mask)];
            let mut sums = [[_mm512_setzero_si512(); VECTORS]; PAIR];
            if pass.add {
                for j in 0..PAIR {
                    for t in 0..VECTORS {
                        sums[j][t] = _mm512_loadu_si512(rows[j].add(t * 16).cast());
                    }
                }
            }
            let (weights, quads) = lengths(segments);
            let mut number = weight.add(weights).cast::<u8>();
            let next = weight.add(weights + quads.div_ceil(4));
            // Two quads of either output.
            macro_rules! two_of_each {
                () => {
                    let four = _mm512_castps_si512(broadcast4(weight.cast()));
                    let numbers = number.cast::<u32>().read_unaligned() as usize;
                    two_of_each!(four numbers: [0 0] [1 1] [2 0] [3 1]);
                    weight = weight.add(4);
                    number = number.add(4);
                };
                ($four:ident $numbers:ident: $([$i:literal $j:literal])*) => {$(
                    let w = _mm512_shuffle_epi32::<{ $i * 0x55 }>($four);
                    let quad = pass.panel.add(($numbers >> (8 * $i) & 0xff) * QUAD_BYTES);
                    for t in 0..VECTORS {
                        let x = _mm512_load_si512(quad.add(t * 64).cast());
                        sums[$j][t] = _mm512_dpbusd_epi32(sums[$j][t], x, w);
                    }
                )*};
            }
            // A quad of these outputs.
            macro_rules! quad {
                ($($j:literal)*) => {
                    let quad = pass.panel.add(usize::from(*number) * QUAD_BYTES);
                    number = number.add(1);
                    let mut x = [_mm512_setzero_si512(); VECTORS];
                    for t in 0..VECTORS {
                        x[t] = _mm512_load_si512(quad.add(t * 64).cast());
                    }
                    $(
                        let w = _mm512_set1_epi32(*weight as i32);
                        weight = weight.add(1);
                        for t in 0..VECTORS {
                            sums[$j][t] = _mm512_dpbusd_epi32(sums[$j][t], x[t], w);
                        }
                    )*
                };
            }
            for _ in 0..segments[0].count {
                two_of_each!();
                quad!(0 1);
            }
            for _ in 0..segments[1].count {
                two_of_each!();
            }
            for _ in 0..segments[2].count {
                quad!(0);
            }
            for _ in 0..segments[3].count {
                quad!(1);
            }
            for _ in 0..segments[4].count {
                quad!(0 1);
                quad!(0 1);
            }
            for _ in 0..segments[5].count {
                quad!(0 1);
            }
            // Of an output without another only the first sums are results.
            for j in [1, 0] {
                for t in 0..VECTORS {
                    _mm512_storeu_si512(rows[j].add(t * 16).cast(), sums[j][t]);
                }
            }
            weight = next;
        }
    }
}
