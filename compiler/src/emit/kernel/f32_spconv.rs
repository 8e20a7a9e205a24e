//! `f32_spconv_4x24_unrolled`: one broadcast and three fused multiply-adds per nonzero.
//!
//! `ymm0-11` accumulators, `ymm12-14` the input row when several outputs use it (else it is a memory operand),
//! `ymm15` the weight.

use super::Weights;
use peristyle_runtime::kernels::conv::{Conv, Group, f32_spconv::TILE};
use std::fmt::Write;

/// Appends the body of one group's function.
pub fn emit(text: &mut String, conv: &Conv, group: &Group) {
    let outputs = group.outputs.len();
    text.push_str("1:\n");
    for register in 0..outputs * 3 {
        let _ = writeln!(text, "vxorps %xmm{register},%xmm{register},%xmm{register}");
    }
    let mut weights = Weights::start(text);
    let mut offset = group.offset as usize;
    for segment in conv.table.segments(group) {
        for _ in 0..segment.count {
            let at = conv.table.offsets[offset];
            offset += 1;
            let shared = segment.mask.count_ones() > 1;
            if shared {
                for t in 0..3 {
                    let _ = writeln!(text, "vmovups {}(%rdi),%ymm{}", at + t * 32, 12 + t);
                }
            }
            for j in (0..outputs).filter(|j| segment.mask & (1 << j) != 0) {
                let displacement = weights.next(text);
                let _ = writeln!(text, "vbroadcastss {displacement}(%rax),%ymm15");
                for t in 0..3 {
                    let sum = j * 3 + t as usize;
                    let _ = if shared {
                        writeln!(text, "vfmadd231ps %ymm{},%ymm15,%ymm{sum}", 12 + t)
                    } else {
                        writeln!(text, "vfmadd231ps {}(%rdi),%ymm15,%ymm{sum}", at + t * 32)
                    };
                }
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
