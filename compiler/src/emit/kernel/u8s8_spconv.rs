//! `u8s8_spconv_4x32_unrolled`: shared pairs, one broadcast and two multiply-adds per pair and output.
//!
//! `ymm0` temporary, `ymm1` weights, `ymm2-3` the interleaved rows, `ymm4-11` low sums (two vectors per output),
//! `ymm15` the mask of low bytes; high sums on the stack. Sums carry exactly as the table kernel documents, but every
//! output by itself: just before its low sum could leave 16 bits.

use super::Weights;
use peristyle_runtime::kernels::conv::u8s8_spconv::{GROUP, SEGMENT_NEGATIVE, SEGMENT_POSITIVE, TILE};
use peristyle_runtime::kernels::conv::{Conv, Group};
use std::fmt::Write;

const LOW: usize = 4;

/// Macros that the functions are written in, for output `J` of a group:
/// `PAIR a,b` loads and interleaves two rows; `SETJ d` starts the sum of output `J` with the weights at `d`, `ADDJ d`
/// adds to it; `CARRYJ` moves its high bytes to the high sum for the first time, `MOREJ` after that.
pub fn macros() -> String {
    let mut text = String::from(
        ".macro PAIR a,b\nvmovdqu \\a(%rdi),%ymm3\nvpunpcklbw \\b(%rdi),%ymm3,%ymm2\nvpunpckhbw \\b(%rdi),%ymm3,%ymm3\n.endm\n",
    );
    for j in 0..GROUP {
        let (first, second) = (LOW + j * 2, LOW + j * 2 + 1);
        let (high, higher) = (j * 64, j * 64 + 32);
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            ".macro SET{j} d\nvpbroadcastd \\d(%rax),%ymm1\nvpmaddubsw %ymm1,%ymm2,%ymm{first}\nvpmaddubsw %ymm1,%ymm3,%ymm{second}\n.endm\n\
             .macro ADD{j} d\nvpbroadcastd \\d(%rax),%ymm1\nvpmaddubsw %ymm1,%ymm2,%ymm0\nvpaddw %ymm0,%ymm{first},%ymm{first}\nvpmaddubsw %ymm1,%ymm3,%ymm0\nvpaddw %ymm0,%ymm{second},%ymm{second}\n.endm\n\
             .macro CARRY{j}\nvpsraw $8,%ymm{first},%ymm0\nvmovdqa %ymm0,{high}(%rsp)\nvpand %ymm15,%ymm{first},%ymm{first}\nvpsraw $8,%ymm{second},%ymm0\nvmovdqa %ymm0,{higher}(%rsp)\nvpand %ymm15,%ymm{second},%ymm{second}\n.endm\n\
             .macro MORE{j}\nvpsraw $8,%ymm{first},%ymm0\nvpaddw {high}(%rsp),%ymm0,%ymm0\nvmovdqa %ymm0,{high}(%rsp)\nvpand %ymm15,%ymm{first},%ymm{first}\nvpsraw $8,%ymm{second},%ymm0\nvpaddw {higher}(%rsp),%ymm0,%ymm0\nvmovdqa %ymm0,{higher}(%rsp)\nvpand %ymm15,%ymm{second},%ymm{second}\n.endm\n"
        );
    }
    text
}

/// State of one output's sum while code is emitted.
#[derive(Clone, Copy, Default)]
struct Sum {
    /// The low sum holds something.
    started: bool,
    /// The high sum holds something.
    carried: bool,
    /// Positive and negative weights since the last carry.
    positive: i32,
    negative: i32,
}

