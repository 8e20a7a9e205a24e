//! Packing for dot products: four rows to an entry, rows of sparser masks lifted into fuller ones where that is faster.

use super::{Builder, Entry, MergedRow, Row, groups, mask, merge};
use peristyle_runtime::kernels::conv::Table;

/// Rows of an entry.
const ROWS: usize = 4;

/// Packs `i8` rows in groups of `group` outputs, four rows to an entry.
///
/// A bucket costs a loop whose end the processor mispredicts, and its last entry may be part empty; an output that a
/// bucket's mask has too many costs multiplications by zero. `entry_cost` and `BUCKET_COST` weigh one against
/// the other: few rows end in one bucket of the full mask, many rows stay as sparse as they are.
pub fn pack_u8s8_quads(rows: &[Row<i8>], group: usize) -> Table {
    let mut builder = Builder::default();
    for (outputs, rows) in groups(rows, group) {
        let buckets = fill_gaps(lift(buckets(merge(&rows)), outputs.len()));
        let mut entries = Vec::new();
        for (mask, rows) in buckets.into_iter().enumerate() {
            entries.extend(rows.chunks(ROWS).map(|rows| entry(mask, rows)));
        }
        builder.entries(&outputs, &entries);
    }
    builder.finish(group)
}

/// Rows by mask.
type Buckets = Vec<Vec<MergedRow>>;

/// Half cycles of an entry whose mask has `outputs` bits: four products per output on two units, or the loads of four
/// unaligned rows and of the weights.
pub(in crate::plan) const fn entry_cost(outputs: u32) -> usize {
    let (products, loads) = (4 * outputs as usize, 8 + outputs as usize);
    if products > loads { products } else { loads }
}

/// Half cycles of a bucket beside its entries.
pub(in crate::plan) const BUCKET_COST: usize = 24;

fn buckets(rows: Vec<MergedRow>) -> Buckets {
    let mut buckets: Buckets = vec![Vec::new(); 256];
    for row in rows {
        buckets[usize::from(mask(&row.1))].push(row);
    }
    buckets
}

fn cost(mask: usize, rows: usize) -> usize {
    if rows == 0 { 0 } else { BUCKET_COST + rows.div_ceil(ROWS) * entry_cost(mask.count_ones()) }
}

/// Joins pairs of buckets under the union of their masks as long as that lowers the cost.
fn lift(mut buckets: Buckets, outputs: usize) -> Buckets {
    let masks = 1usize << outputs;
    loop {
        let mut best: Option<(isize, usize, usize)> = None;
        for a in 1..masks {
            if buckets[a].is_empty() {
                continue;
            }
            for b in a + 1..masks {
                if buckets[b].is_empty() {
                    continue;
                }
                let (rows_a, rows_b, union) = (buckets[a].len(), buckets[b].len(), a | b);
                let resident = if union == a || union == b { 0 } else { buckets[union].len() };
                let before = cost(a, rows_a) + cost(b, rows_b) + cost(union, resident);
                let gain = before as isize - cost(union, rows_a + rows_b + resident) as isize;
                if gain > best.map_or(0, |b| b.0) {
                    best = Some((gain, a, b));
                }
            }
        }
        let Some((_, a, b)) = best else { return buckets };
        let mut rows = std::mem::take(&mut buckets[a]);
        rows.append(&mut buckets[b]);
        buckets[a | b].append(&mut rows);
        buckets[a | b].sort_by_key(|row| row.0);
    }
}

/// Moves the rows of part empty entries into the gaps of entries of wider masks, where they cost nothing.
fn fill_gaps(mut buckets: Buckets) -> Buckets {
    let mut masks: Vec<usize> = (1..buckets.len()).filter(|&m| !buckets[m].is_empty()).collect();
    masks.sort_by_key(|m| m.count_ones());
    let gap = |rows: usize| rows.next_multiple_of(ROWS) - rows;
    for (i, &from) in masks.iter().enumerate() {
        let wider: Vec<usize> = masks[i + 1..].iter().copied().filter(|&m| m & from == from).collect();
        let left = buckets[from].len() % ROWS;
        if left == 0 || wider.iter().map(|&m| gap(buckets[m].len())).sum::<usize>() < left {
            continue;
        }
        let keep = buckets[from].len() - left;
        let mut moving = buckets[from].split_off(keep);
        for to in wider {
            let take = gap(buckets[to].len()).min(moving.len());
            let rest = moving.split_off(take);
            buckets[to].append(&mut moving);
            moving = rest;
        }
    }
    buckets
}

/// One word of four weights per output of the mask; a row missing at the end is the last one with weight zero.
fn entry(mask: usize, rows: &[MergedRow]) -> Entry {
    let offset = |i: usize| rows[i.min(rows.len() - 1)].0;
    let word = |j: usize| {
        let weight = |i: usize| rows.get(i).and_then(|row| row.1[j]).unwrap_or(0);
        u32::from_le_bytes(std::array::from_fn(|i| weight(i) as u8))
    };
    Entry {
        mask: u8::try_from(mask).expect("groups have at most eight outputs"),
        offsets: (0..ROWS).map(offset).collect(),
        words: (0..8).filter(|j| mask >> j & 1 == 1).map(word).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;

    /// The dense weights that a table stands for.
    fn expand(table: &Table, outputs: usize) -> Vec<Vec<(i32, i8)>> {
        let mut rows = vec![Vec::new(); outputs];
        for group in table.groups.iter() {
            let (mut offset, mut weight) = (group.offset as usize, group.weight as usize);
            for segment in table.segments(group) {
                for _ in 0..segment.count {
                    for (j, &output) in group.outputs.iter().enumerate() {
                        if segment.mask >> j & 1 == 1 {
                            let bytes = table.weights[weight].to_le_bytes();
                            weight += 1;
                            for (i, byte) in bytes.into_iter().enumerate().filter(|(_, b)| *b != 0) {
                                rows[usize::from(output)].push((table.offsets[offset + i], byte as i8));
                            }
                        }
                    }
                    offset += ROWS;
                }
            }
        }
        rows.iter_mut().for_each(|row| row.sort_unstable());
        rows
    }

    #[test]
    fn every_weight_is_packed_once() {
        for (outputs, inputs, zeros) in [(1, 1, 0), (4, 3, 0), (6, 64, 50), (8, 576, 65), (5, 1152, 90), (4, 9, 95)] {
            let rows = random(outputs, inputs, zeros, 127);
            assert_eq!(expand(&pack_u8s8_quads(&rows, 4), outputs), rows, "{outputs} {inputs} {zeros}");
        }
    }

    #[test]
    fn few_rows_share_one_bucket_and_many_keep_their_masks() {
        let few = pack_u8s8_quads(&random(4, 32, 50, 127), 4);
        assert_eq!(few.segments.len(), 1);
        let many = pack_u8s8_quads(&random(4, 4608, 65, 127), 4);
        assert_eq!(many.segments.len(), 15);
    }
}
