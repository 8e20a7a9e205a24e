//! Moving images and maps: the network's input and outputs, and copies between layouts.

use super::conv::StoreTo;
use super::conv::epilogue::write_row;
use super::map::Map;
use crate::engine::{DType, share};
use crate::simd::{Isa, per_isa};
use alloc::borrow::Cow;
use core::ops::Range;

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

/// Bands of rows that threads share: an image has few channels.
const BANDS: usize = 8;

impl LoadInput {
    /// Units of work in these rows: bands from top to bottom, and the channels of each.
    pub fn units(&self, rows: &Range<usize>) -> usize {
        BANDS.min(rows.len()) * self.channels()
    }

    fn channels(&self) -> usize {
        self.stores.first().map_or(1, |store| store.map.channels)
    }

    /// Writes one unit.
    ///
    /// # Safety
    /// `image` holds the whole input image; the rest as for the layer's `run_unit`.
    pub unsafe fn run_unit(&self, isa: Isa, arena: *mut u8, image: *const u8, unit: usize, rows: &Range<usize>) {
        let (band, channel) = (unit / self.channels(), unit % self.channels());
        let part = share(rows.len(), band, BANDS.min(rows.len()));
        // SAFETY: forwarded.
        unsafe { self.run_channel(isa, arena, image, channel, &(rows.start + part.start..rows.start + part.end)) };
    }
}

per_isa! {
    impl LoadInput {
        /// Writes rows of one channel.
        ///
        /// # Safety
        /// As for [`LoadInput::run_unit`].
        unsafe fn run_channel(&self, arena: *mut u8, image: *const u8, channel: usize, rows: &Range<usize>) => load
    }
}

impl LoadInput {
    #[inline(always)]
    unsafe fn load(&self, arena: *mut u8, image: *const u8, channel: usize, rows: &Range<usize>) {
        for store in self.stores.iter() {
            let map = &store.map;
            for y in rows.clone() {
                let at = (channel * map.height + y) * map.width;
                // SAFETY: the image has `channels * height * width` elements of `dtype`; a `u8` input has `u8` maps.
                unsafe {
                    match self.dtype {
                        DType::F32 => {
                            let pixels = core::slice::from_raw_parts(image.cast::<f32>().add(at), map.width);
                            store.write(channel, y, 0, pixels, arena);
                        }
                        DType::U8 => {
                            let pixels = core::slice::from_raw_parts(image.add(at), map.width);
                            write_row(map, channel, y, 0, pixels, arena, |v| v);
                        }
                    }
                }
            }
        }
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
