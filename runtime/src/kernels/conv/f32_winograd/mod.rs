//! `f32` convolution of 3x3 windows by Winograd's minimal filtering, F(4x4, 3x3).
//!
//! The output is cut into tiles of 4x4 pixels, whose windows reach 6x6 pixels of the input. Both the input of a tile and
//! the 3x3 weights of a (channel, output) are taken to 36 *points*, where the convolution is one product per channel
//! instead of nine per pixel: 36 products for 16 pixels, a quarter of 144. Per point that is a dense matrix product of
//! weights `[output, channel]` and data `[channel, tile]`.
//!
//! With the five finite points 0, ±1/√2, ±√2 and one at infinity, per axis,
//!
//! ```text
//! results = A' (sum over channels of (G g G') * (B' d B)) A
//! ```
//!
//! where the transformed weights `G g G'` are computed by the compiler. These points, less usual than 0, ±1, ±2, keep the
//! coefficients small: rounding errors are about ten times those of the direct sum, 2.5e-6 of the largest result with 256
//! channels, a quarter of what other orders of summation are allowed.
//!
//! A unit transforms the input of some rows of tiles, multiplies at all points, takes the sums back to pixels, and hands
//! them to the epilogue, four outputs at a time. With AVX-512 the products take vectors of
//! sixteen tiles, and the transforms are those of AVX2.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::table::Group;
use super::{Conv, MAX_GROUP, epilogue};
use crate::simd::Isa;
use core::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use core::ops::Range;

/// Rows and columns of the pixels of a tile.
pub const TILE: usize = 4;
/// Rows and columns of a window.
pub const WINDOW: usize = 3;
/// Rows and columns of the input of a tile, and of its points.
pub const SIDE: usize = TILE + WINDOW - 1;
/// Points of a tile.
pub const POINTS: usize = SIDE * SIDE;
/// Outputs of a group; the weights of the last group are filled up with zeros.
pub const GROUP: usize = 4;
/// Tiles that are transformed at once; those of a unit are filled up to whole vectors.
pub const LANES: usize = 8;
/// Channels of which the products are added up in registers: their data stay in the first-level cache.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
const CHANNELS: usize = 256;

/// `B'`, from six pixels to six points.
pub const DATA: [[f64; SIDE]; SIDE] = [
    [1.0, 0.0, -2.5, 0.0, 1.0, 0.0],
    [0.0, -SQRT_2, -2.0, FRAC_1_SQRT_2, 1.0, 0.0],
    [0.0, SQRT_2, -2.0, -FRAC_1_SQRT_2, 1.0, 0.0],
    [0.0, -FRAC_1_SQRT_2, -0.5, SQRT_2, 1.0, 0.0],
    [0.0, FRAC_1_SQRT_2, -0.5, -SQRT_2, 1.0, 0.0],
    [0.0, 1.0, 0.0, -2.5, 0.0, 1.0],
];

/// `G`, from three weights to six points.
pub const WEIGHTS: [[f64; WINDOW]; SIDE] = [
    [1.0, 0.0, 0.0],
    [-2.0 / 3.0, -SQRT_2 / 3.0, -1.0 / 3.0],
    [-2.0 / 3.0, SQRT_2 / 3.0, -1.0 / 3.0],
    [1.0 / 6.0, SQRT_2 / 6.0, 1.0 / 3.0],
    [1.0 / 6.0, -SQRT_2 / 6.0, 1.0 / 3.0],
    [0.0, 0.0, 1.0],
];

/// `A'`, from six points to four results.
pub const RESULTS: [[f64; SIDE]; TILE] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, FRAC_1_SQRT_2, -FRAC_1_SQRT_2, SQRT_2, -SQRT_2, 0.0],
    [0.0, 0.5, 0.5, 2.0, 2.0, 0.0],
    [0.0, FRAC_1_SQRT_2 / 2.0, -FRAC_1_SQRT_2 / 2.0, 2.0 * SQRT_2, -2.0 * SQRT_2, 1.0],
];

/// How a convolution is computed by points.
///
/// [`Conv::table`] has groups of [`GROUP`] outputs without segments, and as weights, by point, group, channel and output,
/// those of `G g G'`. [`Blocking::outputs`](super::Blocking::outputs) are the outputs of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Winograd {
    /// Rows of tiles of a unit.
    pub tile_rows: usize,
    /// Rows and columns by which the first window starts before the first pixel.
    pub pad: [usize; 2],
}

