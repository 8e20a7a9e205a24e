//! One pass over a row of numbers: sum, activation, residual and results, in vectors.

use crate::kernels::Activation;
use crate::kernels::conv::epilogue::{BLOCK, ResidualAt};
use crate::simd::math::Quantizer;
use crate::simd::math::vector::{Vector, sigmoid_ratio, silu_of_ratio};
use crate::simd::{Isa, prefetch_to_write};
use core::arch::x86_64::*;

/// Vectors computed at once.
pub(super) const VECTORS: usize = 4;
/// Most byte stores that are quantised at once.
pub(super) const BYTES: usize = 4;

/// What is computed of a row of numbers, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) from: *const f32,
    pub(super) sum: Sum,
    pub(super) activation: Activation,
    pub(super) residual: Option<(*const f32, ResidualAt)>,
    pub(super) floats: Option<*mut f32>,
    /// Where the next row of floats goes, which is asked for meanwhile.
    pub(super) next: Option<*mut f32>,
    /// Up to [`BYTES`] rows.
    pub(super) bytes: &'a [Bytes],
}

/// Where a row of bytes goes.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Bytes {
    pub(super) to: *mut u8,
    pub(super) quantizer: Quantizer,
    /// Bytes from there to where the next row goes, which is asked for meanwhile.
    pub(super) next: usize,
}

impl Bytes {
    /// What rows are before they are told where they go.
    pub(super) const NOWHERE: Bytes = Bytes { to: core::ptr::null_mut(), quantizer: Quantizer::new(1.0, 0), next: 0 };
}

/// What a row of numbers is.
#[derive(Clone, Copy)]
pub(super) enum Sum {
    /// Results.
    Final,
    /// `f32` sums that lack the bias.
    Float { bias: f32 },
    /// The bits of `i32` sums.
    Integer { acc_bias: i32, scale: f32, bias: f32 },
}

impl Pass<'_> {
    /// Computes `len` elements.
    ///
    /// # Safety
    /// Whole blocks of the epilogue must be readable at `from`; the rest must have `len` elements. The machine has AVX2 or,
    /// if `isa` says so, AVX-512.
    pub(super) unsafe fn run(&self, isa: Isa, len: usize) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(pass: &Pass<'_>, len: usize) {
            // SAFETY: forwarded.
            unsafe { pass.run_with::<__m256, { VECTORS * <__m256 as Vector>::LANES }>(len) }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512(pass: &Pass<'_>, len: usize) {
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
    unsafe fn run_with<V: Vector, const LANES: usize>(&self, len: usize) {
        // SAFETY: forwarded.
        unsafe {
            match self.activation {
                Activation::Silu if self.bytes.len() <= 1 => self.blocks::<V, LANES, true, false>(len),
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
    unsafe fn blocks<V: Vector, const LANES: usize, const SILU: bool, const ALL: bool>(&self, len: usize) {
        const { assert!(LANES == VECTORS * V::LANES && BLOCK.is_multiple_of(LANES)) };
        // Of the last block, a part of one, these stand in for what must not be accessed behind a row.
        let (mut addends, mut floats) = ([0f32; LANES], [0f32; LANES]);
        let mut last = [[0u8; LANES]; BYTES];
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
                let mut rows = self.bytes.iter().zip(&mut last);
                if let Some((Bytes { to, quantizer, next }, last)) = rows.next() {
                    prefetch_to_write(to.wrapping_add(at.wrapping_add(*next)));
                    quantizer.quantize_to(lanes, if whole { to.add(at) } else { last.as_mut_ptr() });
                }
                if ALL {
                    for (Bytes { to, quantizer, next }, last) in rows {
                        prefetch_to_write(to.wrapping_add(at.wrapping_add(*next)));
                        quantizer.quantize_to(lanes, if whole { to.add(at) } else { last.as_mut_ptr() });
                    }
                }
            }
            if rest == 0 {
                return;
            }
            if let Some(to) = self.floats {
                floats.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
            }
            for (Bytes { to, .. }, last) in self.bytes.iter().zip(&last) {
                last.as_ptr().copy_to_nonoverlapping(to.add(len - rest), rest);
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

/// # Safety
/// As for [`Vector`].
#[inline(always)]
pub(super) unsafe fn load<V: Vector>(from: *const f32) -> [V; VECTORS] {
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
