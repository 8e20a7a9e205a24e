//! The epilogue for AVX2 and AVX-512: one pass from accumulators to results, in registers, written where they belong if
//! they can be.

use super::run::Run;
use super::{BLOCK, Epilogue, ResidualAt, StoreTo, Sums};
use crate::engine::DType;
use crate::kernels::Activation;
use crate::kernels::conv::{Arithmetic, Conv};
use crate::kernels::map::Map;
use crate::simd::math::Quantizer;
use crate::simd::math::vector::{Vector, sigmoid_ratio, silu_of_ratio};
use crate::simd::{Isa, prefetch_to_write};
use core::arch::x86_64::*;

/// Vectors computed at once.
const VECTORS: usize = 4;
/// Most byte stores that are quantised at once, besides the first.
const MORE: usize = 3;

/// What is computed of a row of numbers, and where it goes.
#[derive(Clone, Copy)]
struct Pass {
    from: *const f32,
    sum: Sum,
    activation: Activation,
    residual: Option<(*const f32, ResidualAt)>,
    floats: Option<*mut f32>,
    /// Where the next row of floats goes, which is asked for meanwhile.
    next: Option<*mut f32>,
    bytes: Option<Bytes>,
    /// As `bytes`.
    more: [Option<Bytes>; MORE],
}

/// Where a row of bytes goes.
#[derive(Clone, Copy, PartialEq)]
struct Bytes {
    to: *mut u8,
    quantizer: Quantizer,
    /// Bytes from there to where the next row goes, which is asked for meanwhile.
    next: usize,
}

/// What a row of numbers is.
#[derive(Clone, Copy)]
enum Sum {
    /// Results.
    Final,
    /// `f32` sums that lack the bias.
    Float { bias: f32 },
    /// The bits of `i32` sums.
    Integer { acc_bias: i32, scale: f32, bias: f32 },
}

/// Which stores of an epilogue are written at once: the first of its type whose rows are those of the run, and byte
/// stores of other quantisers whose rows are those of the run. The others are copied from the first, or from a row in
/// scratch when there is none; numbers that are quantised later stay in scratch, where whole blocks can be read.
struct Targets<'a> {
    /// What they are computed with.
    isa: Isa,
    floats: Option<&'a StoreTo>,
    bytes: Option<&'a StoreTo>,
    /// That of the first byte store.
    quantizer: Option<Quantizer>,
    /// Byte stores of other quantisers whose rows are those of the run.
    more: [Option<&'a StoreTo>; MORE],
    /// Whether somebody needs numbers.
    any_floats: bool,
}

