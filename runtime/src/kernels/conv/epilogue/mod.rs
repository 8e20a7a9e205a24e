//! The tail of a convolution: bias, requantisation, activation, residual, stores.
//!
//! One definition in plain Rust over the functions of [`math`](crate::simd::math), compiled per instruction set, so
//! that every machine stores the same bits; for AVX2 and AVX-512 the same operations written out in [`fused`], where bytes
//! of SiLU come from fewer operations if they are known to be the same.

#[cfg(target_arch = "x86_64")]
mod fused;
mod run;

use run::Run;
pub(crate) use run::write_row;

use super::table::Group;
use super::{Arithmetic, Conv};
use crate::engine::DType;
use crate::kernels::Activation;
use crate::kernels::map::Map;
#[cfg(not(feature = "std"))]
use crate::simd::math::Float as _;
use crate::simd::math::Quantizer;
use crate::simd::{Isa, per_isa};
use alloc::borrow::Cow;
use core::ops::Range;

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

/// Groups that are finished at once, and a row of scratch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums<'a> {
    /// The groups.
    pub groups: &'a [Group],
    /// The group that will be finished after them.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub next: Option<&'a Group>,
    /// Accumulators of the first output of the first group; those of its other outputs follow.
    pub accumulators: *mut u8,
    /// Bytes from the accumulators of a group to those of the next.
    pub pitch: usize,
    /// A row of bytes.
    pub bytes: *mut u8,
}

impl Sums<'_> {
    /// The accumulators of output `j` of group `g`.
    ///
    /// # Safety
    /// There is such an output.
    #[inline(always)]
    unsafe fn row(&self, conv: &Conv, g: usize, j: usize) -> *mut f32 {
        // SAFETY: by the contract.
        unsafe { self.accumulators.add(g * self.pitch).cast::<f32>().add(j * conv.accumulator_stride()) }
    }
}

impl Epilogue {
    /// Finishes the accumulators of groups for the linear input positions `pixels`.
    ///
    /// # Safety
    /// As for [`Conv::run_unit`].
    pub(super) unsafe fn run(&self, isa: Isa, conv: &Conv, sums: &Sums<'_>, arena: *mut u8, pixels: Range<usize>) {
        let run = Run::new(conv, pixels);
        // SAFETY: forwarded.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 if self.is_fused(&run) => {
                    self.run_fused(isa, conv, sums, arena, &run)
                }
                _ => self.run_plain(isa, conv, sums, arena, &run),
            }
        }
    }
}

per_isa! {
    impl Epilogue {
        /// As [`Epilogue::run`], by the definition.
        ///
        /// # Safety
        /// As for [`Conv::run_unit`].
        unsafe fn run_plain(&self, conv: &Conv, sums: &Sums<'_>, arena: *mut u8, run: &Run) => run_with
    }
}

/// Elements that are computed at once, a multiple of every vector: runs are rounded up to whole blocks.
pub(super) const BLOCK: usize = 64;

impl Epilogue {
    #[inline(always)]
    unsafe fn run_with(&self, conv: &Conv, sums: &Sums<'_>, arena: *mut u8, run: &Run) {
        let stride = conv.accumulator_stride();
        let blocks = run.len().div_ceil(BLOCK);
        for (g, group) in sums.groups.iter().enumerate() {
            for (j, &channel) in group.outputs.iter().enumerate() {
                let channel = usize::from(channel);
                // SAFETY: the row of output `j` holds the chunk's accumulators, as `i32` or `f32`, in whole blocks; behind
                // the run the last block may hold old numbers, whose results are not stored. A row behind those of
                // accumulators holds quantised values and their two halves.
                let (values, bytes, halves) = unsafe {
                    let values = sums.row(conv, g, j);
                    let halves = core::slice::from_raw_parts_mut(sums.bytes.add(stride), 2 * stride);
                    (
                        core::slice::from_raw_parts_mut(values.cast::<[f32; BLOCK]>(), blocks),
                        core::slice::from_raw_parts_mut(sums.bytes.cast::<[u8; BLOCK]>(), blocks),
                        halves,
                    )
                };
                // SAFETY: forwarded.
                unsafe {
                    self.finish(conv, channel, arena, run, values.as_flattened_mut());
                    self.store(channel, arena, run, values, bytes, halves);
                }
            }
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
                // What lies behind the run may be any bits.
                let sum = |word: f32| (word.to_bits() as i32).wrapping_add(acc_bias) as f32;
                first.apply(values, |word| sum(word).mul_add(scale, bias));
            }
        }
        if let Some(residual) = &self.residual {
            // SAFETY: forwarded.
            unsafe { run.add(&residual.map, channel, arena, &mut values[..run.len()]) };
        }
        if let Some(activation) = last {
            activation.apply(values, |x| x);
        }
    }

    /// Results to every destination.
    #[inline(always)]
    unsafe fn store(
        &self,
        channel: usize,
        arena: *mut u8,
        run: &Run,
        values: &[[f32; BLOCK]],
        bytes: &mut [[u8; BLOCK]],
        halves: &mut [u8],
    ) {
        let mut quantised = None;
        for StoreTo { map, quantizer } in self.stores.iter() {
            // SAFETY: forwarded.
            unsafe {
                match map.dtype {
                    DType::F32 => run.store_floats(map, channel, arena, &values.as_flattened()[..run.len()]),
                    DType::U8 => {
                        if quantised != Some(quantizer) {
                            let (bytes, values) = (bytes.as_flattened_mut(), values.as_flattened());
                            bytes.iter_mut().zip(values).for_each(|(to, &v)| *to = quantizer.quantize(v));
                            quantised = Some(quantizer);
                        }
                        run.store_bytes(map, channel, arena, &bytes.as_flattened()[..run.len()], halves);
                    }
                }
            }
        }
    }
}
