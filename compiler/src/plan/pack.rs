//! Packing the nonzeros of a convolution into the runtime's tables.

mod alike;
mod dot_panels;
mod pairs;
mod panels;
mod quad_panels;
mod quads;
mod shared;
mod winograd;

pub use dot_panels::pack_dot_panels;
pub use pairs::pack_u8s8_pairs;
pub use panels::pack_panels;
pub use quad_panels::{Quads, pack_quad_panels};
pub use quads::pack_u8s8_quads;
pub use shared::pack_u8s8_shared;
pub use winograd::pack_winograd;

pub(super) use quad_panels::{END_COST, KIND_COST, QUAD_COST, RUN_QUAD_COST};
pub(super) use quads::{BUCKET_COST, entry_cost};

use peristyle_runtime::kernels::conv::{Group, Segment, Table};
use std::borrow::Cow;
use std::collections::HashMap;

/// Nonzeros of one output: byte offset of the input row, and weight; offsets ascend.
pub type Row<W> = Vec<(i32, W)>;

/// An entry of a group before it is written to the table: rows that share a mask, and one word per bit of the mask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mask: u8,
    offsets: Vec<i32>,
    words: Vec<u32>,
}

/// Packs `f32` rows in groups of `group` outputs.
pub fn pack_f32(rows: &[Row<f32>], group: usize) -> Table {
    let mut builder = Builder::default();
    for (outputs, rows) in groups(rows, group) {
        let mut entries = rows_of(&rows);
        entries.sort_by_key(|e| (e.mask, e.offsets[0]));
        builder.entries(&outputs, &entries);
    }
    builder.finish(group)
}

/// An entry for every row that any output uses.
fn rows_of(outputs: &[&Row<f32>]) -> Vec<Entry> {
    let entry = |(offset, weights): (i32, Vec<Option<f32>>)| Entry {
        mask: mask(&weights),
        offsets: vec![offset],
        words: weights.into_iter().flatten().map(f32::to_bits).collect(),
    };
    merge(outputs).into_iter().map(entry).collect()
}

/// The outputs of every group, and their rows.
fn groups<W>(rows: &[Row<W>], group: usize) -> impl Iterator<Item = (Vec<usize>, Vec<&Row<W>>)> {
    alike::alike(rows, group).into_iter().map(|outputs| {
        let rows = outputs.iter().map(|&output| &rows[output]).collect();
        (outputs, rows)
    })
}

/// The rows that any output uses, ascending, with the weight of each output.
fn merge<W: Copy>(outputs: &[&Row<W>]) -> Vec<MergedRow<W>> {
    let mut at = vec![0; outputs.len()];
    let mut merged = Vec::new();
    while let Some(offset) = outputs.iter().zip(&at).filter_map(|(o, &i)| o.get(i).map(|e| e.0)).min() {
        let weights = outputs.iter().zip(&mut at).map(|(output, i)| match output.get(*i) {
            Some(&(o, weight)) if o == offset => {
                *i += 1;
                Some(weight)
            }
            _ => None,
        });
        merged.push((offset, weights.collect()));
    }
    merged
}

fn mask<W>(weights: &[Option<W>]) -> u8 {
    weights.iter().enumerate().filter(|(_, w)| w.is_some()).fold(0, |m, (j, _)| m | 1 << j)
}

/// The offset of a row that any output of a group uses, and the weight of each.
type MergedRow<W = i8> = (i32, Vec<Option<W>>);

/// Runs of equal masks.
fn runs(entries: &[Entry]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for entry in entries {
        match segments.last_mut() {
            Some(s) if s.mask == entry.mask && s.count < u16::MAX => s.count += 1,
            _ => segments.push(Segment { mask: entry.mask, block: 1, count: 1 }),
        }
    }
    segments
}

/// The outputs of a group.
fn numbers(outputs: impl IntoIterator<Item = usize>) -> Cow<'static, [u16]> {
    outputs.into_iter().map(|o| u16::try_from(o).expect("fewer than 2^16 channels")).collect()
}

