//! How large the code and the tables of layers become.

use super::super::{Note, Plan};
use peristyle_runtime::engine::{Kind, Layer};
use peristyle_runtime::kernels::conv::u8s8_spconv::{BLOCK_NEGATIVE, BLOCK_POSITIVE};
use peristyle_runtime::kernels::conv::{Arithmetic, Conv, Group, Table};

/// Tables start at cache lines.
const LINE: usize = 64;

/// Bytes that a layer adds to a binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerSize {
    /// Straight-line code, at most.
    pub code: usize,
    /// Tables, exactly.
    pub data: usize,
}

impl LayerSize {
    /// Both.
    pub fn total(self) -> usize {
        self.code + self.data
    }
}

/// The sizes of all layers of a plan.
pub fn of(plan: &Plan) -> Vec<LayerSize> {
    plan.layers.iter().zip(&plan.notes).map(|(layer, note)| of_layer(layer, note)).collect()
}

/// Their sum.
pub fn total(plan: &Plan) -> LayerSize {
    let add = |sum: LayerSize, layer: LayerSize| LayerSize { code: sum.code + layer.code, data: sum.data + layer.data };
    of(plan).into_iter().fold(LayerSize::default(), add)
}

fn of_layer(layer: &Layer, note: &Note) -> LayerSize {
    let Kind::Conv(conv) = &layer.kind else { return LayerSize::default() };
    let unrolled = note.conv.as_ref().is_some_and(|conv| conv.choice.unrolled);
    LayerSize { code: if unrolled { code(conv) } else { 0 }, data: data(conv) }
}

fn data(conv: &Conv) -> usize {
    let words = |parts: &[usize]| parts.iter().fold(0, |at: usize, count| at.next_multiple_of(LINE) + count * 4);
    let of = |table: &Table| [table.segments.len(), table.offsets.len(), table.weights.len()];
    let mut parts = of(&conv.table).to_vec();
    parts.extend(conv.quads.as_ref().map(of).into_iter().flatten());
    parts.extend(conv.unrolled.as_ref().map(|table| table.weights.len()));
    parts.push(conv.packed.len());
    words(&parts)
}

/// Longest instructions of the macros in which straight-line code is written, in bytes.
mod longest {
    /// Loading and interleaving two rows; starting or adding to a sum; ending a block.
    pub const PAIR: usize = 26;
    pub const ADD: usize = 25;
    pub const CARRY: usize = 58;
    /// Storing an output's sums, and what surrounds the outputs of a group, with its alignment.
    pub const SUMS: usize = 230;
    pub const PAIRS_GROUP: usize = 110;
    /// Loading a row; multiplying it for an output; the same with the row in memory.
    pub const ROW: usize = 24;
    pub const MULTIPLY: usize = 21;
    pub const MULTIPLY_ROW: usize = 33;
    /// Clearing and storing an output's sums, and what surrounds the outputs of a group, with its alignment.
    pub const FLOATS: usize = 45;
    pub const FLOATS_GROUP: usize = 100;
    /// Moving on to the next weights, and how many bytes of them lie between.
    pub const STEP: usize = 6;
    pub const STEP_BYTES: usize = 256;
}

/// Most bytes of straight-line code of a layer.
fn code(conv: &Conv) -> usize {
    let Some(table) = conv.source_of_code() else { return 0 };
    let bytes = |group| match conv.arithmetic {
        Arithmetic::F32 => floats(table, group),
        Arithmetic::U8S8 => pairs(table, group),
    };
    table.groups.iter().map(bytes).sum()
}

fn floats(table: &Table, group: &Group) -> usize {
    let mut bytes = longest::FLOATS_GROUP + group.outputs.len() * longest::FLOATS;
    for segment in table.segments(group) {
        bytes += match segment.mask.count_ones() {
            0 | 1 => segment.entries() * longest::MULTIPLY_ROW,
            _ => segment.entries() * longest::ROW + segment.slots() * longest::MULTIPLY,
        };
        bytes += segment.slots() * 4 * longest::STEP / longest::STEP_BYTES;
    }
    bytes
}

fn pairs(table: &Table, group: &Group) -> usize {
    let mut bytes = longest::PAIRS_GROUP + group.outputs.len() * longest::SUMS;
    let mut sums = vec![(0, 0); group.outputs.len()];
    let mut half = group.weight as usize * 2;
    for segment in table.segments(group) {
        bytes += segment.entries() * longest::PAIR + segment.slots() * longest::ADD;
        bytes += segment.slots() * 2 * longest::STEP / longest::STEP_BYTES;
        for _ in 0..segment.entries() {
            for j in (0..sums.len()).filter(|j| segment.mask >> j & 1 == 1) {
                let [a, b] = table.halves()[half].map(i32::from);
                half += 1;
                let (positive, negative) = (a.max(0) + b.max(0), -(a.min(0) + b.min(0)));
                if sums[j].0 + positive > BLOCK_POSITIVE || sums[j].1 + negative > BLOCK_NEGATIVE {
                    bytes += longest::CARRY;
                    sums[j] = (0, 0);
                }
                sums[j] = (sums[j].0 + positive, sums[j].1 + negative);
            }
        }
    }
    bytes
}
