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
                DType::U8 => self.enlarge::<u8>(arena, channel, rows),
                DType::F32 => self.enlarge::<f32>(arena, channel, rows),
            }
        }
    }

    #[inline(always)]
    unsafe fn enlarge<T: Copy>(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        let (input, output) = (&self.input, &self.output);
        let [scale_y, scale_x] = self.scale;
        for y in rows.clone() {
            // SAFETY: rows lie inside the maps.
            let (from, to) = unsafe {
                let from = input.ptr::<T>(arena).add(input.index(channel, y / scale_y, 0));
                let to = output.ptr::<T>(arena).add(output.index(channel, y, 0));
                (core::slice::from_raw_parts(from, input.width), core::slice::from_raw_parts_mut(to, output.width))
            };
            if scale_x == 2 {
                to.as_chunks_mut::<2>().0.iter_mut().zip(from).for_each(|(to, &x)| *to = [x; 2]);
            } else {
                to.chunks_exact_mut(scale_x).zip(from).for_each(|(to, &x)| to.fill(x));
            }
        }
    }
}