/// Groups of a table that has no segments of its own for each.
fn bare_groups(outputs: usize, group: usize) -> Vec<Group> {
    let of = |first: usize| Group {
        outputs: numbers(first..outputs.min(first + group)),
        segments: (0, 0),
        offset: 0,
        weight: 0,
        unrolled: None,
    };
    (0..outputs).step_by(group).map(of).collect()
}

/// A table in the making. Groups whose rows are the same share their offsets, as all groups of a dense layer do.
#[derive(Default)]
struct Builder {
    known: HashMap<Vec<i32>, u32>,
    groups: Vec<Group>,
    segments: Vec<Segment>,
    offsets: Vec<i32>,
    weights: Vec<u32>,
}

impl Builder {
    /// Adds a group of whole entries.
    fn entries(&mut self, outputs: &[usize], entries: &[Entry]) {
        let offsets = entries.iter().flat_map(|e| &e.offsets).copied().collect();
        let weights = entries.iter().flat_map(|e| &e.words).copied();
        self.group(outputs, offsets, weights, &runs(entries));
    }

    fn group(
        &mut self,
        outputs: &[usize],
        offsets: Vec<i32>,
        weights: impl IntoIterator<Item = u32>,
        segments: &[Segment],
    ) {
        let index = |n: usize| u32::try_from(n).expect("tables have fewer than 2^32 entries");
        let next = index(self.offsets.len());
        let offset = *self.known.entry(offsets).or_insert_with_key(|offsets| {
            self.offsets.extend(offsets);
            next
        });
        self.groups.push(Group {
            outputs: numbers(outputs.iter().copied()),
            segments: (index(self.segments.len()), index(segments.len())),
            offset,
            weight: index(self.weights.len()),
            unrolled: None,
        });
        self.segments.extend(segments);
        self.weights.extend(weights);
    }

    fn finish(self, group: usize) -> Table {
        Table {
            group,
            groups: self.groups.into(),
            segments: self.segments.into(),
            offsets: self.offsets.into(),
            weights: self.weights.into(),
        }
    }
}

/// Pairs of weights as words of two.
fn words(halves: &[[i8; 2]]) -> impl Iterator<Item = u32> + '_ {
    halves.chunks(2).map(|two| {
        let byte = |i: usize| two.get(i / 2).map_or(0, |half| half[i % 2] as u8);
        u32::from_le_bytes(std::array::from_fn(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nonzero weights that a table of pairs stands for.
    pub(super) fn expand_pairs(table: &Table, outputs: usize) -> Vec<Row<i8>> {
        let mut rows = vec![Vec::new(); outputs];
        for group in table.groups.iter() {
            let (mut offset, mut weight) = (group.offset as usize, group.weight as usize * 2);
            for segment in table.segments(group) {
                for _ in 0..segment.entries() {
                    for j in (0..8).filter(|j| segment.mask >> j & 1 == 1) {
                        for (i, &w) in table.halves()[weight].iter().enumerate().filter(|(_, w)| **w != 0) {
                            rows[usize::from(group.outputs[j])].push((table.offsets[offset + i], w));
                        }
                        weight += 1;
                    }
                    offset += 2;
                }
            }
        }
        rows.iter_mut().for_each(|row| row.sort_unstable());
        rows
    }

    /// Rows of random weights up to `largest`.
    pub(super) fn random(outputs: usize, inputs: usize, zeros: u32, largest: u32) -> Vec<Row<i8>> {
        let mut state = 7u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let mut weight = move || {
            if next() % 100 < zeros { 0 } else { (next() % (2 * largest + 1)) as i32 - largest as i32 }
        };
        let mut row = || {
            let weights = (0..inputs).map(|i| (i as i32 * 100 - 300, weight() as i8));
            weights.filter(|w| w.1 != 0).collect()
        };
        (0..outputs).map(|_| row()).collect()
    }
}