/// What a unit computes, and the parts of its scratch.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Unit<'a> {
    conv: &'a Conv,
    groups: &'a [Group],
    /// Pixel (0, 0) of the first channel.
    input: *const f32,
    /// Input row of the first window, and the end of those that there are.
    rows: Range<isize>,
    /// Columns by which the first window starts before the first pixel.
    left: usize,
    /// Rows of tiles, and tiles of a row.
    tile_rows: usize,
    across: usize,
    sizes: Sizes,
    /// Weights of the first group at the first point, and elements to the next.
    weights: *const f32,
    weights_plane: usize,
    /// Data by point, channel, tile; sums by point, output, tile.
    data: *mut f32,
    sums: *mut f32,
    /// The six rows of a row of tiles after the first half of their transform, and a row of zeros.
    half: *mut f32,
    zeros: *const f32,
    /// For every tile, where its first pixel is among the accumulators; [`CUT`] in the last column if it is not whole.
    places: *mut u32,
    accumulators: *mut f32,
}

/// Marks a tile of which only some columns are pixels.
const CUT: u32 = 1 << 31;

/// Elements of the parts of a unit's scratch.
#[derive(Clone, Copy)]
struct Sizes {
    /// Tiles, and the same in whole vectors.
    tiles: usize,
    pitch: usize,
    /// Between points of the data, and of the sums.
    data_plane: usize,
    sums_plane: usize,
    /// Of a half transformed row.
    columns: usize,
}

/// An odd number of cache lines: what lies so far apart does not share cache sets.
const fn odd_lines(elements: usize) -> usize {
    (elements.div_ceil(16) | 1) * 16
}

impl Winograd {
    fn sizes(&self, conv: &Conv) -> Sizes {
        let across = conv.out_width.div_ceil(TILE);
        let tiles = self.tile_rows * across;
        let pitch = tiles.next_multiple_of(LANES);
        Sizes {
            tiles,
            pitch,
            // Of the last channel's last row of tiles, whole vectors are stored.
            data_plane: odd_lines(conv.input.channels * pitch + LANES),
            sums_plane: odd_lines(conv.blocking.outputs * pitch),
            columns: across.next_multiple_of(LANES) * TILE + 2 * LANES,
        }
    }

    /// Accumulators of a group, and a row for the epilogue.
    const fn accumulators(conv: &Conv) -> usize {
        (GROUP + 1) * conv.accumulator_stride()
    }

    pub(super) fn scratch_bytes(&self, conv: &Conv) -> usize {
        let Sizes { pitch, data_plane, sums_plane, columns, .. } = self.sizes(conv);
        let numbers =
            Self::accumulators(conv) + POINTS * (data_plane + sums_plane) + (SIDE + 1) * columns + pitch + 4 * 16;
        numbers * 4
    }

    /// Units of work in the output rows `rows`.
    pub(super) fn units(&self, conv: &Conv, rows: &Range<usize>) -> usize {
        rows.len().div_ceil(self.rows()) * self.blocks(conv)
    }

    /// Output rows of a unit.
    pub(super) const fn rows(&self) -> usize {
        self.tile_rows * TILE
    }

    pub(super) fn blocks(&self, conv: &Conv) -> usize {
        conv.table.groups.len().div_ceil(conv.blocking.outputs / GROUP)
    }

