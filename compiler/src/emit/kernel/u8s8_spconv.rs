//! `u8s8_spconv_4x32_unrolled`: shared pairs, one broadcast and two multiply-adds per pair and output.
//!
//! `ymm0` and `ymm12` products, `ymm1` weights, `ymm2-3` the interleaved rows, `ymm4-11` 16-bit sums (two vectors per
//! output), `ymm15` the mask of low bytes; on the stack, for every output, the sums of high bytes. A block of weights ends
//! just before the sum of its output could leave 16 bits: its high byte moves to the stack and its low byte stays.

use super::Weights;
use peristyle_runtime::kernels::conv::u8s8_spconv::{BLOCK_NEGATIVE, BLOCK_POSITIVE, GROUP, PART_BLOCKS, TILE};
use peristyle_runtime::kernels::conv::{Conv, Group, Table};
use std::fmt::Write;

const SUMS: usize = 4;
/// Bytes of the stack per output: two vectors of high bytes.
const FRAME: usize = 64;
/// Bytes of the weights of a pair.
const HALF: usize = 2;

/// Macros that the functions are written in, for output `J` of a group:
/// `PAIR a,b` loads and interleaves two rows; `SETJ d` starts the sum of output `J` with the weights at `d`, `ADDJ d`
/// adds to it; `CARRYJ` ends the first block, `MOREJ` every later one.
pub fn macros() -> String {
    let mut text = String::from(
        ".macro PAIR a,b\nvmovdqu \\a(%rdi),%ymm3\nvmovdqu \\b(%rdi),%ymm12\nvpunpcklbw %ymm12,%ymm3,%ymm2\nvpunpckhbw %ymm12,%ymm3,%ymm3\n.endm\n",
    );
    for j in 0..GROUP {
        let (first, second) = (SUMS + j * 2, SUMS + j * 2 + 1);
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            ".macro SET{j} d\nvpbroadcastw \\d(%rax),%ymm1\nvpmaddubsw %ymm1,%ymm2,%ymm{first}\nvpmaddubsw %ymm1,%ymm3,%ymm{second}\n.endm\n\
             .macro ADD{j} d\nvpbroadcastw \\d(%rax),%ymm1\nvpmaddubsw %ymm1,%ymm2,%ymm0\nvpaddw %ymm0,%ymm{first},%ymm{first}\nvpmaddubsw %ymm1,%ymm3,%ymm12\nvpaddw %ymm12,%ymm{second},%ymm{second}\n.endm\n"
        );
        for (name, more) in [("CARRY", false), ("MORE", true)] {
            let _ = writeln!(text, ".macro {name}{j}");
            for (t, register) in [first, second].into_iter().enumerate() {
                let high = j * FRAME + t * 32;
                let _ = writeln!(text, "vpsraw $8,%ymm{register},%ymm0");
                if more {
                    let _ = writeln!(text, "vpaddw {high}(%rsp),%ymm0,%ymm0");
                }
                let _ = writeln!(text, "vmovdqa %ymm0,{high}(%rsp)\nvpand %ymm15,%ymm{register},%ymm{register}");
            }
            text.push_str(".endm\n");
        }
    }
    text
}

/// State of one output's sum while code is emitted.
#[derive(Clone, Copy, Default)]
struct Sum {
    /// The registers hold something.
    started: bool,
    /// Blocks on the stack.
    blocks: usize,
    /// Positive and negative weights of the block.
    positive: i32,
    negative: i32,
}

/// Appends the body of one group's function.
pub fn emit(text: &mut String, conv: &Conv, table: &Table, group: &Group) {
    let outputs = group.outputs.len();
    let frame = outputs * FRAME;
    let _ = writeln!(text, "push %rbp\nmov %rsp,%rbp\nsub ${frame},%rsp\nand $-64,%rsp");
    text.push_str("vpcmpeqw %ymm15,%ymm15,%ymm15\nvpsrlw $8,%ymm15,%ymm15\n1:\n");
    let mut weights = Weights::start(text, HALF);
    let mut sums = vec![Sum::default(); outputs];
    let stride = conv.accumulator_stride() * 4;
    let mut spilled = false;
    let (mut offset, mut half) = (group.offset as usize, group.weight as usize * 2);
    for segment in table.segments(group) {
        for _ in 0..segment.entries() {
            let (a, b) = (table.offsets[offset], table.offsets[offset + 1]);
            offset += 2;
            let _ = writeln!(text, "PAIR {a},{b}");
            for j in (0..outputs).filter(|j| segment.mask & (1 << j) != 0) {
                multiply_add(text, &mut sums[j], j, table.halves()[half], &mut weights);
                half += 1;
            }
            if sums.iter().any(|sum| sum.blocks >= PART_BLOCKS - 1) {
                sums.iter_mut().enumerate().for_each(|(j, sum)| store(text, std::mem::take(sum), j, stride, spilled));
                spilled = true;
            }
        }
    }
    sums.iter().enumerate().for_each(|(j, sum)| store(text, *sum, j, stride, spilled));
    let _ = writeln!(text, "add ${TILE},%rdi\nadd ${},%rsi\ndec %rcx\njnz 1b\nvzeroupper\nleave\nret", TILE * 4);
}

fn multiply_add(text: &mut String, sum: &mut Sum, j: usize, pair: [i8; 2], weights: &mut Weights) {
    let [a, b] = pair.map(i32::from);
    let (positive, negative) = (a.max(0) + b.max(0), -(a.min(0) + b.min(0)));
    if sum.positive + positive > BLOCK_POSITIVE || sum.negative + negative > BLOCK_NEGATIVE {
        let _ = writeln!(text, "{}{j}", if sum.blocks > 0 { "MORE" } else { "CARRY" });
        (sum.blocks, sum.positive, sum.negative) = (sum.blocks + 1, 0, 0);
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
        let (low, high) = (SUMS + j * 2 + t, j * FRAME + t * 32);
        if !sum.started {
            let _ = writeln!(text, "vpxor %xmm{low},%xmm{low},%xmm{low}");
        }
        let _ = writeln!(text, "vpsraw $8,%ymm{low},%ymm0");
        if sum.blocks > 0 {
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
