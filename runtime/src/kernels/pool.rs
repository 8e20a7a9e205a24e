//! Pooling and nearest-neighbour enlargement of maps.

use super::map::Map;
use crate::engine::DType;
use std::ops::Range;

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
    fn larger(self, other: u8) -> u8 {
        self.max(other)
    }
}

impl Element for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;
    fn larger(self, other: f32) -> f32 {
        if other > self { other } else { self }
    }
}

/// The part of a window that starts at `start - pad` and lies inside `0..extent`.
fn window(start: usize, pad: usize, kernel: usize, extent: usize) -> Range<usize> {
    start.saturating_sub(pad)..(start + kernel).saturating_sub(pad).min(extent)
}

impl MaxPool {
    /// Bytes of scratch one thread needs: one row of the input, widened by the window.
    pub const fn scratch_bytes(&self) -> usize {
        (self.input.width + 2 * self.kernel[1]) * 4 + 64
    }

    /// Computes rows of one channel.
    ///
    /// # Safety
    /// As for the layer's `run_unit`, with [`MaxPool::scratch_bytes`] of scratch.
    pub unsafe fn run_channel(&self, arena: *mut u8, scratch: *mut u8, channel: usize, rows: &Range<usize>) {
        // SAFETY: forwarded.
        unsafe {
            match self.input.dtype {
                DType::U8 => self.pool::<u8>(arena, scratch.cast(), channel, rows),
                DType::F32 => self.pool::<f32>(arena, scratch.cast(), channel, rows),
            }
        }
    }

    unsafe fn pool<T: Element>(&self, arena: *mut u8, scratch: *mut T, channel: usize, rows: &Range<usize>) {
        let (input, output) = (&self.input, &self.output);
        let [kernel_height, kernel_width] = self.kernel;
        let left = self.pad[1];
        // SAFETY: rows read and written lie inside the maps; the column maxima fit in the scratch.
        unsafe {
            let columns = std::slice::from_raw_parts_mut(scratch, input.width + 2 * kernel_width);
            for y in rows.clone() {
                columns.fill(T::LOWEST);
                for iy in window(y * self.stride[0], self.pad[0], kernel_height, input.height) {
                    let row = input.ptr::<T>(arena).add(input.index(channel, iy, 0));
                    let row = std::slice::from_raw_parts(row, input.width);
                    let inner = &mut columns[left..left + input.width];
                    inner.iter_mut().zip(row).for_each(|(c, &x)| *c = c.larger(x));
                }
                let to = output.ptr::<T>(arena).add(output.index(channel, y, 0));
                let to = std::slice::from_raw_parts_mut(to, output.width);
                if self.stride[1] == 1 {
                    to.copy_from_slice(&columns[..output.width]);
                    for k in 1..kernel_width {
                        to.iter_mut().zip(&columns[k..]).for_each(|(t, &c)| *t = t.larger(c));
                    }
                } else {
                    for (x, t) in to.iter_mut().enumerate() {
                        let window = &columns[x * self.stride[1]..][..kernel_width];
                        *t = window.iter().fold(T::LOWEST, |a, &b| a.larger(b));
                    }
                }
            }
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

impl Resize {
    /// Computes rows of one channel.
    ///
    /// # Safety
    /// As for the layer's `run_unit`.
    pub unsafe fn run_channel(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        // SAFETY: forwarded.
        unsafe {
            match self.input.dtype {
                DType::U8 => self.enlarge::<u8>(arena, channel, rows),
                DType::F32 => self.enlarge::<f32>(arena, channel, rows),
            }
        }
    }

    unsafe fn enlarge<T: Copy>(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        let (input, output) = (&self.input, &self.output);
        let [scale_y, scale_x] = self.scale;
        for y in rows.clone() {
            // SAFETY: rows lie inside the maps.
            let (from, to) = unsafe {
                let from = input.ptr::<T>(arena).add(input.index(channel, y / scale_y, 0));
                let to = output.ptr::<T>(arena).add(output.index(channel, y, 0));
                (std::slice::from_raw_parts(from, input.width), std::slice::from_raw_parts_mut(to, output.width))
            };
            if scale_x == 2 {
                to.chunks_exact_mut(2).zip(from).for_each(|(to, &x)| to.fill(x));
            } else {
                to.chunks_exact_mut(scale_x).zip(from).for_each(|(to, &x)| to.fill(x));
            }
        }
    }
}
