//! `f32_spconv_4x24_unrolled`: one broadcast and three fused multiply-adds per nonzero.
//!
//! `ymm0-11` accumulators, `ymm12-14` the input row when several outputs use it (else it is a memory operand),
//! `ymm15` the weight.

use super::Weights;
use peristyle_runtime::kernels::conv::f32_spconv::{GROUP, TILE};
use peristyle_runtime::kernels::conv::{Conv, Group};
use std::fmt::Write;

/// Macros that the functions are written in, for output `J` of a group: `ROW a` loads a row; `MULJ d` multiplies it
/// by the weight at `d` and adds to the sum of output `J`; `ONEJ a,d` does so with the row as memory operand.
pub fn macros() -> String {
    let mut text = String::from(
        ".macro ROW a\nvmovups \\a(%rdi),%ymm12\nvmovups \\a+32(%rdi),%ymm13\nvmovups \\a+64(%rdi),%ymm14\n.endm\n",
    );
    for j in 0..GROUP {
        let [a, b, c] = [j * 3, j * 3 + 1, j * 3 + 2];
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            ".macro MUL{j} d\nvbroadcastss \\d(%rax),%ymm15\nvfmadd231ps %ymm12,%ymm15,%ymm{a}\nvfmadd231ps %ymm13,%ymm15,%ymm{b}\nvfmadd231ps %ymm14,%ymm15,%ymm{c}\n.endm\n\
             .macro ONE{j} a,d\nvbroadcastss \\d(%rax),%ymm15\nvfmadd231ps \\a(%rdi),%ymm15,%ymm{a}\nvfmadd231ps \\a+32(%rdi),%ymm15,%ymm{b}\nvfmadd231ps \\a+64(%rdi),%ymm15,%ymm{c}\n.endm\n"
        );
    }
    text
}

/// Appends the body of one group's function.
pub fn emit(text: &mut String, conv: &Conv, group: &Group) {
    let outputs = group.outputs.len();
    text.push_str("1:\n");
    for register in 0..outputs * 3 {
        let _ = writeln!(text, "vxorps %xmm{register},%xmm{register},%xmm{register}");
    }
    let mut weights = Weights::start(text, 4);
    let mut offset = group.offset as usize;
    for segment in conv.table.segments(group) {
        for _ in 0..segment.count {
            let at = conv.table.offsets[offset];
            offset += 1;
            let shared = segment.mask.count_ones() > 1;
            if shared {
                let _ = writeln!(text, "ROW {at}");
            }
            for j in (0..outputs).filter(|j| segment.mask & (1 << j) != 0) {
                let displacement = weights.next(text);
                let _ = if shared {
                    writeln!(text, "MUL{j} {displacement}")
                } else {
                    writeln!(text, "ONE{j} {at},{displacement}")
                };
            }
        }
    }
    let stride = conv.accumulator_stride() * 4;
    for j in 0..outputs {
        for t in 0..3 {
            let _ = writeln!(text, "vmovups %ymm{},{}(%rsi)", j * 3 + t, j * stride + t * 32);
        }
    }
    let bytes = TILE * 4;
    let _ = writeln!(text, "add ${bytes},%rdi\nadd ${bytes},%rsi\ndec %rcx\njnz 1b\nvzeroupper\nret");
}
