//! Panels with AVX2.

use super::{BLOCKS, PASS, Pass, QUAD, Segment};
use core::arch::x86_64::*;

/// # Safety
/// As for [`super::pack`]; the machine must have AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn pack(offsets: &[i32], x: *const u8, to: *mut u8) {
    let mut to = to.cast::<__m256i>();
    for offsets in offsets.chunks_exact(QUAD) {
        // SAFETY: by the contract.
        unsafe {
            let a = x.offset(offsets[0] as isize).cast::<__m256i>();
            let b = x.offset(offsets[1] as isize).cast::<__m256i>();
            let c = x.offset(offsets[2] as isize).cast::<__m256i>();
            let d = x.offset(offsets[3] as isize).cast::<__m256i>();
            _mm_prefetch::<_MM_HINT_T1>(a.wrapping_add(2).cast());
            _mm_prefetch::<_MM_HINT_T1>(b.wrapping_add(2).cast());
            _mm_prefetch::<_MM_HINT_T1>(c.wrapping_add(2).cast());
            _mm_prefetch::<_MM_HINT_T1>(d.wrapping_add(2).cast());
            for half in 0..PASS / 32 {
                let (a, b) = (_mm256_loadu_si256(a.add(half)), _mm256_loadu_si256(b.add(half)));
                let (c, d) = (_mm256_loadu_si256(c.add(half)), _mm256_loadu_si256(d.add(half)));
                let (ab, ab_high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
                let (cd, cd_high) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
                // Pixels 0 to 3 and 16 to 19 in the first, 4 to 7 and 20 to 23 in the second, ...
                let (p, q) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
                let (r, s) = (_mm256_unpacklo_epi16(ab_high, cd_high), _mm256_unpackhi_epi16(ab_high, cd_high));
                _mm256_store_si256(to, _mm256_permute2x128_si256::<0x20>(p, q));
                _mm256_store_si256(to.add(1), _mm256_permute2x128_si256::<0x20>(r, s));
                _mm256_store_si256(to.add(2), _mm256_permute2x128_si256::<0x31>(p, q));
                _mm256_store_si256(to.add(3), _mm256_permute2x128_si256::<0x31>(r, s));
                to = to.add(4);
            }
        }
    }
}

/// # Safety
/// As for [`super::run_pass`]; the machine must have AVX2.
pub unsafe fn run(pass: &Pass<'_>) {
    let outputs = pass.segments.len() / BLOCKS.len();
    if outputs > 0 {
        let (segments, add) = (pass.segments.as_ptr(), usize::from(pass.add));
        // SAFETY: forwarded.
        unsafe { sums_1x64(segments, pass.panel, pass.sums, pass.stride * 4, outputs, pass.weights, add) };
    }
}

const _: () = assert!(PASS == 64 && size_of::<Segment>() == 4 && BLOCKS.len() == 7);

/// Sums of the outputs of a unit, whose places lie `stride` bytes apart, added to what is there unless `add` is 0.
///
/// # Safety
/// As for [`run`]; `outputs` is positive.
#[unsafe(naked)]
unsafe extern "sysv64" fn sums_1x64(
    segments: *const Segment,
    panel: *const u8,
    sums: *mut i32,
    stride: usize,
    outputs: usize,
    weights: *const u32,
    add: usize,
) {
    core::arch::naked_asm!(include_str!("quads.s"), options(att_syntax, raw))
}