/// Appends the body of one group's function.
pub fn emit(text: &mut String, conv: &Conv, group: &Group) {
    let outputs = group.outputs.len();
    let frame = outputs * 64;
    let _ = writeln!(text, "push %rbp\nmov %rsp,%rbp\nsub ${frame},%rsp\nand $-64,%rsp");
    text.push_str("vpcmpeqw %ymm15,%ymm15,%ymm15\nvpsrlw $8,%ymm15,%ymm15\n1:\n");
    let mut weights = Weights::start(text);
    let mut sums = vec![Sum::default(); outputs];
    let mut spilled = false;
    let (mut offset, mut word) = (group.offset as usize, group.weight as usize);
    for segment in conv.table.segments(group) {
        for _ in 0..segment.count {
            let (a, b) = (conv.table.offsets[offset], conv.table.offsets[offset + 1]);
            offset += 2;
            let _ = writeln!(text, "PAIR {a},{b}");
            for j in (0..outputs).filter(|j| segment.mask & (1 << j) != 0) {
                multiply_add(text, &mut sums[j], j, conv.table.weights[word], &mut weights);
                word += 1;
            }
        }
        if segment.spill != 0 {
            for (j, sum) in sums.iter_mut().enumerate() {
                store(text, *sum, j, conv.accumulator_stride() * 4, spilled);
                *sum = Sum::default();
            }
            spilled = true;
        }
    }
    for (j, sum) in sums.iter().enumerate() {
        store(text, *sum, j, conv.accumulator_stride() * 4, spilled);
    }
    let _ = writeln!(text, "add ${TILE},%rdi\nadd ${},%rsi\ndec %rcx\njnz 1b\nvzeroupper\nleave\nret", TILE * 4);
}

fn multiply_add(text: &mut String, sum: &mut Sum, j: usize, word: u32, weights: &mut Weights) {
    let (a, b) = (i32::from(word as i8), i32::from((word >> 8) as i8));
    let (positive, negative) = (a.max(0) + b.max(0), -(a.min(0) + b.min(0)));
    if sum.positive + positive > SEGMENT_POSITIVE || sum.negative + negative > SEGMENT_NEGATIVE {
        let _ = writeln!(text, "{}{j}", if sum.carried { "MORE" } else { "CARRY" });
        (sum.carried, sum.positive, sum.negative) = (true, 0, 0);
    }
    sum.positive += positive;
    sum.negative += negative;
    let displacement = weights.next(text);
    let _ = writeln!(text, "{}{j} {displacement}", if sum.started { "ADD" } else { "SET" });
    sum.started = true;
}

/// Writes, or adds, the 32-bit sums of output `j`.
fn store(text: &mut String, sum: Sum, j: usize, stride: usize, add: bool) {
    for t in 0..2 {
        let (low, high) = (LOW + j * 2 + t, (j * 2 + t) * 32);
        if !sum.started {
            let _ = writeln!(text, "vpxor %xmm{low},%xmm{low},%xmm{low}");
        }
        let _ = writeln!(text, "vpsraw $8,%ymm{low},%ymm0");
        if sum.carried {
            let _ = writeln!(text, "vpaddw {high}(%rsp),%ymm0,%ymm0");
        }
        let _ = writeln!(text, "vpsllw $8,%ymm{low},%ymm{low}");
        let _ = writeln!(text, "vpunpcklwd %ymm0,%ymm{low},%ymm1\nvpunpckhwd %ymm0,%ymm{low},%ymm{low}");
        let _ = writeln!(text, "vpsrad $8,%ymm1,%ymm1\nvpsrad $8,%ymm{low},%ymm{low}");
        for (register, pixel) in [(1, 0), (low, 4)] {
            let at = j * stride + (pixel + t * 8) * 4;
            let _ = writeln!(text, "vextracti128 $1,%ymm{register},%xmm0");
            if add {
                let _ = writeln!(text, "vpaddd {at}(%rsi),%xmm{register},%xmm{register}");
                let _ = writeln!(text, "vpaddd {}(%rsi),%xmm0,%xmm0", at + 64);
            }
            let _ = writeln!(text, "vmovdqu %xmm{register},{at}(%rsi)\nvmovdqu %xmm0,{}(%rsi)", at + 64);
        }
    }
}
