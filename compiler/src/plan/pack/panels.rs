//! Packing by blocks of packed rows.

use super::{Builder, Row, groups, rows_of};
use peristyle_runtime::kernels::conv::{Panels, Segment, Table, f32_panels, f32_spconv};

/// Packs `f32` rows whose offsets count from a copy of `packed` rows, one every `pass_tiles` tiles: entries by group,
/// block, and mask.
pub fn pack_panels(rows: &[Row<f32>], panels: Panels, pass_tiles: usize, packed: usize) -> Table {
    let pitch = pass_tiles * f32_spconv::TILE * size_of::<f32>();
    let block = |offset: i32| offset as usize / pitch / panels.rows;
    let mut builder = Builder::default();
    for (outputs, rows) in groups(rows, panels.group()) {
        let mut entries = rows_of(&rows);
        entries.sort_by_key(|e| (block(e.offsets[0]), e.mask, e.offsets[0]));
        let all = (1u8 << outputs.len()) - 1;
        let masks: Vec<u8> = if panels.dense { vec![all] } else { (1..=f32_panels::SEGMENTS as u8).collect() };
        let mut segments = Vec::new();
        let mut rest = &entries[..];
        for index in 0..packed.div_ceil(panels.rows) {
            for &mask in &masks {
                let count = rest.iter().take_while(|e| block(e.offsets[0]) == index && e.mask == mask).count();
                rest = &rest[count..];
                // A segment without entries may not name outputs that the group lacks.
                let count = u16::try_from(count).expect("blocks have fewer than 2^16 rows");
                segments.push(Segment { mask: mask & all, block: 1, count });
            }
        }
        assert!(rest.is_empty(), "dense layers have an entry for every row, and groups no other masks");
        let offsets = entries.iter().flat_map(|e| &e.offsets).copied().collect();
        let weights = entries.iter().flat_map(|e| &e.words).copied();
        builder.group(&outputs, offsets, weights, &segments);
    }
    builder.finish(panels.group())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const PITCH: i32 = (f32_panels::PASS * 4) as i32;

    /// The nonzeros of every output, as the kernels read them.
    fn expand(table: &Table, panels: Panels, outputs: usize, packed: usize) -> Vec<BTreeMap<i32, f32>> {
        let mut all = vec![BTreeMap::new(); outputs];
        for group in table.groups.iter() {
            let (mut offset, mut weight) = (group.offset as usize, group.weight as usize);
            let segments = table.segments(group);
            let per_block = segments.len() / packed.div_ceil(panels.rows);
            for (index, segment) in segments.iter().enumerate() {
                for _ in 0..segment.count {
                    let at = table.offsets[offset];
                    offset += 1;
                    assert_eq!(at / PITCH / panels.rows as i32, (index / per_block) as i32);
                    for j in (0..group.outputs.len()).filter(|j| segment.mask & (1 << j) != 0) {
                        all[usize::from(group.outputs[j])].insert(at, f32::from_bits(table.weights[weight]));
                        weight += 1;
                    }
                }
            }
        }
        all
    }

    #[test]
    fn every_nonzero_is_in_its_block() {
        for (dense, outputs, packed, every) in
            [(false, 5, 37, 3), (false, 4, 16, 2), (true, 7, 37, 1), (true, 4, 16, 1)]
        {
            let panels = Panels { rows: 8, dense };
            let row = |o: i32| -> Row<f32> {
                (0..packed).filter(|k| (k * 7 + o) % every == 0).map(|k| (k * PITCH, (o * 100 + k) as f32)).collect()
            };
            let rows: Vec<Row<f32>> = (0..outputs).map(row).collect();
            let table = pack_panels(&rows, panels, f32_panels::PASS_TILES, packed as usize);
            let expected: Vec<BTreeMap<i32, f32>> = rows.iter().map(|row| row.iter().copied().collect()).collect();
            assert_eq!(expand(&table, panels, outputs as usize, packed as usize), expected, "{dense} {outputs}");
        }
    }
}
