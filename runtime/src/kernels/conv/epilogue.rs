//! The tail of a convolution: bias, requantisation, activation, residual, stores.
//!
//! One definition in plain Rust over the functions of [`math`](crate::simd::math), compiled once per instruction
//! set, so that every machine stores the same bits.

use super::table::Group;
use super::{Arithmetic, Conv, MAX_GROUP};
use crate::engine::DType;
use crate::kernels::Activation;
use crate::kernels::map::Map;
use crate::simd::math::Quantizer;
use crate::simd::per_isa;
use std::borrow::Cow;
use std::ops::Range;

/// What happens to every accumulated element before it is stored.
#[derive(Clone, Debug)]
pub struct Epilogue {
    /// `U8S8`: added to the integer sum of each output channel (integer bias less zero point times weights).
    pub acc_bias: Cow<'static, [i32]>,
    /// `U8S8`: scale of the integer sum of each output channel.
    pub scale: Cow<'static, [f32]>,
    /// Bias of each output channel.
    pub bias: Cow<'static, [f32]>,
    /// Elementwise function.
    pub activation: Activation,
    /// Map added before or after the activation.
    pub residual: Option<Residual>,
    /// Where the result goes; at least one.
    pub stores: Cow<'static, [StoreTo]>,
}

/// A residual input.
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// An `f32` map of the output's extents, not split.
    pub map: Map,
    /// When it is added.
    pub at: ResidualAt,
}

/// When a residual is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualAt {
    /// `activation(sum + residual)`
    BeforeActivation,
    /// `activation(sum) + residual`
    AfterActivation,
}

/// One destination of a result.
#[derive(Clone, Copy, Debug)]
pub struct StoreTo {
    /// The map written: all output channels, in order.
    pub map: Map,
    /// How a `u8` map is quantised; unused for an `f32` map.
    pub quantizer: Quantizer,
}

per_isa! {
    impl Epilogue {
        /// Finishes the accumulators of `group` for the linear input positions `pixels`.
        ///
        /// # Safety
        /// As for [`Conv::run_unit`].
        pub(super) unsafe fn run(
            &self,
            conv: &Conv,
            group: &Group,
            scratch: *mut u8,
            arena: *mut u8,
            pixels: Range<usize>,
        ) => run_with
    }
}

impl Epilogue {
    #[inline(always)]
    unsafe fn run_with(&self, conv: &Conv, group: &Group, scratch: *mut u8, arena: *mut u8, pixels: Range<usize>) {
        let stride = conv.accumulator_stride();
        for (j, &channel) in group.outputs.iter().enumerate() {
            let channel = usize::from(channel);
            // SAFETY: the scratch row of output `j` holds the chunk's accumulators, as `i32` or `f32`; the bytes after
            // the last row are for quantised values.
            let (values, bytes) = unsafe {
                let values = scratch.cast::<f32>().add(j * stride);
                let bytes = scratch.add(stride * MAX_GROUP * 4);
                (
                    std::slice::from_raw_parts_mut(values, pixels.len()),
                    std::slice::from_raw_parts_mut(bytes, pixels.len()),
                )
            };
            // SAFETY: forwarded.
            unsafe {
                self.finish(conv, channel, arena, &pixels, values);
                self.store(conv, channel, arena, &pixels, values, bytes);
            }
        }
    }

    /// Accumulators to results, in place.
    #[inline(always)]
    unsafe fn finish(&self, conv: &Conv, channel: usize, arena: *mut u8, pixels: &Range<usize>, values: &mut [f32]) {
        let (first, last) = match self.residual {
            Some(Residual { at: ResidualAt::BeforeActivation, .. }) => (Activation::Identity, Some(self.activation)),
            _ => (self.activation, None),
        };
        let bias = self.bias[channel];
        match conv.arithmetic {
            Arithmetic::F32 => first.apply(values, |sum| sum + bias),
            Arithmetic::U8S8 => {
                let (acc_bias, scale) = (self.acc_bias[channel], self.scale[channel]);
                first.apply(values, |word| ((word.to_bits() as i32 + acc_bias) as f32).mul_add(scale, bias));
            }
        }
        if let Some(residual) = &self.residual {
            // SAFETY: forwarded.
            unsafe { add_map(conv, &residual.map, channel, arena, pixels, values) };
        }
        if let Some(activation) = last {
            activation.apply(values, |x| x);
        }
    }

    /// Results to every destination.
    #[inline(always)]
    unsafe fn store(
        &self,
        conv: &Conv,
        channel: usize,
        arena: *mut u8,
        pixels: &Range<usize>,
        values: &[f32],
        bytes: &mut [u8],
    ) {
        let mut quantised = None;
        for store in self.stores.iter() {
            let (map, quantizer) = (&store.map, store.quantizer);
            // SAFETY: every run lies within one row of the output; a map with the input's rows takes the whole run.
            unsafe {
                match map.dtype {
                    DType::F32 if same_rows(conv, map) => {
                        let to = linear_run::<f32>(map, channel, arena, pixels);
                        to.copy_from_slice(values);
                        restore_padding(conv, map, pixels, to, 0.0);
                    }
                    DType::F32 => {
                        for (y, x, run) in runs(conv, pixels) {
                            write_row(map, channel, y, x, &values[run], arena, |v| v);
                        }
                    }
                    DType::U8 if same_rows(conv, map) => {
                        let to = linear_run::<u8>(map, channel, arena, pixels);
                        to.iter_mut().zip(values).for_each(|(to, &v)| *to = quantizer.quantize(v));
                        restore_padding(conv, map, pixels, to, map.pad_value);
                    }
                    DType::U8 => {
                        // Rows may be short; quantising the whole run first keeps vectors full.
                        if quantised != Some(quantizer) {
                            bytes.iter_mut().zip(values).for_each(|(to, &v)| *to = quantizer.quantize(v));
                            quantised = Some(quantizer);
                        }
                        for (y, x, run) in runs(conv, pixels) {
                            write_row(map, channel, y, x, &bytes[run], arena, |v| v);
                        }
                    }
                }
            }
        }
    }
}

