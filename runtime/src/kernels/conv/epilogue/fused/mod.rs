//! The epilogue for AVX2 and AVX-512: one pass from accumulators to results, in registers, written where they belong if
//! they can be.

mod halves;
mod pass;
mod silu_bytes;

use super::run::Run;
use super::{Epilogue, StoreTo, Sums};
use crate::engine::DType;
use crate::kernels::Activation;
use crate::kernels::conv::{Arithmetic, Conv};
use crate::kernels::map::Map;
use crate::simd::Isa;
use crate::simd::math::silu_bytes::Ratio;
use halves::{store_byte_halves, store_halves};
use pass::{BYTES, Bytes, Pass, Sum};

/// Which stores of an epilogue are written at once: the first of its type whose rows are those of the run, and byte
/// stores of other quantisers whose rows are those of the run. The others are copied from the first, or from a row in
/// scratch when there is none; numbers that are quantised later stay in scratch, where whole blocks can be read.
struct Targets<'a> {
    /// What they are computed with.
    isa: Isa,
    floats: Option<&'a StoreTo>,
    /// As many as there are `rows`; nothing is the row in scratch.
    bytes: [Option<&'a StoreTo>; BYTES],
    /// The rows of one output; the first serves all byte stores of its quantiser.
    rows: [Bytes; BYTES],
    count: usize,
    /// Whether somebody needs numbers.
    any_floats: bool,
    /// What bytes of SiLU are computed with, if nothing but them is computed.
    silu: Option<&'static Ratio>,
}

impl<'a> Targets<'a> {
    fn new(isa: Isa, epilogue: &'a Epilogue, run: &Run) -> Targets<'a> {
        let of = |dtype: DType| epilogue.stores.iter().filter(move |store| store.map.dtype == dtype);
        let linear = |store: &&StoreTo| run.same_rows(&store.map);
        let mut targets = Targets {
            isa,
            floats: None,
            bytes: [None; BYTES],
            rows: [Bytes::NOWHERE; BYTES],
            count: 0,
            any_floats: of(DType::F32).next().is_some(),
            silu: None,
        };
        let mut requantised = false;
        if let Some(StoreTo { quantizer, .. }) = of(DType::U8).next() {
            let is_first = |store: &&StoreTo| store.quantizer == *quantizer;
            let first = of(DType::U8).filter(is_first).find(linear);
            let others = || of(DType::U8).filter(|store| !is_first(store));
            for (i, store) in core::iter::once(first).chain(others().filter(linear).map(Some)).take(BYTES).enumerate() {
                targets.bytes[i] = store;
                targets.rows[i].quantizer = store.map_or(*quantizer, |store| store.quantizer);
                targets.count = i + 1;
            }
            requantised = others().count() >= targets.count;
            targets.any_floats |= requantised;
        }
        targets.floats = of(DType::F32).find(linear).filter(|_| !requantised);
        if !targets.any_floats && epilogue.residual.is_none() && epilogue.activation == Activation::Silu {
            targets.silu = Ratio::of(targets.rows[..targets.count].iter().map(|row| row.quantizer));
        }
        targets
    }
}

impl Epilogue {
    /// Whether [`Epilogue::run_fused`] serves a run: a residual must lie as it does.
    pub(super) fn is_fused(&self, run: &Run) -> bool {
        self.residual.is_none_or(|residual| run.same_rows(&residual.map))
    }

    /// As [`Epilogue::run`], for a run of which [`Epilogue::is_fused`] holds.
    ///
    /// # Safety
    /// As for [`Conv::run_unit`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn run_fused(&self, isa: Isa, conv: &Conv, sums: &Sums<'_>, arena: *mut u8, run: &Run) {
        let mut targets = Targets::new(isa, self, run);
        for (g, group) in sums.groups.iter().enumerate() {
            for (j, &channel) in group.outputs.iter().enumerate() {
                let next = group.outputs.get(j + 1).or_else(|| sums.groups.get(g + 1).or(sums.next)?.outputs.first());
                // SAFETY: the row of output `j` holds the chunk's accumulators, that of bytes quantised values.
                unsafe {
                    let channels = (usize::from(channel), next.map(|&next| usize::from(next)));
                    self.finish_fused(conv, &mut targets, run, channels, arena, (sums.row(conv, g, j), sums.bytes));
                }
            }
        }
    }

