//! Runs of results for maps with two column phases.

use crate::kernels::conv::epilogue::run::Run;
use crate::kernels::map::Map;
use crate::simd::prefetch_to_write;
use core::arch::x86_64::*;

/// Puts the quarters of a vector in order after a shuffle, which works in halves.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn in_order(v: __m256) -> __m256 {
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(v)))
}

/// Writes a run of numbers to a map with two column phases, and asks for where those of the next channel go.
///
/// # Safety
/// As for [`Run::store_floats`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_halves(run: &Run, map: &Map, channel: usize, arena: *mut u8, values: &[f32]) {
    const PAIRS: usize = 8;
    for (y, x, part) in run.rows() {
        let values = &values[part];
        // SAFETY: by the contract; the pixels of a row that have the phase of the first lie side by side, and so do the
        // others.
        unsafe {
            let base = map.ptr::<f32>(arena);
            let first = base.add(map.index(channel, y, x));
            let second = base.add(map.index(channel, y, x + 1));
            let next = map.split[0] * map.split[1] * map.plane;
            let (whole, rest) = values.as_chunks::<{ 2 * PAIRS }>();
            for (i, values) in whole.iter().enumerate() {
                let (a, b) = (_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(PAIRS)));
                let (even, odd) = (_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b));
                for (to, values) in [(first, even), (second, odd)] {
                    let to = to.add(i * PAIRS);
                    _mm256_storeu_ps(to, in_order(values));
                    prefetch_to_write(to.wrapping_add(next).cast());
                }
            }
            let mut at = whole.len() * PAIRS;
            let (half, rest) = rest.as_chunks::<PAIRS>();
            for values in half {
                let v = _mm256_loadu_ps(values.as_ptr());
                _mm_storeu_ps(first.add(at), _mm256_castps256_ps128(in_order(_mm256_shuffle_ps::<0x88>(v, v))));
                _mm_storeu_ps(second.add(at), _mm256_castps256_ps128(in_order(_mm256_shuffle_ps::<0xdd>(v, v))));
                at += PAIRS / 2;
            }
            for (i, &value) in rest.iter().enumerate() {
                [first, second][i % 2].add(at + i / 2).write(value);
            }
        }
    }
}

/// Writes a run of bytes to a map with two column phases.
///
/// # Safety
/// As for [`Run::store_bytes`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn store_byte_halves(run: &Run, map: &Map, channel: usize, arena: *mut u8, bytes: &[u8]) {
    // In either half of a vector: bytes of even positions, then those of odd ones.
    let parted = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    let parted_twice = _mm256_broadcastsi128_si256(parted);
    for (y, x, part) in run.rows() {
        let (from, len) = (bytes[part.clone()].as_ptr(), part.len());
        // SAFETY: by the contract; the pixels of a row that have the phase of the first lie side by side, and so do the
        // others. Blocks start at even positions and end at the last byte at most.
        unsafe {
            let base = map.ptr::<u8>(arena);
            let first = base.add(map.index(channel, y, x));
            let second = base.add(map.index(channel, y, x + 1));
            let next = map.split[0] * map.split[1] * map.plane;
            let block_of_32 = |at: usize| {
                let v = _mm256_shuffle_epi8(_mm256_loadu_si256(from.add(at).cast()), parted_twice);
                let v = _mm256_permute4x64_epi64::<0b11_01_10_00>(v);
                _mm_storeu_si128(first.add(at / 2).cast(), _mm256_castsi256_si128(v));
                _mm_storeu_si128(second.add(at / 2).cast(), _mm256_extracti128_si256::<1>(v));
                prefetch_to_write(first.wrapping_add(at / 2 + next));
                prefetch_to_write(second.wrapping_add(at / 2 + next));
            };
            let block_of_16 = |at: usize| {
                let v = _mm_shuffle_epi8(_mm_loadu_si128(from.add(at).cast()), parted);
                _mm_storel_epi64(first.add(at / 2).cast(), v);
                _mm_storel_epi64(second.add(at / 2).cast(), _mm_unpackhi_epi64(v, v));
            };
            // The last block may overlap the one before.
            let mut done = 0;
            if len >= 32 {
                done = len & !1;
                (0..done - 32).step_by(32).for_each(block_of_32);
                block_of_32(done - 32);
            } else if len >= 16 {
                done = len & !1;
                block_of_16(0);
                block_of_16(done - 16);
            }
            for i in done..len {
                [first, second][i % 2].add(i / 2).write(*from.add(i));
            }
        }
    }
}
