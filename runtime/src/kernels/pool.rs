//! Pooling and nearest-neighbour enlargement of maps.

use super::map::Map;
use crate::engine::DType;
use crate::simd::per_isa;
use core::ops::Range;

/// Maximum over a window; padding never wins.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// Read; not split.
    pub input: Map,
    /// Written; the same element type, not split.
    pub output: Map,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding above and to the left.
    pub pad: [usize; 2],
}

/// Mean over a window of an `f32` map.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool {
    /// Read; not split.
    pub input: Map,
    /// Written; not split.
    pub output: Map,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pad: [usize; 4],
    /// Whether padding counts in the divisor.
    pub count_include_pad: bool,
}

/// Nearest-neighbour enlargement by whole factors.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    /// Read; not split.
    pub input: Map,
    /// Written; the same element type, not split.
    pub output: Map,
    /// Factors of height and width.
    pub scale: [usize; 2],
}

trait Element: Copy {
    const LOWEST: Self;
    fn larger(self, other: Self) -> Self;
}

impl Element for u8 {
    const LOWEST: u8 = 0;
    #[inline(always)]
    fn larger(self, other: u8) -> u8 {
        self.max(other)
    }
}

impl Element for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn larger(self, other: f32) -> f32 {
        if other > self { other } else { self }
    }
}

/// The part of a window that starts at `start - pad` and lies inside `0..extent`.
fn window(start: usize, pad: usize, kernel: usize, extent: usize) -> Range<usize> {
    start.saturating_sub(pad)..(start + kernel).saturating_sub(pad).min(extent)
}

impl MaxPool {
    /// Elements between rows of the scratch planes: those of the input, and a margin as wide as the window.
    const fn pitch(&self) -> usize {
        self.input.width + self.kernel[1]
    }

    /// Elements of a scratch plane: the rows of the input and a window more.
    const fn scratch_plane(&self) -> usize {
        (self.input.height + 2 * self.kernel[0] + 1) * self.pitch() + self.kernel[1]
    }

    /// Bytes of scratch one thread needs: the widened input, and maxima of it.
    pub const fn scratch_bytes(&self) -> usize {
        self.scratch_plane() * 2 * 4
    }
}

per_isa! {
    impl MaxPool {
        /// Computes rows of one channel.
        ///
        /// # Safety
        /// As for the layer's `run_unit`, with [`MaxPool::scratch_bytes`] of scratch.
        pub unsafe fn run_channel(
            &self,
            arena: *mut u8,
            scratch: *mut u8,
            channel: usize,
            rows: &Range<usize>,
        ) => run_channel_with
    }
}

impl MaxPool {
    #[inline(always)]
    unsafe fn run_channel_with(&self, arena: *mut u8, scratch: *mut u8, channel: usize, rows: &Range<usize>) {
        // Four vectors at a time.
        // SAFETY: forwarded.
        unsafe {
            match self.input.dtype {
                DType::U8 => self.pool::<u8, 128>(arena, scratch.cast(), channel, rows),
                DType::F32 => self.pool::<f32, 32>(arena, scratch.cast(), channel, rows),
            }
        }
    }