    /// What keeps kernels from computing a layer.
    pub(crate) fn fault(&self, conv: &Conv) -> Option<&'static str> {
        let Conv { input, table, out_height, out_width, .. } = conv;
        let [top, left] = self.pad;
        let groups = table.groups.len();
        let whole = |(g, group): (usize, &Group)| g + 1 == groups || group.outputs.len() == GROUP;
        let wide = out_width + WINDOW - 1 <= input.row + left && top < WINDOW && left <= input.pad[1];
        let tall = self.tile_rows.checked_mul(TILE * input.row).is_some_and(|n| n <= conv.accumulator_stride());
        if self.tile_rows == 0 || !tall || input.is_split() || !wide || *out_height > input.height + 2 * WINDOW {
            return Some("its windows do not lie on its input");
        }
        let weights = groups.checked_mul(GROUP * input.channels * POINTS);
        if weights != Some(table.weights.len())
            || table.group != GROUP
            || !table.groups.iter().enumerate().all(whole)
            || !conv.packed.is_empty()
        {
            return Some("it does not have the weights of its points");
        }
        None
    }

    /// Computes one unit.
    ///
    /// # Safety
    /// As for [`Conv::run_unit`].
    pub(super) unsafe fn run_unit(
        &self,
        conv: &Conv,
        isa: Isa,
        arena: *mut u8,
        scratch: *mut u8,
        rows: &Range<usize>,
        unit: usize,
    ) {
        let (chunk, block) = (unit / self.blocks(conv), unit % self.blocks(conv));
        let first_group = block * conv.blocking.outputs / GROUP;
        let end_group = conv.table.groups.len().min(first_group + conv.blocking.outputs / GROUP);
        let first = rows.start + chunk * self.tile_rows * TILE;
        let end = rows.end.min(first + self.tile_rows * TILE);
        let [top, left] = self.pad;
        // Rows behind the last window may not be computed yet, and what is there must not reach any sum.
        let last = (end + WINDOW - 1) as isize - top as isize;
        let stride = conv.accumulator_stride();
        let across = conv.out_width.div_ceil(TILE);
        let tile_rows = (end - first).div_ceil(TILE);
        let whole = self.sizes(conv);
        let tiles = tile_rows * across;
        let sizes = Sizes { tiles, pitch: tiles.next_multiple_of(LANES), ..whole };
        // SAFETY: the scratch has room for all parts; the weights for every point and group.
        unsafe {
            let numbers = scratch.cast::<f32>();
            let mut at = 0;
            let mut part = |elements: usize| {
                let part = numbers.add(at);
                at += elements.next_multiple_of(16);
                part
            };
            let accumulators = part(Self::accumulators(conv));
            let data = part(POINTS * whole.data_plane);
            let sums = part(POINTS * whole.sums_plane);
            let half = part(SIDE * whole.columns);
            let zeros = part(whole.columns);
            let places = part(whole.pitch).cast::<u32>();
            half.write_bytes(0, (SIDE + 1) * whole.columns);
            for tile in 0..tiles {
                let (y, x) = (tile / across, tile % across);
                let cut = if (x + 1) * TILE > conv.out_width { CUT } else { 0 };
                places.add(tile).write((TILE * (y * conv.input.row + x)) as u32 | cut);
            }
            let unit = Unit {
                conv,
                groups: &conv.table.groups[first_group..end_group],
                input: conv.input.ptr::<f32>(arena),
                rows: first as isize - top as isize..last.min(conv.input.height as isize),
                left,
                tile_rows,
                across,
                sizes,
                weights: conv.table.weights.as_ptr().cast::<f32>().add(first_group * GROUP * conv.input.channels),
                weights_plane: conv.table.groups.len() * GROUP * conv.input.channels,
                data,
                sums,
                half,
                zeros,
                places,
                accumulators,
            };
            unit.transform(isa);
            unit.multiply(isa);
            let pixels = first * conv.input.row..(end - 1) * conv.input.row + conv.out_width;
            for g in 0..unit.groups.len() {
                unit.results(isa, g);
                let sums = epilogue::Sums {
                    groups: &unit.groups[g..=g],
                    next: unit.groups.get(g + 1),
                    accumulators: accumulators.cast(),
                    pitch: 0,
                    bytes: accumulators.add(GROUP * stride).cast(),
                };
                conv.epilogue.run(isa, conv, &sums, arena, pixels.clone());
            }
        }
    }
}

const _: () = assert!(GROUP <= MAX_GROUP, "a group is one of the table's");

