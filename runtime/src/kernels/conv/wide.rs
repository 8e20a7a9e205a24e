//! What kernels for AVX-512 share.

use core::arch::x86_64::*;

/// Four words at `from` in every quarter of a vector, to be spread within quarters.
///
/// One load for four weights: where a kernel loads a vector for every product, loads bind, and shuffles do not. The
/// compiler would load each of them again if it knew where the vector comes from.
///
/// # Safety
/// The words are readable, and the machine has AVX-512F.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn broadcast4(from: *const f32) -> __m512 {
    // SAFETY: by the contract; the template is a comment and computes nothing.
    unsafe {
        let mut words = _mm512_broadcast_f32x4(_mm_loadu_ps(from));
        core::arch::asm!("/* {0} */", inout(zmm_reg) words, options(pure, nomem, nostack, preserves_flags));
        words
    }
}
