//! Packing by blocks of packed rows.

use super::{MergedRow, Row, groups, mask, merge, numbers};
use peristyle_runtime::kernels::conv::f32_panels::PITCH;
use peristyle_runtime::kernels::conv::{Group, PanelTile, Panels, Segment, Table};

/// Some outputs that use a row, a bit each; no row where zeros fill a step up.
type Part = (Option<usize>, u8);

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
                let all = (1u8 << outputs.len()) - 1;
                for (kind, steps) in tile.steps().iter().zip(steps(tile, all, rows)) {
                    let mask = kind.iter().fold(0, |mask, part| mask | part) & if dense { all } else { u8::MAX };
                    let count = u16::try_from(steps.len()).expect("blocks have fewer than 2^16 rows");
                    segments.push(Segment { mask, block: 1, count });
                    for (row, part) in steps.iter().flatten() {
                        let row = row.map(|row| &rows[row]);
                        if !dense {
                            offsets.push(row.map_or(0, in_panel));
                        }
                        let of = |j: usize| row.and_then(|row| *row.1.get(j)?).unwrap_or(0.0).to_bits();
                        weights.extend((0..8).filter(|j| part & mask & (1 << j) != 0).map(of));
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

/// The steps of a group in a block by their kind.
fn steps(tile: PanelTile, all: u8, rows: &[MergedRow<f32>]) -> Vec<Vec<Vec<Part>>> {
    let mut by_mask: Vec<Vec<usize>> = vec![Vec::new(); 16];
    for (number, (_, weights)) in rows.iter().enumerate() {
        by_mask[usize::from(mask(weights))].push(number);
    }
    if tile == PanelTile::Sparse4x24 {
        return complementing(by_mask);
    }
    let alone = |mask: u8| by_mask[usize::from(mask)].iter().map(|&row| vec![(Some(row), mask)]).collect();
    match tile {
        PanelTile::Dense4x24 => vec![alone(all)],
        _ => tile.steps().iter().map(|kind| alone(kind[0])).collect(),
    }
}

/// Steps of four products each, with few zeros among them. Rows that complement each other come first; rows of two
/// outputs are parted where rows of three lack one; of what is left, rows of three are filled up, and products of single
/// outputs are taken by four.
fn complementing(mut by_mask: Vec<Vec<usize>>) -> Vec<Vec<Vec<Part>>> {
    const ALL: usize = 15;
    let kinds = PanelTile::Sparse4x24.steps();
    let mut steps: Vec<Vec<Vec<Part>>> = vec![Vec::new(); kinds.len()];
    let kind_of = |parts: &[u8]| kinds.iter().position(|kind| *kind == parts).expect("a kind of steps");
    let (full, each) = (kind_of(&[15]), kind_of(&[1, 2, 4, 8]));
    for (kind, steps) in kinds.iter().zip(&mut steps) {
        let &[a, b] = *kind else { continue };
        while !by_mask[usize::from(a)].is_empty() && !by_mask[usize::from(b)].is_empty() {
            steps.push([a, b].map(|mask| (by_mask[usize::from(mask)].pop(), mask)).to_vec());
        }
    }
    let bits = |mask: usize| (0..4).map(|j| 1 << j).filter(move |bit| mask & bit != 0);
    let two = || (1..ALL).filter(|mask| mask.count_ones() == 2);
    for mask in two() {
        while !by_mask[mask].is_empty() && bits(mask).any(|bit| !by_mask[ALL ^ bit].is_empty()) {
            let row = by_mask[mask].pop();
            for bit in bits(mask) {
                match by_mask[ALL ^ bit].pop() {
                    Some(three) => {
                        let parts = [bit as u8, (ALL ^ bit) as u8];
                        steps[kind_of(&parts)].push(vec![(row, parts[0]), (Some(three), parts[1])]);
                    }
                    None => by_mask[bit].extend(row),
                }
            }
        }
    }
    for mask in two() {
        for row in std::mem::take(&mut by_mask[mask]) {
            bits(mask).for_each(|bit| by_mask[bit].push(row));
        }
    }
    for mask in (1..=ALL).filter(|mask| mask.count_ones() > 2) {
        steps[full].extend(by_mask[mask].drain(..).map(|row| vec![(Some(row), 15)]));
    }
    loop {
        let left: Vec<usize> = bits(ALL).filter(|&bit| !by_mask[bit].is_empty()).collect();
        match left[..] {
            [] => return steps,
            [bit] => {
                let parts = [bit as u8, (ALL ^ bit) as u8];
                steps[kind_of(&parts)].push(vec![(by_mask[bit].pop(), parts[0]), (None, parts[1])]);
            }
            _ => steps[each].push(bits(ALL).map(|bit| (by_mask[bit].pop(), bit as u8)).collect()),
        }
    }
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
        for tile in [PanelTile::Dense4x24, PanelTile::Sparse2x48, PanelTile::Sparse4x24] {
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

    /// Half of the weights at random: few products are with zeros.
    #[test]
    fn steps_have_few_zeros() {
        let mut state = 7u32;
        let mut row = || -> Row<f32> {
            let used = (0..128).filter(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 31 == 0
            });
            used.map(|k: i32| (k * PITCH as i32, 1.0)).collect()
        };
        let rows: Vec<Row<f32>> = (0..64).map(|_| row()).collect();
        let nonzeros: usize = rows.iter().map(Vec::len).sum();
        let table = pack_panels(&rows, Panels { rows: 128, tile: PanelTile::Sparse4x24 }, 64, 128);
        let share = table.weights.len() as f64 / nonzeros as f64;
        assert!((1.0..1.09).contains(&share), "{share}");
    }
}
