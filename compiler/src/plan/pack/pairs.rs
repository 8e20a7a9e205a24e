//! Packing of pairs for two outputs at a time, in blocks whose sums fit 16 bits.
//!
//! The blocks of a mask are few loops of constant length, so rows are sorted into *bins* the size of a block: large
//! weights first, each where the sums of its outputs stay lowest. What fills no block of the larger sizes goes to the
//! smaller ones, and a handful of rows of one output to the pairs of both.

use super::{Builder, Row, groups, merge};
use peristyle_runtime::kernels::conv::u8s8_spconv::{
    BLOCK_NEGATIVE, BLOCK_POSITIVE, PAIR_BLOCKS, PAIR_MASKS, PAIRS_AHEAD, PAIRS_GROUP, PART_BLOCKS, QUAD,
};
use peristyle_runtime::kernels::conv::{Segment, Table};

/// Bins among which a row finds the best: with more of them rows of a block would lie far apart.
const WINDOW: usize = 16;
/// Eighths of a block that must be rows.
const FULL: usize = 6;
/// Rows of one output, left over by its blocks, that are cheaper as pairs of both.
const LIFTED: usize = 8;

/// Packs `i8` rows.
pub fn pack_u8s8_pairs(rows: &[Row<i8>]) -> Table {
    let mut builder = Builder::default();
    for (outputs, rows) in groups(rows, PAIRS_GROUP) {
        let rows: Vec<PairRow> = merge(&rows).into_iter().map(PairRow::new).collect();
        let parts = parts(&rows, outputs.len());
        let (mut offsets, mut words, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        parts.iter().for_each(|part| part.write(&mut offsets, &mut words, &mut segments));
        builder.group(&outputs, offsets, words, &segments);
    }
    // The kernel reads offsets ahead.
    builder.offsets.extend([0; 2 * PAIRS_AHEAD]);
    builder.finish(PAIRS_GROUP)
}

/// An input row and its weights.
#[derive(Clone, Copy)]
struct PairRow {
    offset: i32,
    weights: [i8; PAIRS_GROUP],
}

impl PairRow {
    fn new((offset, weights): (i32, Vec<Option<i8>>)) -> PairRow {
        let weight = |j: usize| weights.get(j).copied().flatten().unwrap_or(0);
        PairRow { offset, weights: std::array::from_fn(weight) }
    }

    fn mask(&self) -> u8 {
        u8::from(self.weights[0] != 0) | u8::from(self.weights[1] != 0) << 1
    }

    fn magnitude(&self) -> u8 {
        self.weights[0].unsigned_abs().max(self.weights[1].unsigned_abs())
    }
}

/// Rows that make up a block, and the sums of their weights by output and sign.
#[derive(Clone, Default)]
struct Bin {
    rows: Vec<PairRow>,
    sums: [(i32, i32); PAIRS_GROUP],
}

impl Bin {
    fn of(rows: &[PairRow]) -> Bin {
        let mut bin = Bin::default();
        rows.iter().for_each(|&row| bin.push(row));
        bin
    }

    /// The sums with a row more.
    fn with(&self, row: PairRow) -> [(i32, i32); PAIRS_GROUP] {
        std::array::from_fn(|j| {
            let (w, (positive, negative)) = (i32::from(row.weights[j]), self.sums[j]);
            (positive + w.max(0), negative - w.min(0))
        })
    }

    fn push(&mut self, row: PairRow) {
        self.sums = self.with(row);
        self.rows.push(row);
    }
}

fn fits(sums: [(i32, i32); PAIRS_GROUP]) -> bool {
    sums.iter().all(|&(positive, negative)| positive <= BLOCK_POSITIVE && negative <= BLOCK_NEGATIVE)
}

/// The bins of every mask and size of block, in the order of `PAIR_MASKS` and `PAIR_BLOCKS`.
#[derive(Default)]
struct Part {
    bins: [[Vec<Bin>; PAIR_BLOCKS.len()]; PAIR_MASKS.len()],
}

/// As few parts as the kernel can sum up.
fn parts(rows: &[PairRow], outputs: usize) -> Vec<Part> {
    let mut count = 1;
    loop {
        let size = rows.len().div_ceil(count).max(1);
        let parts: Vec<Part> = rows.chunks(size).map(|rows| Part::new(rows, outputs)).collect();
        if parts.is_empty() {
            return vec![Part::default()];
        }
        if parts.iter().all(|part| part.blocks() <= PART_BLOCKS) {
            return parts;
        }
        count *= 2;
    }
}

impl Part {
    fn new(rows: &[PairRow], outputs: usize) -> Part {
        PAIR_BLOCKS[..2].iter().find_map(|&block| Part::in_order(rows, block)).unwrap_or_else(|| {
            let mut part = Part::default();
            let [mut both, first, second] =
                PAIR_MASKS.map(|mask| rows.iter().filter(|row| row.mask() == mask).copied().collect::<Vec<_>>());
            for (bins, rows) in part.bins[1..].iter_mut().zip([first, second]) {
                let left = fill(rows, bins, outputs > 1);
                both.extend(left);
            }
            both.sort_by_key(|row| row.offset);
            fill(both, &mut part.bins[0], false);
            part
        })
    }

    /// Rows that both outputs use, one after the other, in blocks of this size and a smaller end, if all sums fit: groups of
    /// a dense layer then share their offsets.
    fn in_order(rows: &[PairRow], block: usize) -> Option<Part> {
        let mut part = Part::default();
        let mut rest = rows;
        for (bins, size) in part.bins[0].iter_mut().zip(PAIR_BLOCKS) {
            if size > block {
                continue;
            }
            let count = if size == PAIR_BLOCKS[PAIR_BLOCKS.len() - 1] {
                rest.len()
            } else {
                rest.len() / (2 * size) * 2 * size
            };
            let (now, later) = rest.split_at(count);
            bins.extend(now.chunks(2 * size).map(Bin::of));
            rest = later;
        }
        let fit = part.bins[0].iter().flatten().all(|bin| fits(bin.sums));
        (fit && rows.iter().all(|row| row.mask() == PAIR_MASKS[0])).then_some(part)
    }

    /// Most blocks of an output.
    fn blocks(&self) -> usize {
        let [both, first, second] = self.bins.each_ref().map(|bins| bins.iter().map(Vec::len).sum::<usize>());
        both + first.max(second)
    }

    fn write(&self, offsets: &mut Vec<i32>, words: &mut Vec<u32>, segments: &mut Vec<Segment>) {
        for (mask, bins) in PAIR_MASKS.into_iter().zip(&self.bins) {
            for (block, bins) in PAIR_BLOCKS.into_iter().zip(bins) {
                let count = u16::try_from(bins.len()).expect("a part has few blocks");
                segments.push(Segment { mask, block: block as u8, count });
                for bin in bins {
                    let mut rows = bin.rows.clone();
                    rows.sort_by_key(|row| row.offset);
                    let last = rows.last().expect("bins are not empty").offset;
                    rows.resize(2 * block, PairRow { offset: last, weights: [0; PAIRS_GROUP] });
                    offsets.extend(rows.iter().map(|row| row.offset));
                    for pairs in rows.chunks(QUAD) {
                        let used = (0..PAIRS_GROUP).filter(|j| mask >> j & 1 == 1);
                        words.extend(
                            used.map(|j| u32::from_le_bytes(std::array::from_fn(|i| pairs[i].weights[j] as u8))),
                        );
                    }
                }
            }
        }
    }
}

/// Sorts rows into bins of every size, and returns the few rows that are left when `lift` allows any.
fn fill(rows: Vec<PairRow>, bins: &mut [Vec<Bin>; PAIR_BLOCKS.len()], lift: bool) -> Vec<PairRow> {
    let mut left = rows;
    for (bins, block) in bins.iter_mut().zip(PAIR_BLOCKS) {
        let smallest = block == PAIR_BLOCKS[PAIR_BLOCKS.len() - 1];
        if smallest && lift && left.len() <= LIFTED {
            break;
        }
        left.sort_by_key(|row| row.offset);
        let mut out = Vec::new();
        for window in left.chunks(2 * block * WINDOW) {
            let mut rows = window.to_vec();
            rows.sort_by_key(|row| (std::cmp::Reverse(row.magnitude()), row.offset));
            let mut open = vec![Bin::default(); window.len() / (2 * block)];
            for row in rows {
                let free = open.iter_mut().filter(|bin| bin.rows.len() < 2 * block && fits(bin.with(row)));
                let load = |bin: &Bin| bin.with(row).iter().map(|s| s.0.max(s.1)).max();
                match free.min_by_key(|bin| (load(bin), bin.rows.len())) {
                    Some(bin) => bin.push(row),
                    None if smallest => open.push(Bin::of(&[row])),
                    None => out.push(row),
                }
            }
            // What a block lacks is multiplied all the same; smaller ones cost less then.
            for bin in open {
                if smallest || bin.rows.len() * 8 >= 2 * block * FULL {
                    bins.push(bin);
                } else {
                    out.extend(bin.rows);
                }
            }
        }
        bins.retain(|bin| !bin.rows.is_empty());
        left = out;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;
    use peristyle_runtime::kernels::conv::Group;

    const SHAPES: [(usize, usize, u32, u32); 10] = [
        (1, 1, 0, 127),
        (2, 3, 0, 127),
        (4, 0, 0, 127),
        (6, 64, 50, 20),
        (7, 576, 65, 127),
        (5, 1152, 90, 60),
        (4, 9, 95, 127),
        (3, 4608, 0, 127),
        (4, 512, 0, 3),
        (2, 4608, 20, 20),
    ];

    /// What stands for two pairs: their offsets, and for every output that uses them its four weights.
    type Quad = ([i32; 4], Vec<(usize, [i8; 4])>);

    /// The quads of a group by segment, in the order of the table.
    fn quads(table: &Table, group: &Group) -> Vec<(Segment, Vec<Quad>)> {
        let (mut offset, mut weight) = (group.offset as usize, group.weight as usize);
        let mut quad = |segment: &Segment| {
            let offsets = std::array::from_fn(|i| table.offsets[offset + i]);
            offset += 4;
            let used = (0..PAIRS_GROUP).filter(|j| segment.mask >> j & 1 == 1);
            let weights = used.map(|j| {
                weight += 1;
                (j, table.weights[weight - 1].to_le_bytes().map(|w| w as i8))
            });
            (offsets, weights.collect())
        };
        let segments = table.segments(group).iter();
        segments.map(|segment| (*segment, (0..segment.entries() / 2).map(|_| quad(segment)).collect())).collect()
    }

    #[test]
    fn every_weight_is_packed_once() {
        for (outputs, inputs, zeros, largest) in SHAPES {
            let rows = random(outputs, inputs, zeros, largest);
            let table = pack_u8s8_pairs(&rows);
            let mut packed = vec![Vec::new(); outputs];
            for group in table.groups.iter() {
                for (offsets, weights) in quads(&table, group).into_iter().flat_map(|(_, quads)| quads) {
                    for (j, weights) in weights {
                        let used = offsets.into_iter().zip(weights).filter(|(_, w)| *w != 0);
                        packed[usize::from(group.outputs[j])].extend(used);
                    }
                }
            }
            packed.iter_mut().for_each(|row| row.sort_unstable());
            assert_eq!(packed, rows, "{outputs} {inputs} {zeros} {largest}");
        }
    }

    #[test]
    fn sums_of_blocks_and_parts_fit() {
        for (outputs, inputs, zeros, largest) in SHAPES {
            let table = pack_u8s8_pairs(&random(outputs, inputs, zeros, largest));
            for group in table.groups.iter() {
                for part in quads(&table, group).chunks(PAIR_BLOCKS.len() * PAIR_MASKS.len()) {
                    let mut blocks = [0; PAIRS_GROUP];
                    for (segment, quads) in part {
                        for block in quads.chunks(usize::from(segment.block) / 2) {
                            let mut sums = [(0, 0); PAIRS_GROUP];
                            for (j, weights) in block.iter().flat_map(|(_, weights)| weights) {
                                for w in weights.map(i32::from) {
                                    sums[*j] = (sums[*j].0 + w.max(0), sums[*j].1 - w.min(0));
                                }
                            }
                            assert!(fits(sums));
                            block[0].1.iter().for_each(|(j, _)| blocks[*j] += 1);
                        }
                    }
                    assert!(blocks.iter().all(|&n| n <= PART_BLOCKS));
                }
            }
        }
    }

    #[test]
    fn few_weights_are_zero_and_most_blocks_are_long() {
        let rows = random(64, 1152, 65, 20);
        let table = pack_u8s8_pairs(&rows);
        let nnz: usize = rows.iter().map(Vec::len).sum();
        let slots: usize = table.segments.iter().map(Segment::slots).sum();
        let long: usize = table.segments.iter().filter(|s| s.block == 8).map(Segment::slots).sum();
        assert!(slots * 2 <= nnz * 104 / 100, "{slots} pairs for {nnz} weights");
        assert!(long * 10 > slots * 9, "{long} of {slots} in long blocks");
    }
}
