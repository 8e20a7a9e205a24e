//! Unrolled kernels as assembly text: one function per group of outputs, the offsets of its nonzeros baked in.
//!
//! GNU assembler, AT&T syntax, System V calling convention:
//! `rdi` input pixel, `rsi` accumulators, `rdx` weights in the order of the table, `rcx` tiles.

pub mod f32_spconv;
pub mod u8s8_spconv;

use peristyle_runtime::kernels::conv::{Arithmetic, Conv, Table};
use std::fmt::Write;

/// Assembly of every group of a layer; `symbol(g)` names the function of group `g`.
pub fn assembly(conv: &Conv, header: &str, symbol: impl Fn(usize) -> String) -> String {
    let macros = match conv.arithmetic {
        Arithmetic::F32 => f32_spconv::macros(),
        Arithmetic::U8S8 => u8s8_spconv::macros(),
    };
    let mut text = format!("# {header}\n{macros}.text\n");
    let table = source(conv);
    for (index, group) in table.groups.iter().enumerate() {
        let name = symbol(index);
        // Writing to a `String` cannot fail.
        let _ = write!(text, ".globl {name}\n.hidden {name}\n.type {name},@function\n.p2align 6\n{name}:\n");
        match conv.arithmetic {
            Arithmetic::F32 => f32_spconv::emit(&mut text, conv, group),
            Arithmetic::U8S8 => u8s8_spconv::emit(&mut text, conv, table, group),
        }
        let _ = writeln!(text, ".size {name},.-{name}");
    }
    text.push_str(".section .note.GNU-stack,\"\",@progbits\n");
    text
}

/// The table that the straight-line code of an unrolled layer is made from.
pub fn source(conv: &Conv) -> &Table {
    conv.source_of_code().expect("packed with the decision for straight-line code")
}

/// Addresses weights with one-byte displacements: `rax` follows the one being read.
struct Weights {
    bytes: usize,
    next: usize,
    base: usize,
}

impl Weights {
    /// Starts a pass over the group's weights of this many bytes: `rax = rdx + 128`.
    fn start(text: &mut String, bytes: usize) -> Weights {
        text.push_str("lea 128(%rdx),%rax\n");
        Weights { bytes, next: 0, base: 128 }
    }

    /// Displacement from `rax` of the next weight.
    fn next(&mut self, text: &mut String) -> isize {
        if self.next > self.base + 127 {
            self.base += 256;
            text.push_str("add $256,%rax\n");
        }
        let displacement = self.next as isize - self.base as isize;
        self.next += self.bytes;
        displacement
    }
}
