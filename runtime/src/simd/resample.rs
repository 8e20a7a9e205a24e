//! Rows of RGB pictures: split into planes, scaled, blended, normalised.
//!
//! Every function computes the same numbers on every instruction set.

use super::Isa;
use alloc::vec::Vec;

/// One column of a scaled row: two neighbouring pixels and their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// First byte of the left pixel. Ascends, or stays, from tap to tap.
    pub first: usize,
    /// First byte of the right pixel: the one after the left, or any when its weight is 0.
    pub second: usize,
    /// Fixed point with 11 fractional bits, 0 to 2048.
    pub weights: [i16; 2],
}

/// Defines a safe function that runs a plain one, compiled for AVX2 where the machine has it.
macro_rules! vectorised {
    ($(#[$doc:meta])* $name:ident => $plain:ident ($($arg:ident: $ty:ty),*)) => {
        $(#[$doc])*
        pub fn $name(isa: Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            if isa >= Isa::Avx2 && super::has!("avx2") {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) {
                    $plain($($arg),*);
                }
                // SAFETY: the machine has AVX2.
                return unsafe { avx2($($arg),*) };
            }
            let _ = isa;
            $plain($($arg),*);
        }
    };
}

vectorised! {
    /// `(((upper * w0) >> 16) + ((lower * w1) >> 16) + 2) >> 2` of every column, as a level.
    blend_rows => blend_plain(upper: &[i16], lower: &[i16], weights: [i16; 2], out: &mut [u8])
}

vectorised! {
    /// Rounded means of two by two elements of one plane; the rows have twice as many as `out`.
    average_planes => average_plain(upper: &[u8], lower: &[u8], out: &mut [u8])
}

vectorised! {
    /// Levels divided by 255.
    normalise => normalise_plain(levels: &[u8], out: &mut [f32])
}

#[inline(always)]
fn blend_plain(upper: &[i16], lower: &[i16], weights: [i16; 2], out: &mut [u8]) {
    let [w0, w1] = weights.map(i32::from);
    for ((u, l), o) in upper.iter().zip(lower).zip(out) {
        let u = ((i32::from(*u) * w0) >> 16) as i16;
        let l = ((i32::from(*l) * w1) >> 16) as i16;
        *o = ((u + l + 2) >> 2).clamp(0, 255) as u8;
    }
}

#[inline(always)]
fn average_plain(upper: &[u8], lower: &[u8], out: &mut [u8]) {
    let ((upper, _), (lower, _)) = (upper.as_chunks::<2>(), lower.as_chunks::<2>());
    for ((u, l), o) in upper.iter().zip(lower).zip(out) {
        let sum = u16::from(u[0]) + u16::from(u[1]) + u16::from(l[0]) + u16::from(l[1]);
        *o = ((sum + 2) >> 2) as u8;
    }
}

#[inline(always)]
fn normalise_plain(levels: &[u8], out: &mut [f32]) {
    levels.iter().zip(out).for_each(|(level, o)| *o = f32::from(*level) / 255.0);
}

/// Interleaved RGB pixels to three rows of levels that follow each other in `out`, which holds as many bytes.
pub fn split_row(isa: Isa, source: &[u8], out: &mut [u8]) {
    assert_eq!(source.len(), out.len(), "three rows hold all pixels");
    let width = source.len() / 3;
    #[cfg(target_arch = "x86_64")]
    let done = if isa >= Isa::Avx2 && super::has!("avx2") {
        // SAFETY: the machine has AVX2, and `out` is as long as `source`.
        unsafe { x86::split_row(source, out) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let _ = isa;
    let (red, rest) = out.split_at_mut(width);
    let (green, blue) = rest.split_at_mut(width);
    let (pixels, _) = source[3 * done..].as_chunks::<3>();
    let planes = red[done..].iter_mut().zip(&mut green[done..]).zip(&mut blue[done..]);
    for (pixel, ((r, g), b)) in pixels.iter().zip(planes) {
        [*r, *g, *b] = *pixel;
    }
}

/// Rounded means of two by two pixels of interleaved rows, as three rows that follow each other in `out`, which holds
/// half as many bytes as a row; `split` is memory that is kept between calls.
pub fn halve_rows(isa: Isa, upper: &[u8], lower: &[u8], split: &mut [Vec<u8>; 2], out: &mut [u8]) {
    if isa >= Isa::Avx2 {
        for (row, planes) in [upper, lower].into_iter().zip(&mut *split) {
            planes.resize(row.len(), 0);
            split_row(isa, row, planes);
        }
        return average_planes(isa, &split[0], &split[1], out);
    }
    let width = out.len() / 3;
    let ((upper, _), (lower, _)) = (upper.as_chunks::<6>(), lower.as_chunks::<6>());
    for (channel, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        for ((u, l), o) in upper.iter().zip(lower).zip(out) {
            let sum = [u[channel], u[channel + 3], l[channel], l[channel + 3]].map(u16::from).iter().sum::<u16>();
            *o = ((sum + 2) >> 2) as u8;
        }
    }
}

/// The horizontal pass of one row: `(w0 * left + w1 * right) >> 4` of every tap and channel, as three rows of
/// `taps.len()` that follow each other in `out`.
///
/// # Panics
/// When `out` has another length or a tap lies outside `source`.
pub fn scale_row(isa: Isa, source: &[u8], taps: &[Tap], out: &mut [i16]) {
    assert_eq!(out.len(), 3 * taps.len(), "three rows of sums");
    #[cfg(target_arch = "x86_64")]
    let done = if isa >= Isa::Avx2 && super::has!("avx2") {
        // Taps whose eight bytes from the left pixel on lie inside the row; taps ascend.
        let inside = taps.partition_point(|tap| tap.first + 8 <= source.len());
        let whole = taps[..inside].iter().all(|tap| tap.first + 8 <= source.len());
        let blocks = if whole { inside / x86::TAPS } else { 0 };
        // SAFETY: the machine has AVX2; the taps lie inside the row, and `out` has three rows of all taps.
        unsafe { x86::scale_row(source, taps, blocks, out) }
        blocks * x86::TAPS
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let _ = isa;
    let (red, rest) = out.split_at_mut(taps.len());
    let (green, blue) = rest.split_at_mut(taps.len());
    let planes = red[done..].iter_mut().zip(&mut green[done..]).zip(&mut blue[done..]);
    for (tap, ((r, g), b)) in taps[done..].iter().zip(planes) {
        let (first, second) = (&source[tap.first..][..3], &source[tap.second..][..3]);
        let [w0, w1] = tap.weights.map(i32::from);
        let sum = |c: usize| ((i32::from(first[c]) * w0 + i32::from(second[c]) * w1) >> 4) as i16;
        (*r, *g, *b) = (sum(0), sum(1), sum(2));
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Tap;
    use core::arch::x86_64::*;

    /// Taps that are computed at a time.
    pub const TAPS: usize = 8;

    /// Splits whole blocks of 16 pixels and returns how many pixels those are.
    ///
    /// # Safety
    /// `out` is as long as `source`.
    #[target_feature(enable = "avx2")]
    pub unsafe fn split_row(source: &[u8], out: &mut [u8]) -> usize {
        const PIXELS: usize = 16;
        let width = source.len() / 3;
        let blocks = width / PIXELS;
        // From each 16 of 48 bytes, those of one channel in their place, and zeros.
        let masks: [[__m128i; 3]; 3] = core::array::from_fn(|channel| {
            core::array::from_fn(|part| {
                let place: [i8; 16] = core::array::from_fn(|pixel| {
                    let at = 3 * pixel + channel;
                    if at / 16 == part { (at % 16) as i8 } else { -1 }
                });
                // SAFETY: an array of 16 bytes.
                unsafe { _mm_loadu_si128(place.as_ptr().cast()) }
            })
        });
        for block in 0..blocks {
            // SAFETY: the block's 48 bytes lie in `source`, its 16 of every channel in `out`.
            unsafe {
                let from = source.as_ptr().add(block * PIXELS * 3).cast::<__m128i>();
                let parts: [__m128i; 3] = core::array::from_fn(|part| _mm_loadu_si128(from.add(part)));
                for (channel, masks) in masks.iter().enumerate() {
                    let [a, b, c] = core::array::from_fn(|part| _mm_shuffle_epi8(parts[part], masks[part]));
                    let to = out.as_mut_ptr().add(channel * width + block * PIXELS).cast();
                    _mm_storeu_si128(to, _mm_or_si128(_mm_or_si128(a, b), c));
                }
            }
        }
        blocks * PIXELS
    }

    /// # Safety
    /// The first `blocks * TAPS` taps have eight bytes from their left pixel on in `source`, and `out` has three rows
    /// of `taps.len()`.
    #[target_feature(enable = "avx2")]
    pub unsafe fn scale_row(source: &[u8], taps: &[Tap], blocks: usize, out: &mut [i16]) {
        const Z: i8 = -1;
        // Both pixels' levels of a channel side by side as words: r r, g g, b b.
        let words = _mm256_setr_epi8(
            0, Z, 3, Z, 1, Z, 4, Z, 2, Z, 5, Z, Z, Z, Z, Z, 0, Z, 3, Z, 1, Z, 4, Z, 2, Z, 5, Z, Z, Z, Z, Z,
        );
        // r g b 0 of two pixels to r r g g b b 0 0.
        let pairs = _mm256_setr_epi8(
            0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, Z, Z, Z, Z, 0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, Z, Z, Z, Z,
        );
        let width = taps.len();
        for (block, taps) in taps.as_chunks::<TAPS>().0[..blocks].iter().enumerate() {
            let sums = |low: &Tap, high: &Tap| {
                // SAFETY: by the contract.
                let pixels = |tap: &Tap| unsafe { _mm_loadl_epi64(source.as_ptr().add(tap.first).cast()) };
                let weights = |tap: &Tap| {
                    let [w0, w1] = tap.weights.map(|w| w as u16 as u32);
                    _mm_set1_epi32((w1 << 16 | w0) as i32)
                };
                let levels = _mm256_shuffle_epi8(_mm256_set_m128i(pixels(high), pixels(low)), words);
                let weights = _mm256_set_m128i(weights(high), weights(low));
                _mm256_srai_epi32::<4>(_mm256_madd_epi16(levels, weights))
            };
            let packed = |at: usize| {
                let (a, b) = (sums(&taps[at], &taps[at + 4]), sums(&taps[at + 1], &taps[at + 5]));
                _mm256_shuffle_epi8(_mm256_packs_epi32(a, b), pairs)
            };
            let (even, odd) = (packed(0), packed(2));
            // Each half has four taps: r r r r g g g g, and b b b b.
            let red_green = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpacklo_epi32(even, odd));
            let blue = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpackhi_epi32(even, odd));
            // SAFETY: eight elements of every row, by the contract.
            unsafe {
                let to = out.as_mut_ptr().add(block * TAPS);
                _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(red_green));
                _mm_storeu_si128(to.add(width).cast(), _mm256_extracti128_si256::<1>(red_green));
                _mm_storeu_si128(to.add(2 * width).cast(), _mm256_castsi256_si128(blue));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(count: usize, seed: u32) -> Vec<u8> {
        let level = |i: usize| ((i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8;
        (0..count).map(|i| if i % 13 == 0 { 255 } else { level(i) }).collect()
    }

    #[test]
    fn every_instruction_set_scales_to_the_same_sums() {
        for (source_width, width) in [(1, 5), (2, 9), (7, 64), (64, 33), (97, 40), (200, 8), (33, 100)] {
            let source = levels(source_width * 3, 7);
            let taps: Vec<Tap> = (0..width)
                .map(|d| {
                    let left = d * (source_width - 1) / width;
                    let w = (d * 997 % 2049) as i16;
                    let second = (left + 1).min(source_width - 1);
                    let weights = if second == left { [2048, 0] } else { [2048 - w, w] };
                    Tap { first: 3 * left, second: 3 * second, weights }
                })
                .collect();
            let [mut plain, mut best] = [vec![0; 3 * width], vec![0; 3 * width]];
            scale_row(Isa::Portable, &source, &taps, &mut plain);
            scale_row(Isa::Avx512, &source, &taps, &mut best);
            assert_eq!(plain, best, "{source_width} to {width}");
        }
    }

    #[test]
    fn every_instruction_set_splits_blends_averages_and_normalises_alike() {
        for width in [1, 15, 16, 17, 64, 101] {
            let source = levels(width * 3, 3);
            let [mut plain, mut best] = [vec![0; 3 * width], vec![0; 3 * width]];
            split_row(Isa::Portable, &source, &mut plain);
            split_row(Isa::Avx512, &source, &mut best);
            assert_eq!(plain, best);
            assert_eq!((plain[width - 1], plain[3 * width - 1]), (source[3 * width - 3], source[3 * width - 1]));
            let sums = |seed| levels(width, seed).iter().map(|v| i16::from(*v) * 128).collect::<Vec<i16>>();
            let [mut plain, mut best] = [vec![0; width], vec![0; width]];
            blend_rows(Isa::Portable, &sums(1), &sums(2), [1500, 548], &mut plain);
            blend_rows(Isa::Avx512, &sums(1), &sums(2), [1500, 548], &mut best);
            assert_eq!(plain, best);
            let [mut halved, mut best_halved] = [vec![0; 3 * width], vec![0; 3 * width]];
            let (upper, lower) = (levels(6 * width, 4), levels(6 * width, 5));
            halve_rows(Isa::Portable, &upper, &lower, &mut Default::default(), &mut halved);
            halve_rows(Isa::Avx512, &upper, &lower, &mut Default::default(), &mut best_halved);
            assert_eq!(halved, best_halved);
            let [mut plain, mut best] = [vec![0.0; width], vec![0.0; width]];
            normalise(Isa::Portable, &levels(width, 6), &mut plain);
            normalise(Isa::Avx512, &levels(width, 6), &mut best);
            assert_eq!(plain, best);
        }
    }
}
