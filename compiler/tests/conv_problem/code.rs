//! Straight-line code of a plan, assembled and loaded.

use peristyle_compiler::plan::Plan;
use peristyle_compiler::plan::pack::{Row, pack_u8s8_shared};
use peristyle_runtime::engine::{Kind, Program};
use peristyle_runtime::kernels::conv::u8s8_spconv::{PAIR, QUAD};
use peristyle_runtime::kernels::conv::{Arithmetic, MAX_GROUP, Table, Unrolled};
use std::process::Command;

/// The nonzero weights that a table of pairs stands for.
fn rows(table: &Table) -> Vec<Row<i8>> {
    let mut rows = vec![Row::new(); table.groups.iter().map(|group| group.outputs.len()).sum()];
    for group in table.groups.iter() {
        let (mut offsets, mut weights) =
            (table.offsets[group.offset as usize..].chunks(QUAD), table.weights[group.weight as usize..].iter());
        for segment in table.segments(group) {
            for _ in 0..segment.entries() * PAIR / QUAD {
                let offsets = offsets.next().expect("offsets of every quad");
                for j in (0..table.group).filter(|j| segment.mask >> j & 1 == 1) {
                    let weights = weights.next().expect("weights of every quad").to_ne_bytes().map(|w| w as i8);
                    let used = offsets.iter().copied().zip(weights).filter(|(_, w)| *w != 0);
                    rows[usize::from(group.outputs[j])].extend(used);
                }
            }
        }
    }
    rows.iter_mut().for_each(|row| row.sort_unstable());
    rows
}

/// The plan with a table for straight-line code of every integer layer, as if it paid.
pub fn with_code(mut plan: Plan) -> Plan {
    for layer in &mut plan.layers {
        if let Kind::Conv(conv) = &mut layer.kind
            && conv.arithmetic == Arithmetic::U8S8
        {
            conv.unrolled = Some(pack_u8s8_shared(&rows(&conv.table), MAX_GROUP));
        }
    }
    plan
}

/// The plan with its unrolled kernels taken from `library`.
pub fn link(mut plan: Plan, library: &libloading::Library, symbol: impl Fn(usize) -> String) -> &'static Program {
    for layer in &mut plan.layers {
        if let Kind::Conv(conv) = &mut layer.kind {
            for (index, group) in
                conv.unrolled.as_mut().unwrap_or(&mut conv.table).groups.to_mut().iter_mut().enumerate()
            {
                // SAFETY: the symbol is a function of this type, assembled by this test.
                group.unrolled =
                    Some(unsafe { *library.get::<Unrolled>(symbol(index).as_bytes()).expect("assembled") });
            }
        }
    }
    plan.leak()
}

/// Kernels in assembly as a library.
pub fn assemble(files: &[String]) -> libloading::Library {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let object = dir.path().join("kernels.so");
    let mut cc = Command::new("cc");
    cc.arg("-shared").arg("-o").arg(&object);
    for (index, text) in files.iter().enumerate() {
        let source = dir.path().join(format!("kernels_{index}.S"));
        std::fs::write(&source, text).expect("writable");
        cc.arg(source);
    }
    let status = cc.status().expect("cc runs");
    assert!(status.success(), "the kernels assemble");
    // SAFETY: the object holds only the kernels; it has no initialisers.
    unsafe { libloading::Library::new(&object).expect("loads") }
}
