//! Packing for straight-line code: pairs of rows that several outputs share.

use super::{Builder, MergedRow, Row, groups, mask, merge, words};
use peristyle_runtime::kernels::conv::u8s8_spconv::{BLOCK_NEGATIVE, BLOCK_POSITIVE};
use peristyle_runtime::kernels::conv::{Segment, Table};

/// Packs `i8` rows in groups of `group` outputs, two rows to an entry. The sums of any one entry fit 16 bits.
pub fn pack_u8s8_shared(rows: &[Row<i8>], group: usize) -> Table {
    let mut builder = Builder::default();
    for (outputs, rows) in groups(rows, group) {
        let mut entries: Vec<Pair> = Vec::new();
        for (a, b) in pairs(merge(&rows)) {
            let b = b.unwrap_or((a.0, vec![None; outputs.len()]));
            let weights: Vec<[i8; 2]> = a.1.iter().zip(&b.1).map(|(a, b)| [a.unwrap_or(0), b.unwrap_or(0)]).collect();
            if weights.iter().all(|&w| fits(w)) {
                entries.push(Pair::new([a.0, b.0], weights));
            } else {
                entries.push(Pair::new([a.0, a.0], weights.iter().map(|w| [w[0], 0]).collect()));
                entries.push(Pair::new([b.0, b.0], weights.iter().map(|w| [0, w[1]]).collect()));
            }
        }
        entries.sort_by_key(|e| (e.mask, e.offsets));
        let offsets = entries.iter().flat_map(|e| e.offsets).collect();
        let used = entries.iter().flat_map(|e| e.weights.iter().filter(|w| **w != [0, 0]));
        let halves: Vec<[i8; 2]> = used.copied().collect();
        let segments: Vec<Segment> = entries.iter().map(|e| Segment { mask: e.mask, block: 1, count: 1 }).collect();
        builder.group(&outputs, offsets, words(&halves), &segments);
    }
    builder.finish(group)
}

/// Whether one multiply-add of the pair stays within 16 bits.
fn fits([a, b]: [i8; 2]) -> bool {
    let (a, b) = (i32::from(a), i32::from(b));
    a.max(0) + b.max(0) <= BLOCK_POSITIVE && a.min(0) + b.min(0) >= -BLOCK_NEGATIVE
}

/// Two rows, and the two weights of every output of the group.
struct Pair {
    mask: u8,
    offsets: [i32; 2],
    weights: Vec<[i8; 2]>,
}

impl Pair {
    fn new(offsets: [i32; 2], weights: Vec<[i8; 2]>) -> Pair {
        let mask = weights.iter().enumerate().filter(|(_, w)| **w != [0, 0]).fold(0, |m, (j, _)| m | 1 << j);
        Pair { mask, offsets, weights }
    }
}

/// Pairs rows of equal mask; the odd ones left over join the row that shares most outputs and differs in fewest.
fn pairs(rows: Vec<MergedRow>) -> Vec<(MergedRow, Option<MergedRow>)> {
    let mut waiting: [Option<MergedRow>; 256] = [const { None }; 256];
    let mut pairs = Vec::new();
    for row in rows {
        let m = usize::from(mask(&row.1));
        match waiting[m].take() {
            Some(first) => pairs.push((first, Some(row))),
            None => waiting[m] = Some(row),
        }
    }
    let mut left: Vec<MergedRow> = waiting.into_iter().flatten().collect();
    while let Some(a) = left.pop() {
        let ma = mask(&a.1);
        let best = (0..left.len()).max_by_key(|&i| {
            let mb = mask(&left[i].1);
            ((ma & mb).count_ones(), std::cmp::Reverse((ma ^ mb).count_ones()), std::cmp::Reverse(i))
        });
        let b = best.map(|i| left.remove(i));
        pairs.push((a, b));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::super::tests::{expand_pairs, random};
    use super::*;

    #[test]
    fn every_weight_is_packed_once() {
        for (outputs, inputs, zeros) in [(1, 1, 0), (4, 3, 0), (6, 64, 50), (8, 576, 65), (5, 1152, 90), (4, 9, 95)] {
            let rows = random(outputs, inputs, zeros, 127);
            assert_eq!(expand_pairs(&pack_u8s8_shared(&rows, 4), outputs), rows, "{outputs} {inputs} {zeros}");
        }
    }
}
