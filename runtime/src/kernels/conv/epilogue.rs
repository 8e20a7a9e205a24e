//! The tail of a convolution: bias, requantisation, activation, residual, stores.
//!
//! One definition in plain Rust over the functions of [`math`](crate::simd::math), compiled once per instruction
//! set, so that every machine stores the same bits.

use super::table::Group;
use super::{Arithmetic, Conv};
use crate::engine::DType;
use crate::kernels::Activation;
use crate::kernels::map::Map;
use crate::simd::Isa;
use crate::simd::math::Quantizer;
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

impl Epilogue {
    /// Finishes the accumulators of `group` for the linear input positions `pixels`.
    ///
    /// # Safety
    /// As for [`Conv::run_unit`].
    pub(super) unsafe fn run(
        &self,
        isa: Isa,
        conv: &Conv,
        group: &Group,
        scratch: *mut u8,
        arena: *mut u8,
        pixels: Range<usize>,
    ) {
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => self.run_avx2(conv, group, scratch, arena, pixels),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => self.run_avx512(conv, group, scratch, arena, pixels),
                _ => self.run_with(conv, group, scratch, arena, pixels),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run_avx2(&self, conv: &Conv, group: &Group, scratch: *mut u8, arena: *mut u8, pixels: Range<usize>) {
        // SAFETY: forwarded.
        unsafe { self.run_with(conv, group, scratch, arena, pixels) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn run_avx512(&self, conv: &Conv, group: &Group, scratch: *mut u8, arena: *mut u8, pixels: Range<usize>) {
        // SAFETY: forwarded.
        unsafe { self.run_with(conv, group, scratch, arena, pixels) }
    }

    #[inline(always)]
    unsafe fn run_with(&self, conv: &Conv, group: &Group, scratch: *mut u8, arena: *mut u8, pixels: Range<usize>) {
        let stride = conv.accumulator_stride();
        for (j, &channel) in group.outputs.iter().enumerate() {
            let channel = usize::from(channel);
            // SAFETY: the scratch row of output `j` holds the chunk's accumulators, as `i32` or `f32`.
            let values = unsafe {
                let row = scratch.cast::<f32>().add(j * stride);
                if conv.arithmetic == Arithmetic::U8S8 {
                    let (acc_bias, scale, bias) = (self.acc_bias[channel], self.scale[channel], self.bias[channel]);
                    for word in std::slice::from_raw_parts_mut(row.cast::<u32>(), pixels.len()) {
                        *word = ((*word as i32 + acc_bias) as f32).mul_add(scale, bias).to_bits();
                    }
                }
                std::slice::from_raw_parts_mut(row, pixels.len())
            };
            if conv.arithmetic == Arithmetic::F32 {
                let bias = self.bias[channel];
                values.iter_mut().for_each(|v| *v += bias);
            }
            if let Some(Residual { map, at: ResidualAt::BeforeActivation }) = self.residual {
                // SAFETY: forwarded.
                unsafe { add_map(conv, &map, channel, arena, &pixels, values) };
            }
            self.activation.apply(values);
            if let Some(Residual { map, at: ResidualAt::AfterActivation }) = self.residual {
                // SAFETY: forwarded.
                unsafe { add_map(conv, &map, channel, arena, &pixels, values) };
            }
            for store in self.stores.iter() {
                for (y, x, run) in runs(conv, &pixels) {
                    // SAFETY: every run lies within one row of the output.
                    unsafe { store.write(channel, y, x, &values[run], arena) };
                }
            }
        }
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
                DType::U8 => {
                    write_row(map, channel, y, x, values, arena, |v| quantizer.quantize(v));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn write_row<T>(
    map: &Map,
    channel: usize,
    y: usize,
    x: usize,
    values: &[f32],
    arena: *mut u8,
    convert: impl Fn(f32) -> T,
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
                let count = (values.len() - first).div_ceil(2);
                let to = std::slice::from_raw_parts_mut(base.add(map.index(channel, y, x + first)), count);
                to.iter_mut().enumerate().for_each(|(i, to)| *to = convert(values[first + 2 * i]));
            }
        } else {
            for (i, &v) in values.iter().enumerate() {
                base.add(map.index(channel, y, x + i)).write(convert(v));
            }
        }
    }
}
