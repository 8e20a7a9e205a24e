//! Moving images and maps: the network's input and outputs, and copies between layouts.

use super::conv::StoreTo;
use super::map::Map;
use crate::engine::DType;
use crate::simd::math::Quantizer;
use std::borrow::Cow;
use std::ops::Range;

/// Copies one image of a model input `[channels, height, width]` into the arena.
#[derive(Clone, Debug)]
pub struct LoadInput {
    /// Index among the model's inputs.
    pub input: usize,
    /// Element type of the model input.
    pub dtype: DType,
    /// Destinations: maps of the same type, or `u8` maps that quantise an `f32` input.
    pub stores: Cow<'static, [StoreTo]>,
}

impl LoadInput {
    /// Writes rows of one channel.
    ///
    /// # Safety
    /// `image` holds the whole input image; the rest as for the layer's `run_unit`.
    pub unsafe fn run_channel(&self, arena: *mut u8, image: *const u8, channel: usize, rows: &Range<usize>) {
        let map = &self.stores[0].map;
        let mut buffer = [0f32; 256];
        for y in rows.clone() {
            let at = (channel * map.height + y) * map.width;
            let mut x = 0;
            while x < map.width {
                let count = buffer.len().min(map.width - x);
                // SAFETY: the image has `channels * height * width` elements of `dtype`.
                unsafe {
                    match self.dtype {
                        DType::F32 => {
                            let pixels = std::slice::from_raw_parts(image.cast::<f32>().add(at + x), count);
                            buffer[..count].copy_from_slice(pixels);
                        }
                        DType::U8 => {
                            let pixels = std::slice::from_raw_parts(image.add(at + x), count);
                            buffer.iter_mut().zip(pixels).for_each(|(to, &p)| *to = f32::from(p));
                        }
                    }
                    for store in self.stores.iter() {
                        store.write_input(self.dtype, channel, y, x, &buffer[..count], arena);
                    }
                }
                x += count;
            }
        }
    }
}

impl StoreTo {
    /// As [`StoreTo::write`], but a `u8` input is stored as it is.
    unsafe fn write_input(&self, dtype: DType, channel: usize, y: usize, x: usize, values: &[f32], arena: *mut u8) {
        let mut store = *self;
        if dtype == DType::U8 {
            store.quantizer = Quantizer::new(1.0, 0);
        }
        // SAFETY: forwarded. Values of a `u8` input are whole numbers in 0..=255, which quantise to themselves.
        unsafe { store.write(channel, y, x, values, arena) };
    }
}

/// Copies a map into another layout of the same element type and extents.
#[derive(Clone, Copy, Debug)]
pub struct CopyMap {
    /// Read.
    pub from: Map,
    /// Written.
    pub to: Map,
}

impl CopyMap {
    /// Copies rows of one channel.
    ///
    /// # Safety
    /// As for the layer's `run_unit`.
    pub unsafe fn run_channel(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        // SAFETY: both maps have these extents.
        unsafe {
            match self.from.dtype {
                DType::U8 => self.copy::<u8>(arena, channel, rows),
                DType::F32 => self.copy::<f32>(arena, channel, rows),
            }
        }
    }

    unsafe fn copy<T: Copy>(&self, arena: *mut u8, channel: usize, rows: &Range<usize>) {
        for y in rows.clone() {
            // SAFETY: by the caller's contract.
            unsafe {
                let (from, to) = (self.from.ptr::<T>(arena), self.to.ptr::<T>(arena));
                if self.from.split[1] == 1 && self.to.split[1] == 1 {
                    let from = from.add(self.from.index(channel, y, 0));
                    from.copy_to_nonoverlapping(to.add(self.to.index(channel, y, 0)), self.from.width);
                } else {
                    for x in 0..self.from.width {
                        to.add(self.to.index(channel, y, x)).write(*from.add(self.from.index(channel, y, x)));
                    }
                }
            }
        }
    }
}