impl Unit<'_> {
    /// The input of the unit at all points.
    ///
    /// # Safety
    /// The input is complete, the scratch has its parts, and the machine has `isa`.
    unsafe fn transform(&self, isa: Isa) {
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => avx2::transform(self),
                _ => portable::transform(self),
            }
        }
    }

    /// The sums over all channels at all points.
    ///
    /// # Safety
    /// As for [`Unit::transform`].
    unsafe fn multiply(&self, isa: Isa) {
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512::multiply(self),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni => avx2::multiply(self),
                _ => portable::multiply(self),
            }
        }
    }

    /// The accumulators of a group from its sums.
    ///
    /// # Safety
    /// As for [`Unit::transform`].
    unsafe fn results(&self, isa: Isa, group: usize) {
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => avx2::results(self, group),
                _ => portable::results(self, group),
            }
        }
    }

    /// Row `row` of the windows of the unit, from the first window's column on: zeros where the input has no such row.
    unsafe fn row(&self, channel: usize, row: usize) -> *const f32 {
        let y = self.rows.start + row as isize;
        if y < 0 || y >= self.rows.end {
            return self.zeros;
        }
        // SAFETY: the row is one of the channel's; the window starts in its padding.
        unsafe { self.input.add(channel * self.conv.input.plane + y as usize * self.conv.input.row).sub(self.left) }
    }

    /// Writes a row of a tile to the accumulators of output `j`.
    ///
    /// # Safety
    /// The accumulators have the tile's rows.
    #[inline(always)]
    unsafe fn write_cut(&self, j: usize, row: usize, place: u32, pixels: [f32; TILE]) {
        let columns = if place & CUT == 0 { TILE } else { self.conv.out_width % TILE };
        let at = j * self.conv.accumulator_stride() + row * self.conv.input.row + (place & !CUT) as usize;
        // SAFETY: forwarded.
        unsafe { self.accumulators.add(at).copy_from_nonoverlapping(pixels.as_ptr(), columns) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three transforms of one axis give the convolution.
    #[test]
    fn points_are_exact() {
        for tap in 0..WINDOW {
            for at in 0..SIDE {
                for (result, row) in RESULTS.iter().enumerate() {
                    let terms = row.iter().zip(&WEIGHTS).zip(&DATA).map(|((r, w), d)| r * w[tap] * d[at]);
                    let sum: f64 = terms.sum();
                    let expected = if at == result + tap { 1.0 } else { 0.0 };
                    assert!((sum - expected).abs() < 1e-14, "weight {tap}, pixel {at}, result {result}: {sum}");
                }
            }
        }
    }

    /// `left * middle * left'` in single precision, as the kernels compute it: coefficients are rounded, and every sum.
    fn both_axes<const N: usize, const M: usize>(left: &[[f64; N]; M], middle: [[f32; N]; N]) -> [[f32; M]; M] {
        let along =
            |row: &[f64; N], of: &dyn Fn(usize) -> f32| (0..N).fold(0.0, |sum, k| (row[k] as f32).mul_add(of(k), sum));
        let half = left.each_ref().map(|row| std::array::from_fn::<f32, N, _>(|x| along(row, &|k| middle[k][x])));
        half.map(|half| left.each_ref().map(|row| along(row, &|k| half[k])))
    }

    /// With 256 channels of numbers in -1..1, rounding moves no result by 3e-6 of the largest.
    #[test]
    fn rounding_errors_are_small() {
        let mut state = 7u32;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let (mut worst, mut largest) = (0.0f64, 0.0f64);
        for _ in 0..64 {
            let (mut sums, mut direct) = ([[0.0f32; SIDE]; SIDE], [[0.0f64; TILE]; TILE]);
            for _ in 0..256 {
                let tile: [[f32; SIDE]; SIDE] = std::array::from_fn(|_| std::array::from_fn(|_| number()));
                let window: [[f32; WINDOW]; WINDOW] = std::array::from_fn(|_| std::array::from_fn(|_| number()));
                let data = both_axes(&DATA, tile);
                for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
                    let taps = (0..WINDOW).flat_map(|i| (0..WINDOW).map(move |j| (i, j)));
                    let weight: f64 = taps.map(|(i, j)| WEIGHTS[y][i] * WEIGHTS[x][j] * f64::from(window[i][j])).sum();
                    sums[y][x] = data[y][x].mul_add(weight as f32, sums[y][x]);
                }
                for (y, x) in (0..TILE).flat_map(|y| (0..TILE).map(move |x| (y, x))) {
                    for (i, j) in (0..WINDOW).flat_map(|i| (0..WINDOW).map(move |j| (i, j))) {
                        direct[y][x] += f64::from(tile[y + i][x + j]) * f64::from(window[i][j]);
                    }
                }
            }
            for (found, expected) in both_axes(&RESULTS, sums).iter().flatten().zip(direct.iter().flatten()) {
                worst = worst.max((f64::from(*found) - expected).abs());
                largest = largest.max(expected.abs());
            }
        }
        assert!(worst < 3e-6 * largest, "{worst} of {largest}");
        assert!(worst > 0.0, "nothing was rounded");
    }
}