    #[inline(always)]
    unsafe fn pool<T: Element, const BLOCK: usize>(
        &self,
        arena: *mut u8,
        scratch: *mut T,
        channel: usize,
        rows: &Range<usize>,
    ) {
        let (input, output) = (&self.input, &self.output);
        let ([kernel_height, kernel_width], [step_y, step_x]) = (self.kernel, self.stride);
        let (pitch, plane) = (self.pitch(), self.scratch_plane());
        // Rows of the scratch start with the first row that the first window covers, and columns likewise.
        let first = rows.start * step_y;
        let height = (rows.len() - 1) * step_y + kernel_height;
        // SAFETY: both planes lie in the scratch, rows read and written inside the maps.
        unsafe {
            let wide = &mut core::slice::from_raw_parts_mut(scratch, plane)[..height * pitch];
            let maxima =
                &mut core::slice::from_raw_parts_mut(scratch.add(plane), plane)[..rows.len() * pitch + kernel_width];
            wide.fill(T::LOWEST);
            for y in first.max(self.pad[0])..(first + height).min(input.height + self.pad[0]) {
                let row = input.ptr::<T>(arena).add(input.index(channel, y - self.pad[0], 0));
                let to = &mut wide[(y - first) * pitch + self.pad[1]..][..input.width.min(pitch - self.pad[1])];
                to.copy_from_slice(core::slice::from_raw_parts(row, to.len()));
            }
            // Column maxima of all rows, then maxima of those from left to right, over runs of whole planes.
            let (within, margin) = maxima.split_at_mut(rows.len() * pitch);
            margin.fill(T::LOWEST);
            if step_y == 1 {
                largest::<T, BLOCK>(within, wide, pitch, kernel_height);
            } else {
                for (y, row) in within.chunks_exact_mut(pitch).enumerate() {
                    largest::<T, BLOCK>(row, &wide[y * step_y * pitch..], pitch, kernel_height);
                }
            }
            let results = &mut wide[..rows.len() * pitch];
            largest::<T, BLOCK>(results, maxima, 1, kernel_width);
            for (y, results) in rows.clone().zip(results.chunks_exact(pitch)) {
                let to = output.ptr::<T>(arena).add(output.index(channel, y, 0));
                let to = core::slice::from_raw_parts_mut(to, output.width);
                if step_x == 1 {
                    to.copy_from_slice(&results[..to.len()]);
                } else {
                    to.iter_mut().zip(results.iter().step_by(step_x)).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }
}

/// Every element of `to` becomes the largest of `count` elements that lie `step` apart, the first at its own place.
#[inline(always)]
fn largest<T: Element, const BLOCK: usize>(to: &mut [T], from: &[T], step: usize, count: usize) {
    // What is compared stays in registers: if it were what is stored, the compiler would store each element under a mask.
    for (i, to) in to.chunks_mut(BLOCK).enumerate() {
        let mut most = [T::LOWEST; BLOCK];
        for k in 0..count {
            let from = &from[i * BLOCK + k * step..];
            match from.first_chunk::<BLOCK>() {
                Some(from) if to.len() == BLOCK => {
                    most.iter_mut().zip(from).for_each(|(most, &x)| *most = most.larger(x));
                }
                _ => most.iter_mut().zip(&from[..to.len()]).for_each(|(most, &x)| *most = most.larger(x)),
            }
        }
        match to.first_chunk_mut::<BLOCK>() {
            Some(to) => *to = most,
            None => to.copy_from_slice(&most[..to.len()]),
        }
    }
}

impl AveragePool {
    /// Computes rows of one channel, summing row by row in `f32`.
    ///
    /// # Safety
    /// As for the layer's `run_unit`.
    pub unsafe fn run_channel(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        let (input, output) = (&self.input, &self.output);
        for y in rows.clone() {
            for x in 0..output.width {
                let (top, left) = (y * self.stride[0], x * self.stride[1]);
                let iys = window(top, self.pad[0], self.kernel[0], input.height);
                let ixs = window(left, self.pad[1], self.kernel[1], input.width);
                let mut sum = 0.0f32;
                for iy in iys.clone() {
                    for ix in ixs.clone() {
                        // SAFETY: the window lies inside the map.
                        sum += unsafe { *input.ptr::<f32>(arena).add(input.index(channel, iy, ix)) };
                    }
                }
                let divisor = if self.count_include_pad {
                    let padded_height = input.height + self.pad[0] + self.pad[2];
                    let padded_width = input.width + self.pad[1] + self.pad[3];
                    self.kernel[0].min(padded_height - top) * self.kernel[1].min(padded_width - left)
                } else {
                    iys.len() * ixs.len()
                };
                // SAFETY: the pixel lies inside the map.
                unsafe { *output.ptr::<f32>(arena).add(output.index(channel, y, x)) = sum / divisor as f32 };
            }
        }
    }
}

per_isa! {
    impl Resize {
        /// Computes rows of one channel.
        ///
        /// # Safety
        /// As for the layer's `run_unit`.
        pub unsafe fn run_channel(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) => run_channel_with
    }
}

impl Resize {
    #[inline(always)]
    unsafe fn run_channel_with(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        // SAFETY: forwarded.
        unsafe {
            match self.input.dtype {
                DType::U8 => self.enlarge::<u8, 16>(arena, channel, rows),
                DType::F32 => self.enlarge::<f32, 8>(arena, channel, rows),
            }
        }
    }

    /// Writes every row of the input as often as it is repeated among `rows`, in blocks of `N` elements.
    ///
    /// # Safety
    /// As for [`Resize::run_channel`].
    #[inline(always)]
    unsafe fn enlarge<T: Copy, const N: usize>(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        let (input, output) = (&self.input, &self.output);
        let [scale_y, scale_x] = self.scale;
        // SAFETY: rows lie inside the maps.
        unsafe {
            let from = input.ptr::<T>(arena).add(input.index(channel, 0, 0)).cast_const();
            let to = output.ptr::<T>(arena).add(output.index(channel, 0, 0));
            let mut y = rows.start;
            while y < rows.end {
                let (from, end) = (from.add(y / scale_y * input.row), rows.end.min((y / scale_y + 1) * scale_y));
                if scale_x == 2 {
                    for y in (y..end).step_by(2) {
                        let to = [to.add(y * output.row), to.add((y + 1).min(end - 1) * output.row)];
                        double::<T, N>(from, to, input.width);
                    }
                } else {
                    for y in y..end {
                        let to = core::slice::from_raw_parts_mut(to.add(y * output.row), output.width);
                        let from = core::slice::from_raw_parts(from, input.width);
                        to.chunks_exact_mut(scale_x).zip(from).for_each(|(to, &x)| to.fill(x));
                    }
                }
                y = end;
            }
        }
    }
}

/// Writes every element of a row twice, to both of two rows; of `N` at once, the last of which may overlap those before.
///
/// # Safety
/// `from` has `width` elements, and each row of `to`, which may be the same one, has room for twice as many.
#[inline(always)]
unsafe fn double<T: Copy, const N: usize>(from: *const T, to: [*mut T; 2], width: usize) {
    // SAFETY: by the contract; blocks end at the last element at most.
    unsafe {
        if width < N {
            for x in 0..width {
                to.iter().for_each(|to| to.add(2 * x).cast::<[T; 2]>().write([*from.add(x); 2]));
            }
            return;
        }
        let last = width - N;
        for x in (0..last).step_by(N).chain(core::iter::once(last)) {
            let pairs = from.add(x).cast::<[T; N]>().read().map(|value| [value; 2]);
            to.iter().for_each(|to| to.add(2 * x).cast::<[[T; 2]; N]>().write(pairs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(dtype: DType, offset: usize, height: usize, width: usize) -> Map {
        let (row, split, pad) = (width + 3, [1, 1], [0; 4]);
        Map { dtype, offset, channels: 2, height, width, split, row, plane: height * row + 5, pad, pad_value: 0 }
    }

    /// Whole arenas must be equal: nothing but the rows asked for is written.
    #[test]
    fn every_pixel_is_repeated() {
        let widths = [1, 7, 8, 9, 15, 16, 17, 20, 40, 50];
        for (dtype, width) in [DType::U8, DType::F32].into_iter().flat_map(|dtype| widths.map(|width| (dtype, width))) {
            for scale in [[2, 2], [1, 2], [3, 2], [2, 3], [1, 1]] {
                for rows in [0..5 * scale[0], 1..4 * scale[0], 2..3] {
                    let size = dtype.size();
                    let input = map(dtype, 64, 5, width);
                    let output = map(dtype, 64 + 2 * input.plane * size, 5 * scale[0], width * scale[1]);
                    let bytes = output.offset + 2 * output.plane * size + 64;
                    let mut arena: Vec<u64> =
                        (0..bytes as u64 / 8 + 1).map(|i| i.wrapping_mul(0x9e37_79b9_97f4)).collect();
                    // SAFETY: words are bytes.
                    let bytes_of = |arena: &[u64]| unsafe {
                        core::slice::from_raw_parts(arena.as_ptr().cast::<u8>(), arena.len() * 8).to_vec()
                    };
                    let mut expected = bytes_of(&arena);
                    for (y, x) in rows.clone().flat_map(|y| (0..output.width).map(move |x| (y, x))) {
                        let from = input.offset + input.index(1, y / scale[0], x / scale[1]) * size;
                        let to = output.offset + output.index(1, y, x) * size;
                        expected.copy_within(from..from + size, to);
                    }
                    // SAFETY: the arena holds both maps.
                    unsafe {
                        let resize = Resize { input, output, scale };
                        resize.run_channel(crate::simd::Isa::detect(), arena.as_mut_ptr().cast(), 1, &rows);
                    }
                    assert_eq!(bytes_of(&arena), expected, "{dtype:?} {width} {scale:?} {rows:?}");
                }
            }
        }
    }
}