impl<'a> Targets<'a> {
    fn new(isa: Isa, stores: &'a [StoreTo], run: &Run) -> Targets<'a> {
        let of = |dtype: DType| stores.iter().filter(move |store| store.map.dtype == dtype);
        let quantizer = of(DType::U8).next().map(|store| store.quantizer);
        let others = || of(DType::U8).filter(|store| Some(store.quantizer) != quantizer);
        let linear = |dtype: DType| of(dtype).filter(|store| run.same_rows(&store.map));
        let mut linear_others = others().filter(|store| run.same_rows(&store.map));
        let more = core::array::from_fn(|_| linear_others.next());
        let requantised = others().count() > more.iter().flatten().count();
        Targets {
            isa,
            more,
            floats: linear(DType::F32).next().filter(|_| !requantised),
            bytes: linear(DType::U8).find(|store| Some(store.quantizer) == quantizer),
            quantizer,
            any_floats: requantised || of(DType::F32).next().is_some(),
        }
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
        let targets = Targets::new(isa, &self.stores, run);
        for (g, group) in sums.groups.iter().enumerate() {
            for (j, &channel) in group.outputs.iter().enumerate() {
                let next = group.outputs.get(j + 1).or_else(|| sums.groups.get(g + 1).or(sums.next)?.outputs.first());
                // SAFETY: the row of output `j` holds the chunk's accumulators, that of bytes quantised values.
                unsafe {
                    let channels = (usize::from(channel), next.map(|&next| usize::from(next)));
                    self.finish_fused(conv, &targets, run, channels, arena, (sums.row(conv, g, j), sums.bytes));
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
        targets: &Targets<'_>,
        run: &Run,
        (channel, next): (usize, Option<usize>),
        arena: *mut u8,
        (row, bytes): (*mut f32, *mut u8),
    ) {
        // SAFETY: by the contract; only stores have the rows of the run, as has the residual.
        unsafe {
            let bias = self.bias[channel];
            let floats_at = targets.floats.map_or(row, |store| run.linear(&store.map, channel, arena));
            let mut bytes_at = targets.bytes.map_or(bytes, |store| run.linear(&store.map, channel, arena));
            // Rows of the next output lie as far behind those of this one as its channel does.
            let away = |map: &Map| next.map_or(0, |next| next.wrapping_sub(channel).wrapping_mul(map.plane));
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
                bytes: targets.quantizer.map(|quantizer| {
                    let next = targets.bytes.map_or(0, |store| away(&store.map));
                    Bytes { to: bytes_at, quantizer, next }
                }),
                more: targets.more.map(|store| {
                    let StoreTo { map, quantizer } = store?;
                    Some(Bytes { to: run.linear(map, channel, arena), quantizer: *quantizer, next: away(map) })
                }),
            };
            pass.run(targets.isa, run.len());
            let is = |target: Option<&StoreTo>, store| target.is_some_and(|target| core::ptr::eq(target, store));
            let mut quantised = targets.quantizer;
            let written = |store| is(targets.bytes, store) || targets.more.iter().any(|&target| is(target, store));
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
                                bytes: Some(Bytes { to, quantizer: store.quantizer, next: 0 }),
                                more: [None; MORE],
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

impl Pass {
    /// Computes `len` elements.
    ///
    /// # Safety
    /// Whole blocks of the epilogue must be readable at `from`; the rest must have `len` elements. The machine has AVX2 or,
    /// if `isa` says so, AVX-512.
    unsafe fn run(self, isa: Isa, len: usize) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(pass: Pass, len: usize) {
            // SAFETY: forwarded.
            unsafe { pass.run_with::<__m256, { VECTORS * <__m256 as Vector>::LANES }>(len) }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512(pass: Pass, len: usize) {
            // SAFETY: forwarded.
            unsafe { pass.run_with::<__m512, { VECTORS * <__m512 as Vector>::LANES }>(len) }
        }
        // SAFETY: forwarded.
        unsafe {
            match isa {
                Isa::Avx512 => avx512(self, len),
                _ => avx2(self, len),
            }
        }
    }

    /// # Safety
    /// As for [`Pass::run`], inlined into what has the instruction set of the vectors.
    #[inline(always)]
    unsafe fn run_with<V: Vector, const LANES: usize>(self, len: usize) {
        // SAFETY: forwarded.
        unsafe {
            match self.activation {
                Activation::Silu if self.more == [None; MORE] => self.blocks::<V, LANES, true, false>(len),
                Activation::Silu => self.blocks::<V, LANES, true, true>(len),
                _ => self.blocks::<V, LANES, false, true>(len),
            }
        }
    }

    /// Computes `len` elements, block by block.
    ///
    /// The chain of operations of a `SILU` block is longer than what a processor sees ahead of it: a block is begun before
    /// the one before it is ended, by way of memory, so that the two chains run side by side. `ALL` writes more than one
    /// store of bytes.
    ///
    /// # Safety
    /// As for [`Pass::run_with`].
    #[inline(always)]
    unsafe fn blocks<V: Vector, const LANES: usize, const SILU: bool, const ALL: bool>(self, len: usize) {
        const { assert!(LANES == VECTORS * V::LANES && BLOCK.is_multiple_of(LANES)) };
        // Of the last block, a part of one, these stand in for what must not be accessed behind a row.
        let (mut addends, mut floats) = ([0f32; LANES], [0f32; LANES]);
        let (mut bytes, mut more) = ([0u8; LANES], [[0u8; LANES]; MORE]);
        let (blocks, rest) = (len.div_ceil(LANES), len % LANES);
        // SAFETY: whole blocks lie within the rows, `rest` elements of each are left at `len - rest`.
        unsafe {
            if let Some((from, _)) = self.residual {
                from.add(len - rest).copy_to_nonoverlapping(addends.as_mut_ptr(), rest);
            }
            let mut begun = [[[V::splat(0.0); VECTORS]; 2]; 2];
            for step in 0..blocks + usize::from(SILU) {
                if step < blocks {
                    begun[step % 2] = self.start::<V, LANES, SILU>(step, len, &addends);
                }
                if SILU && step == 0 {
                    continue;
                }
                let step = step - usize::from(SILU);
                let at = step * LANES;
                let whole = at + LANES <= len;
                let [x, y] = begun[step % 2];
                let mut lanes = if SILU { silu_of_ratio(x, y) } else { self.activate::<V, LANES>(x) };
                if let Some((from, ResidualAt::AfterActivation)) = self.residual {
                    lanes = add(lanes, load(if whole { from.add(at) } else { addends.as_ptr() }));
                }
                if let Some(next) = self.next {
                    for line in (0..LANES).step_by(16) {
                        prefetch_to_write(next.wrapping_add(at + line).cast());
                    }
                }
                if let Some(to) = self.floats {
                    store(lanes, if whole { to.add(at) } else { floats.as_mut_ptr() });
                }
                if let Some(Bytes { to, quantizer, next }) = &self.bytes {
                    prefetch_to_write(to.wrapping_add(at.wrapping_add(*next)));
                    quantizer.quantize_to(lanes, if whole { to.add(at) } else { bytes.as_mut_ptr() });
                }
                if ALL {
                    for (Bytes { to, quantizer, next }, bytes) in self.more.iter().flatten().zip(&mut more) {
                        prefetch_to_write(to.wrapping_add(at.wrapping_add(*next)));
                        quantizer.quantize_to(lanes, if whole { to.add(at) } else { bytes.as_mut_ptr() });
                    }
                }
            }
            if rest == 0 {
                return;
            }
            if let Some(to) = self.floats {
                floats.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
            }
            if let Some(Bytes { to, .. }) = self.bytes {
                bytes.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
            }
            for (Bytes { to, .. }, bytes) in self.more.iter().flatten().zip(&more) {
                bytes.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
            }
        }
    }

    /// A block before its activation, and what SiLU begins with.
    ///
    /// # Safety
    /// As for [`Pass::run_with`]; `addends` stand in for a last block's.
    #[inline(always)]
    unsafe fn start<V: Vector, const LANES: usize, const SILU: bool>(
        &self,
        block: usize,
        len: usize,
        addends: &[f32; LANES],
    ) -> [[V; VECTORS]; 2] {
        let at = block * LANES;
        // SAFETY: forwarded.
        unsafe {
            let mut x = load::<V>(self.from.add(at));
            for x in &mut x {
                match self.sum {
                    Sum::Final => {}
                    Sum::Float { bias } => *x = x.add(V::splat(bias)),
                    Sum::Integer { acc_bias, scale, bias } => {
                        let sum = x.integer_sum(V::splat_integer(acc_bias));
                        *x = sum.mul_add(V::splat(scale), V::splat(bias));
                    }
                }
            }
            if let Some((from, ResidualAt::BeforeActivation)) = self.residual {
                x = add(x, load(if at + LANES <= len { from.add(at) } else { addends.as_ptr() }));
            }
            [x, if SILU { sigmoid_ratio(x) } else { x }]
        }
    }

    /// The activation of a block, when it is not SiLU.
    ///
    /// # Safety
    /// As for [`Pass::run_with`].
    #[inline(always)]
    unsafe fn activate<V: Vector, const LANES: usize>(&self, x: [V; VECTORS]) -> [V; VECTORS] {
        if self.activation == Activation::Identity {
            return x;
        }
        let mut xs = [0f32; LANES];
        // SAFETY: there are as many elements.
        unsafe {
            store(x, xs.as_mut_ptr());
            self.activation.apply(&mut xs, |x| x);
            load(xs.as_ptr())
        }
    }
}

/// Puts the quarters of a vector in order after a shuffle, which works in halves.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn in_order(v: __m256) -> __m256 {
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(_mm256_castps_pd(v)))
}

/// Writes a run of numbers to a map with two column phases, and asks for where those of the next channel go.
///
/// # Safety
/// As for [`Run::store_floats`].
#[target_feature(enable = "avx2,fma")]
unsafe fn store_halves(run: &Run, map: &Map, channel: usize, arena: *mut u8, values: &[f32]) {
    const PAIRS: usize = 8;
    for (y, x, part) in run.rows() {
        let values = &values[part];
        // SAFETY: by the contract; the pixels of a row that have the phase of the first lie side by side, and so do the
        // others.
        unsafe {
            let base = map.ptr::<f32>(arena);
            let first = base.add(map.index(channel, y, x));
            let second = base.add(map.index(channel, y, x + 1));
            let next = map.split[0] * map.split[1] * map.plane;
            let (whole, rest) = values.as_chunks::<{ 2 * PAIRS }>();
            for (i, values) in whole.iter().enumerate() {
                let (a, b) = (_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(PAIRS)));
                let (even, odd) = (_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xdd>(a, b));
                for (to, values) in [(first, even), (second, odd)] {
                    let to = to.add(i * PAIRS);
                    _mm256_storeu_ps(to, in_order(values));
                    prefetch_to_write(to.wrapping_add(next).cast());
                }
            }
            let mut at = whole.len() * PAIRS;
            let (half, rest) = rest.as_chunks::<PAIRS>();
            for values in half {
                let v = _mm256_loadu_ps(values.as_ptr());
                _mm_storeu_ps(first.add(at), _mm256_castps256_ps128(in_order(_mm256_shuffle_ps::<0x88>(v, v))));
                _mm_storeu_ps(second.add(at), _mm256_castps256_ps128(in_order(_mm256_shuffle_ps::<0xdd>(v, v))));
                at += PAIRS / 2;
            }
            for (i, &value) in rest.iter().enumerate() {
                [first, second][i % 2].add(at + i / 2).write(value);
            }
        }
    }
}

/// Writes a run of bytes to a map with two column phases.
///
/// # Safety
/// As for [`Run::store_bytes`].
#[target_feature(enable = "avx2,fma")]
unsafe fn store_byte_halves(run: &Run, map: &Map, channel: usize, arena: *mut u8, bytes: &[u8]) {
    // In either half of a vector: bytes of even positions, then those of odd ones.
    let parted = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    let parted_twice = _mm256_broadcastsi128_si256(parted);
    for (y, x, part) in run.rows() {
        let (from, len) = (bytes[part.clone()].as_ptr(), part.len());
        // SAFETY: by the contract; the pixels of a row that have the phase of the first lie side by side, and so do the
        // others. Blocks start at even positions and end at the last byte at most.
        unsafe {
            let base = map.ptr::<u8>(arena);
            let first = base.add(map.index(channel, y, x));
            let second = base.add(map.index(channel, y, x + 1));
            let next = map.split[0] * map.split[1] * map.plane;
            let block_of_32 = |at: usize| {
                let v = _mm256_shuffle_epi8(_mm256_loadu_si256(from.add(at).cast()), parted_twice);
                let v = _mm256_permute4x64_epi64::<0b11_01_10_00>(v);
                _mm_storeu_si128(first.add(at / 2).cast(), _mm256_castsi256_si128(v));
                _mm_storeu_si128(second.add(at / 2).cast(), _mm256_extracti128_si256::<1>(v));
                prefetch_to_write(first.wrapping_add(at / 2 + next));
                prefetch_to_write(second.wrapping_add(at / 2 + next));
            };
            let block_of_16 = |at: usize| {
                let v = _mm_shuffle_epi8(_mm_loadu_si128(from.add(at).cast()), parted);
                _mm_storel_epi64(first.add(at / 2).cast(), v);
                _mm_storel_epi64(second.add(at / 2).cast(), _mm_unpackhi_epi64(v, v));
            };
            // The last block may overlap the one before.
            let mut done = 0;
            if len >= 32 {
                done = len & !1;
                (0..done - 32).step_by(32).for_each(block_of_32);
                block_of_32(done - 32);
            } else if len >= 16 {
                done = len & !1;
                block_of_16(0);
                block_of_16(done - 16);
            }
            for i in done..len {
                [first, second][i % 2].add(i / 2).write(*from.add(i));
            }
        }
    }
}

/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn load<V: Vector>(from: *const f32) -> [V; VECTORS] {
    let at = |i| from.wrapping_add(i * V::LANES);
    // SAFETY: forwarded.
    unsafe { [V::load(at(0)), V::load(at(1)), V::load(at(2)), V::load(at(3))] }
}

/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn store<V: Vector>(lanes: [V; VECTORS], to: *mut f32) {
    for (i, x) in lanes.into_iter().enumerate() {
        // SAFETY: forwarded.
        unsafe { x.store(to.add(i * V::LANES)) };
    }
}

/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn add<V: Vector>(mut xs: [V; VECTORS], ys: [V; VECTORS]) -> [V; VECTORS] {
    for (x, y) in xs.iter_mut().zip(ys) {
        // SAFETY: forwarded.
        *x = unsafe { x.add(y) };
    }
    xs
}

#[cfg(test)]
mod tests;