    /// Finishes one output. The second of `channels` will be next.
    ///
    /// # Safety
    /// As for [`Epilogue::run_fused`], with the output's accumulators and a row of bytes in `scratch`.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn finish_fused(
        &self,
        conv: &Conv,
        targets: &mut Targets<'_>,
        run: &Run,
        (channel, next): (usize, Option<usize>),
        arena: *mut u8,
        (row, bytes): (*mut f32, *mut u8),
    ) {
        // SAFETY: by the contract; only stores have the rows of the run, as has the residual.
        unsafe {
            let bias = self.bias[channel];
            let floats_at = targets.floats.map_or(row, |store| run.linear(&store.map, channel, arena));
            // Rows of the next output lie as far behind those of this one as its channel does.
            let away = |map: &Map| next.map_or(0, |next| next.wrapping_sub(channel).wrapping_mul(map.plane));
            for (row, store) in targets.rows[..targets.count].iter_mut().zip(&targets.bytes) {
                row.to = store.map_or(bytes, |store| run.linear(&store.map, channel, arena));
                row.next = store.map_or(0, |store| away(&store.map));
            }
            let pass = Pass {
                from: row,
                sum: match conv.arithmetic {
                    Arithmetic::F32 => Sum::Float { bias },
                    Arithmetic::U8S8 => {
                        Sum::Integer { acc_bias: self.acc_bias[channel], scale: self.scale[channel], bias }
                    }
                },
                activation: self.activation,
                residual: self.residual.map(|r| (run.linear::<f32>(&r.map, channel, arena).cast_const(), r.at)),
                floats: targets.any_floats.then_some(floats_at),
                next: targets.floats.zip(next).map(|(store, channel)| run.linear(&store.map, channel, arena)),
                bytes: &targets.rows[..targets.count],
            };
            match (targets.silu, pass.sum) {
                (Some(ratio), Sum::Integer { acc_bias, scale, bias })
                    if (scale.abs() * (1u32 << 31) as f32 + bias.abs()).is_finite() =>
                {
                    pass.run_silu_bytes(targets.isa, ratio, (acc_bias, scale, bias), run.len());
                }
                _ => pass.run(targets.isa, run.len()),
            }
            let is = |target: Option<&StoreTo>, store| target.is_some_and(|target| core::ptr::eq(target, store));
            let written = |store| targets.bytes[..targets.count].iter().any(|&target| is(target, store));
            let first = targets.rows[0];
            let (mut quantised, mut bytes_at) = ((targets.count > 0).then_some(first.quantizer), first.to);
            for store in self.stores.iter() {
                let map = &store.map;
                let floats = || core::slice::from_raw_parts(floats_at, run.len());
                match map.dtype {
                    DType::F32 if is(targets.floats, store) => run.restore_padding(map, channel, arena, 0.0f32),
                    DType::F32 if map.split[1] == 2 => store_halves(run, map, channel, arena, floats()),
                    DType::F32 => run.store_floats(map, channel, arena, floats()),
                    DType::U8 if written(store) => run.restore_padding(map, channel, arena, map.pad_value),
                    DType::U8 => {
                        let linear = run.same_rows(map);
                        if quantised != Some(store.quantizer) {
                            let to = if linear { run.linear(map, channel, arena) } else { bytes };
                            Pass {
                                from: floats_at,
                                sum: Sum::Final,
                                activation: Activation::Identity,
                                residual: None,
                                floats: None,
                                next: None,
                                bytes: &[Bytes { to, quantizer: store.quantizer, next: 0 }],
                            }
                            .run(targets.isa, run.len());
                            if linear {
                                run.restore_padding(map, channel, arena, map.pad_value);
                                continue;
                            }
                            quantised = Some(store.quantizer);
                            bytes_at = bytes;
                        }
                        let bytes = core::slice::from_raw_parts(bytes_at, run.len());
                        if map.split[1] == 2 {
                            store_byte_halves(run, map, channel, arena, bytes);
                        } else {
                            run.store_bytes(map, channel, arena, bytes, &mut []);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
