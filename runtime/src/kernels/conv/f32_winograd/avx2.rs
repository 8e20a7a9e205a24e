//! Eight tiles at a time with AVX2.
//!
//! Loops count: what a closure computes may be compiled without the instruction set, with its sums in memory.
#![allow(clippy::needless_range_loop)]

use super::{CHANNELS, CUT, GROUP, LANES, POINTS, SIDE, TILE, Unit};
use crate::kernels::conv::f32_tile::add_rows;
use core::arch::x86_64::*;

/// `1 / sqrt(2)` and `sqrt(2)`, the finite points.
const A: f32 = core::f32::consts::FRAC_1_SQRT_2;
const B: f32 = core::f32::consts::SQRT_2;

/// [`DATA`](super::DATA) times six vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn to_points(d: [__m256; SIDE]) -> [__m256; SIDE] {
    let c = |x: f32| _mm256_set1_ps(x);
    let (even, odd) = (_mm256_fnmadd_ps(c(2.0), d[2], d[4]), _mm256_fnmadd_ps(c(2.0), d[1], d[3]));
    let (even_b, odd_b) = (_mm256_fnmadd_ps(c(0.5), d[2], d[4]), _mm256_fnmadd_ps(c(0.5), d[1], d[3]));
    [
        _mm256_fnmadd_ps(c(2.5), d[2], _mm256_add_ps(d[0], d[4])),
        _mm256_fmadd_ps(c(A), odd, even),
        _mm256_fnmadd_ps(c(A), odd, even),
        _mm256_fmadd_ps(c(B), odd_b, even_b),
        _mm256_fnmadd_ps(c(B), odd_b, even_b),
        _mm256_fnmadd_ps(c(2.5), d[3], _mm256_add_ps(d[1], d[5])),
    ]
}

/// [`RESULTS`](super::RESULTS) times six vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn to_results(m: [__m256; SIDE]) -> [__m256; TILE] {
    let c = |x: f32| _mm256_set1_ps(x);
    let (sum_a, difference_a) = (_mm256_add_ps(m[1], m[2]), _mm256_sub_ps(m[1], m[2]));
    let (sum_b, difference_b) = (_mm256_add_ps(m[3], m[4]), _mm256_sub_ps(m[3], m[4]));
    [
        _mm256_add_ps(_mm256_add_ps(m[0], sum_a), sum_b),
        _mm256_fmadd_ps(c(A), difference_a, _mm256_mul_ps(c(B), difference_b)),
        _mm256_fmadd_ps(c(0.5), sum_a, _mm256_mul_ps(c(2.0), sum_b)),
        _mm256_fmadd_ps(c(A / 2.0), difference_a, _mm256_fmadd_ps(c(2.0 * B), difference_b, m[5])),
    ]
}

/// Transposes the 4x4 blocks in both halves of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256; 4]) -> [__m256; 4] {
    let [a, b, c, d] = rows;
    let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
    let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
    [
        _mm256_shuffle_ps::<0x44>(ab, cd),
        _mm256_shuffle_ps::<0xee>(ab, cd),
        _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
        _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
    ]
}

/// # Safety
/// As for [`Unit::transform`]; the machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn transform(unit: &Unit<'_>) {
    let reach = unit.conv.out_width + SIDE - TILE;
    let columns = unit.sizes.columns;
    // Columns behind the last window are those of other rows: they stay zero.
    let rest = _mm256_set1_epi32((reach % LANES) as i32);
    let mask = _mm256_cmpgt_epi32(rest, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for channel in 0..unit.conv.input.channels {
        for y in 0..unit.tile_rows {
            // SAFETY: by the contract: rows have `reach` columns; vectors of tiles end within the next row of tiles or the
            // room behind the last one.
            unsafe {
                let mut rows = [unit.zeros; SIDE];
                for i in 0..SIDE {
                    rows[i] = unit.row(channel, y * TILE + i);
                }
                let mut d = [_mm256_setzero_ps(); SIDE];
                for at in (0..reach / LANES).map(|v| v * LANES) {
                    for i in 0..SIDE {
                        d[i] = _mm256_loadu_ps(rows[i].add(at));
                    }
                    let points = to_points(d);
                    for i in 0..SIDE {
                        _mm256_storeu_ps(unit.half.add(i * columns + at), points[i]);
                    }
                }
                if !reach.is_multiple_of(LANES) {
                    let at = reach / LANES * LANES;
                    for i in 0..SIDE {
                        d[i] = _mm256_maskload_ps(rows[i].add(at), mask);
                    }
                    let points = to_points(d);
                    for i in 0..SIDE {
                        _mm256_storeu_ps(unit.half.add(i * columns + at), points[i]);
                    }
                }
                let mut to = unit.data.add(channel * unit.sizes.pitch + y * unit.across);
                for i in 0..SIDE {
                    let from = unit.half.add(i * columns);
                    for at in (0..unit.across).step_by(LANES) {
                        let from = from.add(at * TILE);
                        let mut near = [_mm256_setzero_ps(); TILE];
                        let mut far = [_mm256_setzero_ps(); TILE];
                        for t in 0..TILE {
                            near[t] = _mm256_loadu2_m128(from.add((t + 4) * TILE), from.add(t * TILE));
                            far[t] = _mm256_loadu2_m128(from.add((t + 5) * TILE), from.add((t + 1) * TILE));
                        }
                        let [d0, d1, d2, d3] = transpose(near);
                        let [d4, d5, _, _] = transpose(far);
                        let points = to_points([d0, d1, d2, d3, d4, d5]);
                        for k in 0..SIDE {
                            _mm256_storeu_ps(to.add(k * unit.sizes.data_plane + at), points[k]);
                        }
                    }
                    to = to.add(SIDE * unit.sizes.data_plane);
                }
            }
        }
    }
}

