//! Packing by blocks of packed rows.

use super::{MergedRow, Row, groups, mask, merge, numbers};
use peristyle_runtime::kernels::conv::f32_panels::PITCH;
use peristyle_runtime::kernels::conv::{Group, PanelTile, Panels, Segment, Table};
use std::collections::VecDeque;

/// Packs `f32` rows whose offsets count from a copy of `packed` rows, one every [`PITCH`] bytes, for units of `outputs`
/// outputs: the segments, offsets and weights of a unit by block, group and kind of step.
pub fn pack_panels(rows: &[Row<f32>], panels: Panels, outputs: usize, packed: usize) -> Table {
    let Panels { rows: in_block, tile } = panels;
    let groups: Vec<(Vec<usize>, Vec<MergedRow<f32>>)> =
        groups(rows, tile.group()).map(|(outputs, rows)| (outputs, merge(&rows))).collect();
    let index = |n: usize| u32::try_from(n).expect("tables have fewer than 2^32 entries");
    let dense = tile == PanelTile::Dense4x24;
    let (mut segments, mut offsets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let mut packed_groups = Vec::new();
    for unit in groups.chunks(outputs / tile.group()) {
        for first in (0..packed).step_by(in_block) {
            for (outputs, rows) in unit {
                if first == 0 {
                    packed_groups.push(Group {
                        outputs: numbers(outputs.iter().copied()),
                        segments: (index(segments.len()), index(tile.steps().len())),
                        offset: index(offsets.len()),
                        weight: index(weights.len()),
                        unrolled: None,
                    });
                }
                let before = |end: usize| rows.partition_point(|row| (row.0 as usize) < end * PITCH);
                let rows = &rows[before(first)..before(first + in_block)];
                let in_panel = |row: &MergedRow<f32>| {
                    u16::try_from(row.0 as usize - first * PITCH).expect("panels are smaller than 64 KiB")
                };
                // A dense group has no weights of outputs that it lacks.
                let all = if dense { (1u8 << outputs.len()) - 1 } else { u8::MAX };
                for (kind, steps) in tile.steps().iter().zip(steps(tile.steps(), all, rows)) {
                    let mask = kind.iter().fold(0, |mask, part| mask | part) & all;
                    let count = u16::try_from(steps.len()).expect("blocks have fewer than 2^16 rows");
                    segments.push(Segment { mask, block: 1, count });
                    for row in steps.iter().flatten().map(|&row| &rows[row]) {
                        if !dense {
                            offsets.push(in_panel(row));
                        }
                        weights.extend(row.1.iter().flatten().map(|weight| weight.to_bits()));
                    }
                }
            }
        }
    }
    let words = offsets.chunks(2).map(|two| i32::from(two[0]) | i32::from(*two.get(1).unwrap_or(&0)) << 16);
    Table {
        group: tile.group(),
        groups: packed_groups.into(),
        segments: segments.into(),
        offsets: words.collect(),
        weights: weights.into(),
    }
}

/// The rows of the steps of a group in a block by the kind of step, of which only the outputs in `all` count. Every kind
/// takes as many rows as it can.
pub(super) fn steps<W>(kinds: &[&[u8]], all: u8, rows: &[MergedRow<W>]) -> Vec<Vec<Vec<usize>>> {
    let mut by_mask: Vec<VecDeque<usize>> = vec![VecDeque::new(); 16];
    for (number, (_, weights)) in rows.iter().enumerate() {
        by_mask[usize::from(mask(weights))].push_back(number);
    }
    let of_kind = |kind: &&[u8]| {
        let masks: Vec<usize> = kind.iter().map(|mask| usize::from(mask & all)).collect();
        let wanted = |mask: usize| masks.iter().filter(|&&other| other == mask).count();
        let count = masks.iter().map(|&mask| by_mask[mask].len() / wanted(mask)).min().expect("a step has rows");
        let mut row = |&mask: &usize| by_mask[mask].pop_front().expect("there are as many");
        (0..count).map(|_| masks.iter().map(&mut row).collect()).collect()
    };
    kinds.iter().map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The weights of every output by row, as the kernels read them; products with zeros are left out.
    fn expand(table: &Table, panels: Panels, unit: usize, outputs: usize, packed: usize) -> Vec<BTreeMap<usize, f32>> {
        let mut all = vec![BTreeMap::new(); outputs];
        let steps = panels.tile.steps();
        for groups in table.groups.chunks(unit / panels.tile.group()) {
            let mut segments = table.segments[groups[0].segments.0 as usize..].iter();
            let (mut offset, mut weight) = (groups[0].offset as usize, groups[0].weight as usize);
            for block in (0..packed).step_by(panels.rows) {
                for group in groups {
                    for (segment, kind) in segments.by_ref().take(steps.len()).zip(steps) {
                        for step in 0..usize::from(segment.count) {
                            for part in *kind {
                                let mut row = step;
                                if panels.tile != PanelTile::Dense4x24 {
                                    row = usize::from(table.short_offset(offset)) / PITCH;
                                    offset += 1;
                                }
                                assert!(row < panels.rows.min(packed - block));
                                for j in (0..4).filter(|j| part & segment.mask & (1 << j) != 0) {
                                    let w = f32::from_bits(table.weights[weight]);
                                    weight += 1;
                                    if w != 0.0 {
                                        let known = all[usize::from(group.outputs[j])].insert(block + row, w);
                                        assert_eq!(known, None);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn every_nonzero_is_in_its_block() {
        for tile in [PanelTile::Dense4x24, PanelTile::Sparse2x48] {
            for (outputs, packed, every) in [(5, 37, 3), (4, 16, 2), (7, 37, 1), (1, 9, 2), (26, 130, 2), (12, 64, 5)] {
                let panels = Panels { rows: 8, tile };
                let used = |k: usize, o: usize| ((k * 7 + o * 5) ^ (k * o / 3)).is_multiple_of(every);
                let weight = |k: usize, o: usize| (o * 1000 + k + 1) as f32;
                let row = |o: usize| -> Row<f32> {
                    let all = (0..packed).filter(|&k| tile == PanelTile::Dense4x24 || used(k, o));
                    all.map(|k| ((k * PITCH) as i32, weight(k, o))).collect()
                };
                let rows: Vec<Row<f32>> = (0..outputs).map(row).collect();
                let table = pack_panels(&rows, panels, 8, packed);
                let of = |row: &Row<f32>| row.iter().map(|&(offset, w)| (offset as usize / PITCH, w)).collect();
                let expected: Vec<BTreeMap<usize, f32>> = rows.iter().map(of).collect();
                assert_eq!(expand(&table, panels, 8, outputs, packed), expected, "{tile:?} {outputs}");
            }
        }
    }
}
