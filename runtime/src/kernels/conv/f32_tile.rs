//! The register tile of dense `f32` products with AVX2: four outputs by three vectors take all sixteen registers.

use core::arch::asm;
use core::arch::x86_64::__m256;

/// Outputs of the tile.
const OUTPUTS: usize = 4;
/// Vectors of the tile.
const VECTORS: usize = 3;

/// Adds the products of `rows` rows and the four weights that follow each other for every row to the sums. As intrinsics,
/// the compiler unrolls this loop until it is a register short, and keeps a sum in memory.
///
/// # Safety
/// There is a row; `rows` rows of three vectors lie `pitch` elements apart at `data`, with four weights for each; the
/// machine has AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn add_rows(
    sums: &mut [[__m256; VECTORS]; OUTPUTS],
    weights: *const f32,
    data: *const f32,
    rows: usize,
    pitch: usize,
) {
    let [s0, s1, s2, s3] = sums;
    // SAFETY: by the contract; the loop reads data and weights, and ends at the last row.
    unsafe {
        asm!(
            "2:",
            "vmovups ymm12, [{x}]",
            "vmovups ymm13, [{x} + 32]",
            "vmovups ymm14, [{x} + 64]",
            "vbroadcastss ymm15, [{w}]",
            "vfmadd231ps ymm0, ymm15, ymm12",
            "vfmadd231ps ymm1, ymm15, ymm13",
            "vfmadd231ps ymm2, ymm15, ymm14",
            "vbroadcastss ymm15, [{w} + 4]",
            "vfmadd231ps ymm3, ymm15, ymm12",
            "vfmadd231ps ymm4, ymm15, ymm13",
            "vfmadd231ps ymm5, ymm15, ymm14",
            "vbroadcastss ymm15, [{w} + 8]",
            "vfmadd231ps ymm6, ymm15, ymm12",
            "vfmadd231ps ymm7, ymm15, ymm13",
            "vfmadd231ps ymm8, ymm15, ymm14",
            "vbroadcastss ymm15, [{w} + 12]",
            "vfmadd231ps ymm9, ymm15, ymm12",
            "vfmadd231ps ymm10, ymm15, ymm13",
            "vfmadd231ps ymm11, ymm15, ymm14",
            "add {x}, {pitch}",
            "add {w}, 16",
            "dec {n}",
            "jnz 2b",
            x = inout(reg) data => _,
            w = inout(reg) weights => _,
            n = inout(reg) rows => _,
            pitch = in(reg) pitch * 4,
            inout("ymm0") s0[0],
            inout("ymm1") s0[1],
            inout("ymm2") s0[2],
            inout("ymm3") s1[0],
            inout("ymm4") s1[1],
            inout("ymm5") s1[2],
            inout("ymm6") s2[0],
            inout("ymm7") s2[1],
            inout("ymm8") s2[2],
            inout("ymm9") s3[0],
            inout("ymm10") s3[1],
            inout("ymm11") s3[2],
            out("ymm12") _,
            out("ymm13") _,
            out("ymm14") _,
            out("ymm15") _,
            options(nostack, readonly),
        );
    }
}