/// Whether a run of linear input positions is a run of this map, its padding columns between rows included.
#[inline(always)]
fn same_rows(conv: &Conv, map: &Map) -> bool {
    !map.is_split() && map.row == conv.input.row
}

/// The run of a map with the input's rows.
///
/// # Safety
/// `arena` is laid out for the map, and nobody else accesses the run but to write padding.
#[inline(always)]
unsafe fn linear_run<'a, T>(map: &Map, channel: usize, arena: *mut u8, pixels: &Range<usize>) -> &'a mut [T] {
    // SAFETY: the run starts and ends at pixels of the channel.
    unsafe {
        let base = map.ptr::<T>(arena).add(channel * map.plane);
        std::slice::from_raw_parts_mut(base.add(pixels.start), pixels.len())
    }
}

/// Puts padding back between the rows of a run that was written as a whole.
#[inline(always)]
fn restore_padding<T: Copy>(conv: &Conv, map: &Map, pixels: &Range<usize>, run: &mut [T], value: T) {
    let gap = map.row - conv.out_width;
    if gap == 0 {
        return;
    }
    let mut at = pixels.start / map.row * map.row + conv.out_width;
    while at < pixels.end {
        for position in at.max(pixels.start)..(at + gap).min(pixels.end) {
            run[position - pixels.start] = value;
        }
        at += map.row;
    }
}

/// The parts of a run of linear input positions that are output pixels: row, first column, and range within the run.
#[inline(always)]
fn runs(conv: &Conv, pixels: &Range<usize>) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    let (row, width, first, end) = (conv.input.row, conv.out_width, pixels.start, pixels.end);
    let mut at = first;
    std::iter::from_fn(move || {
        let (mut y, mut x) = (at / row, at % row);
        if x >= width {
            (y, x) = (y + 1, 0);
            at = y * row;
        }
        if at >= end {
            return None;
        }
        let count = (width - x).min(end - at);
        let run = at - first..at - first + count;
        at += count;
        Some((y, x, run))
    })
}

#[inline(always)]
unsafe fn add_map(conv: &Conv, map: &Map, channel: usize, arena: *mut u8, pixels: &Range<usize>, values: &mut [f32]) {
    for (y, x, run) in runs(conv, pixels) {
        // SAFETY: the residual has the output's extents.
        let addends =
            unsafe { std::slice::from_raw_parts(map.ptr::<f32>(arena).add(map.index(channel, y, x)), run.len()) };
        values[run].iter_mut().zip(addends).for_each(|(v, a)| *v += a);
    }
}

impl StoreTo {
    /// Writes consecutive pixels of one row.
    ///
    /// # Safety
    /// The pixels lie within the map, `arena` is laid out for it, and nobody else accesses them.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, channel: usize, y: usize, x: usize, values: &[f32], arena: *mut u8) {
        let (map, quantizer) = (&self.map, self.quantizer);
        // SAFETY: forwarded.
        unsafe {
            match map.dtype {
                DType::F32 => write_row(map, channel, y, x, values, arena, |v| v),
                DType::U8 => write_row(map, channel, y, x, values, arena, |v| quantizer.quantize(v)),
            }
        }
    }
}

/// Writes consecutive pixels of one row of a map of `T`.
///
/// # Safety
/// As for [`StoreTo::write`].
#[inline(always)]
pub(crate) unsafe fn write_row<S: Copy, T>(
    map: &Map,
    channel: usize,
    y: usize,
    x: usize,
    values: &[S],
    arena: *mut u8,
    convert: impl Fn(S) -> T,
) {
    let columns = map.split[1];
    // SAFETY: by the caller's contract every index written is a pixel of the map.
    unsafe {
        let base = map.ptr::<T>(arena);
        if columns == 1 {
            let to = std::slice::from_raw_parts_mut(base.add(map.index(channel, y, x)), values.len());
            to.iter_mut().zip(values).for_each(|(to, &v)| *to = convert(v));
        } else if columns == 2 {
            for first in 0..2.min(values.len()) {
                let values = &values[first..];
                let to = base.add(map.index(channel, y, x + first));
                let to = std::slice::from_raw_parts_mut(to, values.len().div_ceil(2));
                let pairs = values.chunks_exact(2);
                if let (Some(to), [last]) = (to.last_mut(), pairs.remainder()) {
                    *to = convert(*last);
                }
                to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = convert(pair[0]));
            }
        } else {
            for (i, &v) in values.iter().enumerate() {
                base.add(map.index(channel, y, x + i)).write(convert(v));
            }
        }
    }
}
