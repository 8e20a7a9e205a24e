//! Products at points with AVX-512: up to 96 tiles at once.
//!
//! Loops count: what a closure computes may be compiled without the instruction set, with its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{GROUP, LANES, POINTS, Unit};
use core::arch::x86_64::*;

/// Most vectors of eight tiles of a pass: their sums take 24 registers, or 20 and four halves.
const MOST: usize = 12;
/// Elements of the data that a pass takes from the first-level cache for every group.
const NEAR: usize = 6144;

/// Products of four outputs by some vectors of tiles, as [`products`].
type Products = unsafe fn(*const f32, *const f32, usize, usize, *mut f32, bool);

/// By vectors of eight tiles: as many vectors of sixteen as there are, and one of eight if one is left.
const PRODUCTS: [Products; MOST] = [
    products::<0, 1>,
    products::<1, 0>,
    products::<1, 1>,
    products::<2, 0>,
    products::<2, 1>,
    products::<3, 0>,
    products::<3, 1>,
    products::<4, 0>,
    products::<4, 1>,
    products::<5, 0>,
    products::<5, 1>,
    products::<6, 0>,
];

/// # Safety
/// As for [`Unit::multiply`]; the machine has AVX-512F.
#[target_feature(enable = "avx512f,avx2,fma")]
pub unsafe fn multiply(unit: &Unit<'_>) {
    let channels = unit.conv.input.channels;
    let pitch = unit.sizes.pitch;
    let vectors = pitch / LANES;
    let passes = vectors.div_ceil(MOST);
    for point in 0..POINTS {
        for pass in 0..passes {
            let (at, end) = (vectors * pass / passes, vectors * (pass + 1) / passes);
            let products = PRODUCTS[end - at - 1];
            let near = NEAR / ((end - at) * LANES);
            for first in (0..channels).step_by(near) {
                let rows = near.min(channels - first);
                // SAFETY: by the contract.
                unsafe {
                    let data = unit.data.add(point * unit.sizes.data_plane + first * pitch + at * LANES);
                    let mut sums = unit.sums.add(point * unit.sizes.sums_plane + at * LANES);
                    let mut weights = unit.weights.add(point * unit.weights_plane + first * GROUP);
                    for _ in unit.groups {
                        products(weights, data, rows, pitch, sums, first > 0);
                        weights = weights.add(GROUP * channels);
                        sums = sums.add(GROUP * pitch);
                    }
                }
            }
        }
    }
}

/// Four outputs by `V` vectors of sixteen tiles and `H` of eight: the sums of the products of `rows` rows of data.
///
/// # Safety
/// There are `rows` rows of those vectors every `pitch` elements at `data`, four weights for each, and four rows of sums;
/// the machine has AVX-512F.
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn products<const V: usize, const H: usize>(
    weights: *const f32,
    data: *const f32,
    rows: usize,
    pitch: usize,
    sums: *mut f32,
    add: bool,
) {
    // SAFETY: by the contract.
    unsafe {
        let mut s = [[_mm512_setzero_ps(); V]; GROUP];
        let mut half = [[_mm256_setzero_ps(); H]; GROUP];
        if add {
            for j in 0..GROUP {
                for v in 0..V {
                    s[j][v] = _mm512_loadu_ps(sums.add(j * pitch + v * 16));
                }
                for h in 0..H {
                    half[j][h] = _mm256_loadu_ps(sums.add(j * pitch + V * 16));
                }
            }
        }
        let (mut weights, mut data) = (weights, data);
        for _ in 0..rows {
            let mut x = [_mm512_setzero_ps(); V];
            for v in 0..V {
                x[v] = _mm512_loadu_ps(data.add(v * 16));
            }
            let mut rest = [_mm256_setzero_ps(); H];
            for h in 0..H {
                rest[h] = _mm256_loadu_ps(data.add(V * 16));
            }
            for j in 0..GROUP {
                let w = _mm512_set1_ps(*weights.add(j));
                for v in 0..V {
                    s[j][v] = _mm512_fmadd_ps(w, x[v], s[j][v]);
                }
                for h in 0..H {
                    half[j][h] = _mm256_fmadd_ps(_mm512_castps512_ps256(w), rest[h], half[j][h]);
                }
            }
            data = data.add(pitch);
            weights = weights.add(GROUP);
        }
        for j in 0..GROUP {
            for v in 0..V {
                _mm512_storeu_ps(sums.add(j * pitch + v * 16), s[j][v]);
            }
            for h in 0..H {
                _mm256_storeu_ps(sums.add(j * pitch + V * 16), half[j][h]);
            }
        }
    }
}
