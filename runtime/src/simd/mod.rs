//! Instruction sets: what this machine has, and the arithmetic the kernels are defined by.

#[cfg(feature = "std")]
mod features;
pub mod math;
#[cfg(feature = "std")]
pub mod peak;
pub mod resample;

/// Whether this machine has a feature; without `std`, whether the target is known to have it.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($feature:tt) => {{
        #[cfg(feature = "std")]
        let has = std::arch::is_x86_feature_detected!($feature);
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = $feature);
        has
    }};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use has;

/// An instruction set that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, any target.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// The same with dot products of bytes in 256 bits: AVX-VNNI, or AVX-512 VL and VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI as well.
    Avx512,
}

impl Isa {
    /// The best instruction set of this machine; without `std`, of the target. `PERISTYLE_ISA=portable` (or `avx2`,
    /// `avxvnni`, `avx512`) lowers it, never raises it.
    pub fn detect() -> Isa {
        let best = Isa::best();
        #[cfg(feature = "std")]
        let best = match std::env::var("PERISTYLE_ISA").as_deref() {
            Ok("portable") => Isa::Portable,
            Ok("avx2") => best.min(Isa::Avx2),
            Ok("avxvnni") => best.min(Isa::AvxVnni),
            _ => best,
        };
        best
    }

    fn best() -> Isa {
        #[cfg(target_arch = "x86_64")]
        if has!("avx2") && has!("fma") {
            let avx512 =
                has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("avx512vnni");
            return match () {
                () if avx512 => Isa::Avx512,
                () if has!("avxvnni") || has!("avx512vl") && has!("avx512vnni") => Isa::AvxVnni,
                () => Isa::Avx2,
            };
        }
        Isa::Portable
    }

    /// Name as `PERISTYLE_ISA` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512 => "avx512",
        }
    }
}

/// Asks for the cache line at `at`, which need not be readable.
#[inline(always)]
pub fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching never faults, and SSE belongs to x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// As [`prefetch`], into the second-level cache only.
#[inline(always)]
pub fn prefetch_second_level(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as in `prefetch`.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// As [`prefetch`], for a line that will be written.
#[inline(always)]
pub fn prefetch_to_write(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        // The intrinsic asks for a line to read where `prfchw` is not known to exist. Processors without it skip it.
        // SAFETY: as in `prefetch`.
        unsafe { core::arch::asm!("prefetchw [{}]", in(reg) at.addr(), options(nomem, nostack, preserves_flags)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Transposes a block of four rows of four elements.
#[inline(always)]
pub fn transpose4(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{__m128, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps};
        // SAFETY: SSE belongs to x86-64; arrays and vectors of four floats have the same layout.
        unsafe {
            let [a, b, c, d] = core::mem::transmute::<[[f32; 4]; 4], [__m128; 4]>(rows);
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            core::mem::transmute::<[__m128; 4], [[f32; 4]; 4]>([
                _mm_movelh_ps(ab, cd),
                _mm_movehl_ps(cd, ab),
                _mm_movelh_ps(ab_high, cd_high),
                _mm_movehl_ps(cd_high, ab_high),
            ])
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        core::array::from_fn(|i| core::array::from_fn(|k| rows[k][i]))
    }
}

/// Defines a method that runs another one, `#[inline(always)]` and in plain Rust, compiled for an instruction set.
///
/// `per_isa! { impl Type { /// docs\n pub unsafe fn run(&self, x: T) => run_with } }` defines
/// `run(&self, isa: Isa, x: T)`. The machine must have `isa`.
macro_rules! per_isa {
    (impl $type:ty { $(#[$doc:meta])* $vis:vis unsafe fn $name:ident(&self $(, $arg:ident: $ty:ty)* $(,)?) => $with:ident }) => {
        impl $type {
            $(#[$doc])*
            $vis unsafe fn $name(&self, isa: $crate::simd::Isa $(, $arg: $ty)*) {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2(this: &$type $(, $arg: $ty)*) {
                    // SAFETY: forwarded.
                    unsafe { this.$with($($arg),*) }
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                unsafe fn avx512(this: &$type $(, $arg: $ty)*) {
                    // SAFETY: forwarded.
                    unsafe { this.$with($($arg),*) }
                }
                // SAFETY: forwarded; the machine has `isa` by the caller's contract.
                unsafe {
                    match isa {
                        #[cfg(target_arch = "x86_64")]
                        $crate::simd::Isa::Avx2 | $crate::simd::Isa::AvxVnni => avx2(self $(, $arg)*),
                        #[cfg(target_arch = "x86_64")]
                        $crate::simd::Isa::Avx512 => avx512(self $(, $arg)*),
                        _ => self.$with($($arg),*),
                    }
                }
            }
        }
    };
}
pub(crate) use per_isa;

#[cfg(test)]
mod tests {
    use super::transpose4;

    #[test]
    fn transpose_swaps_rows_and_columns() {
        let rows = std::array::from_fn(|k| std::array::from_fn(|i| (k * 10 + i) as f32));
        let columns = transpose4(rows);
        assert!((0..4).all(|k| (0..4).all(|i| columns[i][k] == rows[k][i])));
    }
}
