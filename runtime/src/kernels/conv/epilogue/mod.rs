//! The tail of a convolution: bias, requantisation, activation, residual, stores.
//!
//! One definition in plain Rust over the functions of [`math`](crate::simd::math), compiled once per instruction
//! set, so that every machine stores the same bits.

mod run;

use run::Run;
pub(crate) use run::write_row;

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

/// Elements that are quantised at once; tiles are whole blocks.
const BLOCK: usize = 64;

impl Epilogue {
    #[inline(always)]
    unsafe fn run_with(&self, conv: &Conv, group: &Group, scratch: *mut u8, arena: *mut u8, pixels: Range<usize>) {
        let stride = conv.accumulator_stride();
        let run = Run::new(conv, pixels);
        let blocks = run.len().div_ceil(BLOCK);
        for (j, &channel) in group.outputs.iter().enumerate() {
            let channel = usize::from(channel);
            // SAFETY: the scratch row of output `j` holds the chunk's accumulators, as `i32` or `f32`; the bytes after
            // the last row are for quantised values. The last block may hold old numbers behind the run, whose results
            // are not stored, and lies inside the scratch, which has more rows than a group.
            let (values, bytes) = unsafe {
                let values = scratch.cast::<f32>().add(j * stride).cast::<[f32; BLOCK]>();
                let bytes = scratch.add(stride * MAX_GROUP * 4).cast::<[u8; BLOCK]>();
                (std::slice::from_raw_parts_mut(values, blocks), std::slice::from_raw_parts_mut(bytes, blocks))
            };
            // SAFETY: forwarded.
            unsafe {
                if let Some(quantizer) = self.only_quantizer(conv, channel) {
                    self.quantise(quantizer, channel, values, bytes);
                    let bytes = &bytes.as_flattened()[..run.len()];
                    for store in self.stores.iter() {
                        run.store_bytes(&store.map, channel, arena, bytes);
                    }
                } else {
                    let values = &mut values.as_flattened_mut()[..run.len()];
                    self.finish(conv, channel, arena, &run, values);
                    self.store(channel, arena, &run, values, &mut bytes.as_flattened_mut()[..run.len()]);
                }
            }
        }
    }

    /// The quantiser of all stores, when every result is a function of its accumulator alone.
    #[inline(always)]
    fn only_quantizer(&self, conv: &Conv, channel: usize) -> Option<Quantizer> {
        let quantizer = self.stores[0].quantizer;
        let bytes = self.stores.iter().all(|s| s.map.dtype == DType::U8 && s.quantizer == quantizer);
        // Within these bounds no integer sum becomes an infinity.
        let finite = conv.arithmetic == Arithmetic::U8S8
            && self.scale[channel].abs() < 1e20
            && self.bias[channel].abs() < 1e30;
        (bytes && finite && self.residual.is_none()).then_some(quantizer)
    }

    /// Accumulators of integers to quantised results.
    #[inline(always)]
    fn quantise(&self, quantizer: Quantizer, channel: usize, values: &[[f32; BLOCK]], bytes: &mut [[u8; BLOCK]]) {
        let (acc_bias, scale, bias) = (self.acc_bias[channel], self.scale[channel], self.bias[channel]);
        let load = |word: f32| (word.to_bits() as i32).wrapping_add(acc_bias) as f32;
        let load = |word: f32| load(word).mul_add(scale, bias);
        for (values, bytes) in values.iter().zip(bytes) {
            if self.activation == Activation::Silu {
                let mut doubt = 0;
                for (byte, &word) in bytes.iter_mut().zip(values) {
                    let (near, distance) = quantizer.near_silu(load(word));
                    *byte = near;
                    doubt = doubt.max(distance);
                }
                if doubt < quantizer.doubt() {
                    continue;
                }
            }
            let mut exact = *values;
            self.activation.apply(&mut exact, load);
            bytes.iter_mut().zip(&exact).for_each(|(byte, &x)| *byte = quantizer.quantize(x));
        }
    }

    /// Accumulators to results, in place.
    #[inline(always)]
    unsafe fn finish(&self, conv: &Conv, channel: usize, arena: *mut u8, run: &Run, values: &mut [f32]) {
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
            unsafe { run.add(&residual.map, channel, arena, values) };
        }
        if let Some(activation) = last {
            activation.apply(values, |x| x);
        }
    }

    /// Results to every destination.
    #[inline(always)]
    unsafe fn store(&self, channel: usize, arena: *mut u8, run: &Run, values: &[f32], bytes: &mut [u8]) {
        let mut quantised = None;
        for StoreTo { map, quantizer } in self.stores.iter() {
            // SAFETY: forwarded.
            unsafe {
                match map.dtype {
                    DType::F32 => run.store_floats(map, channel, arena, values),
                    DType::U8 => {
                        if quantised != Some(quantizer) {
                            bytes.iter_mut().zip(values).for_each(|(to, &v)| *to = quantizer.quantize(v));
                            quantised = Some(quantizer);
                        }
                        run.store_bytes(map, channel, arena, bytes);
                    }
                }
            }
        }
    }
}