/// # Safety
/// As for [`Unit::multiply`]; the machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn multiply(unit: &Unit<'_>) {
    let channels = unit.conv.input.channels;
    let pitch = unit.sizes.pitch;
    for point in 0..POINTS {
        let mut at = 0;
        while at < pitch {
            // Vectors of tiles: threes, and of four that are left, two twos.
            let vectors = match (pitch - at) / LANES {
                1 => 1,
                2 | 4 => 2,
                _ => 3,
            };
            for first in (0..channels).step_by(CHANNELS) {
                let rows = CHANNELS.min(channels - first);
                // SAFETY: by the contract.
                unsafe {
                    let data = unit.data.add(point * unit.sizes.data_plane + first * pitch + at);
                    let mut sums = unit.sums.add(point * unit.sizes.sums_plane + at);
                    let mut weights = unit.weights.add(point * unit.weights_plane + first * GROUP);
                    for _ in unit.groups {
                        match vectors {
                            1 => products::<1>(weights, data, rows, pitch, sums, first > 0),
                            2 => products::<2>(weights, data, rows, pitch, sums, first > 0),
                            _ => products::<3>(weights, data, rows, pitch, sums, first > 0),
                        }
                        weights = weights.add(GROUP * channels);
                        sums = sums.add(GROUP * pitch);
                    }
                }
            }
            at += vectors * LANES;
        }
    }
}

/// Four outputs by `V` vectors: the sums of the products of `rows` rows of data.
///
/// # Safety
/// There are `rows` rows of `V` vectors every `pitch` elements at `data`, four weights for each, and four rows of sums;
/// the machine has AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn products<const V: usize>(
    weights: *const f32,
    data: *const f32,
    rows: usize,
    pitch: usize,
    sums: *mut f32,
    add: bool,
) {
    // SAFETY: by the contract.
    unsafe {
        let mut s = [[_mm256_setzero_ps(); 3]; GROUP];
        if add {
            for j in 0..GROUP {
                for v in 0..V {
                    s[j][v] = _mm256_loadu_ps(sums.add(j * pitch + v * LANES));
                }
            }
        }
        if V == 3 {
            add_rows(&mut s, weights, data, rows, pitch);
        } else {
            let (mut weights, mut data) = (weights, data);
            for _ in 0..rows {
                let mut x = [_mm256_setzero_ps(); V];
                for v in 0..V {
                    x[v] = _mm256_loadu_ps(data.add(v * LANES));
                }
                for j in 0..GROUP {
                    let w = _mm256_broadcast_ss(&*weights.add(j));
                    for v in 0..V {
                        s[j][v] = _mm256_fmadd_ps(w, x[v], s[j][v]);
                    }
                }
                data = data.add(pitch);
                weights = weights.add(GROUP);
            }
        }
        for j in 0..GROUP {
            for v in 0..V {
                _mm256_storeu_ps(sums.add(j * pitch + v * LANES), s[j][v]);
            }
        }
    }
}

/// # Safety
/// As for [`Unit::results`]; the machine has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn results(unit: &Unit<'_>, group: usize) {
    let (plane, row) = (unit.sizes.sums_plane, unit.conv.input.row);
    for j in 0..unit.groups[group].outputs.len() {
        for first in (0..unit.sizes.tiles).step_by(LANES) {
            // SAFETY: by the contract.
            unsafe {
                let from = unit.sums.add((group * GROUP + j) * unit.sizes.pitch + first);
                let to = unit.accumulators.add(j * unit.conv.accumulator_stride());
                let mut half = [[_mm256_setzero_ps(); SIDE]; TILE];
                for x in 0..SIDE {
                    let mut m = [_mm256_setzero_ps(); SIDE];
                    for y in 0..SIDE {
                        m[y] = _mm256_loadu_ps(from.add((y * SIDE + x) * plane));
                    }
                    let y = to_results(m);
                    for k in 0..TILE {
                        half[k][x] = y[k];
                    }
                }
                let count = LANES.min(unit.sizes.tiles - first);
                let places = core::slice::from_raw_parts(unit.places.add(first), count);
                let whole = count == LANES && places.iter().fold(0, |all, place| all | place) & CUT == 0;
                for k in 0..TILE {
                    let tiles = transpose(to_results(half[k]));
                    if whole {
                        let to = to.add(k * row);
                        for t in 0..TILE {
                            _mm_storeu_ps(to.add(places[t] as usize), _mm256_castps256_ps128(tiles[t]));
                            _mm_storeu_ps(to.add(places[t + TILE] as usize), _mm256_extractf128_ps::<1>(tiles[t]));
                        }
                    } else {
                        for (t, &place) in places.iter().enumerate() {
                            let tile = tiles[t % TILE];
                            let pixels =
                                if t < TILE { _mm256_castps256_ps128(tile) } else { _mm256_extractf128_ps::<1>(tile) };
                            let mut row = [0.0; TILE];
                            _mm_storeu_ps(row.as_mut_ptr(), pixels);
                            unit.write_cut(j, k, place, row);
                        }
                    }
                }
            }
        }
    }
}
