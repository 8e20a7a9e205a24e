//! Packing of quads by panels, in blocks whose sums fit 16 bits.
//!
//! The blocks of an output are loops of constant length over quads of a panel in any order, so the quads are sorted into
//! bins the size of a block: large weights first, each where the sums of its pairs stay lowest. How long most blocks
//! should be depends on how large the weights are; the cheapest of all lengths is taken.

use peristyle_runtime::kernels::conv::u8s8_panels::{BLOCK_SUM, BLOCKS, GROUP, QUAD, record_words};
use peristyle_runtime::kernels::conv::{Group, Segment, Table};

/// Weights of one output: number of a quad, and a weight for each of its rows; numbers ascend.
pub type Quads = Vec<(usize, [i8; QUAD])>;

/// What a quad costs, and the end of a block.
const QUAD_COST: usize = 13;
const END_COST: usize = 20;

/// Packs the weights of every output for panels of `panel` quads, of `quads` in all.
pub fn pack_quad_panels(outputs: &[Quads], panel: usize, quads: usize) -> Table {
    let (mut segments, mut offsets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..quads).step_by(panel) {
        for output in outputs {
            let range = output.partition_point(|q| q.0 < first)..output.partition_point(|q| q.0 < first + panel);
            let entries = output[range].iter().flat_map(|&(quad, weights)| split((quad - first) as u8, weights));
            offsets.push(i32::try_from(weights.len()).expect("tables have fewer than 2^31 words"));
            write(&blocks(&entries.collect::<Vec<_>>()), &mut segments, &mut weights);
        }
    }
    let output = |o: usize| u16::try_from(o).expect("fewer than 2^16 channels");
    let group = |first: usize| Group {
        outputs: (first..outputs.len().min(first + GROUP)).map(output).collect(),
        segments: (0, 0),
        offset: 0,
        weight: 0,
        unrolled: None,
    };
    Table {
        group: GROUP,
        groups: (0..outputs.len()).step_by(GROUP).map(group).collect(),
        segments: segments.into(),
        offsets: offsets.into(),
        weights: weights.into(),
    }
}

/// A quad of the panel and its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    quad: u8,
    weights: [i8; QUAD],
}

/// The quad as one entry, or as two when one multiply-add of a pair could leave 16 bits.
fn split(quad: u8, weights: [i8; QUAD]) -> impl Iterator<Item = Entry> {
    let whole = Entry { quad, weights };
    let [a, b, c, d] = weights;
    let parts = if fits(Sums::default().with(whole)) {
        [Some(whole), None]
    } else {
        [Some(Entry { quad, weights: [a, 0, c, 0] }), Some(Entry { quad, weights: [0, b, 0, d] })]
    };
    parts.into_iter().flatten()
}

/// Of the two pairs of a quad, sums of positive weights and of the magnitudes of negative ones over a block.
#[derive(Clone, Copy, Debug, Default)]
struct Sums([i32; 4]);

impl Sums {
    fn with(self, entry: Entry) -> Sums {
        let mut sums = self.0;
        for (i, w) in entry.weights.map(i32::from).into_iter().enumerate() {
            sums[i / 2 * 2 + usize::from(w < 0)] += w.abs();
        }
        Sums(sums)
    }

    fn largest(self) -> i32 {
        self.0.into_iter().max().unwrap_or(0)
    }
}

fn fits(sums: Sums) -> bool {
    sums.largest() <= BLOCK_SUM
}

/// Entries that make up a block of a size.
#[derive(Clone, Debug)]
struct Bin {
    size: usize,
    entries: Vec<Entry>,
    sums: Sums,
}

impl Bin {
    fn new(size: usize) -> Bin {
        Bin { size, entries: Vec::new(), sums: Sums::default() }
    }

    fn push(&mut self, entry: Entry) {
        self.sums = self.sums.with(entry);
        self.entries.push(entry);
    }
}

/// The cheapest blocks found, those of one size after the other.
fn blocks(entries: &[Entry]) -> Vec<Bin> {
    let cost = |bins: &Vec<Bin>| bins.iter().map(|bin| bin.size * QUAD_COST + END_COST).sum::<usize>();
    let candidates = (0..BLOCKS.len()).map(|largest| fill(entries, &BLOCKS[largest..]));
    let mut best = candidates.min_by_key(cost).expect("there are sizes");
    best.sort_by_key(|bin| std::cmp::Reverse(bin.size));
    best
}

/// Sorts entries into blocks of these sizes, as many of the first as possible.
fn fill(entries: &[Entry], sizes: &[usize]) -> Vec<Bin> {
    let smallest = sizes[sizes.len() - 1];
    let mut left = entries.len().next_multiple_of(smallest);
    let mut bins = Vec::new();
    for &size in sizes {
        bins.extend(std::iter::repeat_n(Bin::new(size), left / size));
        left %= size;
    }
    let mut order = entries.to_vec();
    order.sort_by_key(|&entry| (std::cmp::Reverse(Sums::default().with(entry).largest()), entry));
    for entry in order {
        let free = bins.iter_mut().filter(|bin| bin.entries.len() < bin.size && fits(bin.sums.with(entry)));
        // The load of a bin is that of the place it has for an entry.
        let load = |bin: &&mut Bin| bin.sums.with(entry).largest() as usize * BLOCKS[0] / bin.size;
        match free.min_by_key(|bin| (load(bin), bin.entries.len())) {
            Some(bin) => bin.push(entry),
            None => {
                let mut bin = Bin::new(smallest);
                bin.push(entry);
                bins.push(bin);
            }
        }
    }
    bins.retain(|bin| !bin.entries.is_empty());
    for bin in &mut bins {
        bin.size = sizes.iter().copied().filter(|&size| size >= bin.entries.len()).min().unwrap_or(bin.size);
    }
    bins
}

fn write(bins: &[Bin], segments: &mut Vec<Segment>, weights: &mut Vec<u32>) {
    let mut rest = bins;
    for block in BLOCKS {
        let (now, later) = rest.split_at(rest.partition_point(|bin| bin.size >= block));
        rest = later;
        let count = u16::try_from(now.len()).expect("a panel has few blocks");
        segments.push(Segment { mask: 1, block: block as u8, count });
        for bin in now {
            let mut entries = bin.entries.clone();
            entries.sort_unstable();
            let quad = entries[0].quad;
            entries.resize(block, Entry { quad, weights: [0; QUAD] });
            weights.extend(entries.iter().map(|entry| u32::from_le_bytes(entry.weights.map(|w| w as u8))));
            let numbers = entries.chunks(4).map(|four| u32::from_le_bytes(std::array::from_fn(|i| four[i].quad)));
            weights.extend(numbers);
            debug_assert_eq!(record_words(block) * 4, block * 5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(outputs: usize, quads: usize, zeros: u32, largest: u32) -> Vec<Quads> {
        let mut state = 7u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let mut output = || {
            let mut output = Quads::new();
            for quad in 0..quads {
                if next() % 100 >= zeros {
                    let weights = [(); QUAD].map(|()| (next() % (2 * largest + 1)) as i32 - largest as i32);
                    output.push((quad, weights.map(|w| w as i8)));
                }
            }
            output
        };
        (0..outputs).map(|_| output()).collect()
    }

    /// The records of every output by panel: numbers of quads, weights.
    fn records(table: &Table, outputs: usize) -> Vec<Vec<Vec<(usize, [i8; QUAD])>>> {
        let mut parts = Vec::new();
        for (part, segments) in table.segments.chunks(BLOCKS.len()).enumerate() {
            let mut at = table.offsets[part] as usize;
            let mut records = Vec::new();
            for segment in segments {
                let block = usize::from(segment.block);
                for _ in 0..segment.count {
                    let numbers: Vec<u8> = table.weights[at + block..at + record_words(block)]
                        .iter()
                        .flat_map(|w| w.to_le_bytes())
                        .collect();
                    let entry = |i: usize| {
                        (usize::from(numbers[i]), table.weights[at + i].to_le_bytes().map(|byte| byte as i8))
                    };
                    records.push((0..block).map(entry).collect());
                    at += record_words(block);
                }
            }
            assert_eq!(at, table.offsets.get(part + 1).map_or(table.weights.len(), |&next| next as usize));
            parts.push(records);
        }
        assert_eq!(parts.len() % outputs.max(1), 0);
        parts
    }

    const SHAPES: [(usize, usize, u32, u32, usize); 8] = [
        (1, 1, 0, 127, 96),
        (5, 96, 0, 5, 96),
        (7, 200, 35, 12, 96),
        (4, 100, 0, 127, 96),
        (3, 300, 95, 60, 96),
        (2, 33, 0, 20, 8),
        (9, 27, 0, 28, 96),
        (2, 5, 100, 1, 4),
    ];

    #[test]
    fn every_weight_is_packed_once_and_sums_of_blocks_fit() {
        for (outputs, quads, zeros, largest, panel) in SHAPES {
            let weights = random(outputs, quads, zeros, largest);
            let table = pack_quad_panels(&weights, panel, quads);
            let mut sums = vec![vec![[0i32; QUAD]; quads]; outputs];
            for (part, records) in records(&table, outputs).into_iter().enumerate() {
                for record in records {
                    let mut block = [[0i32; 2]; 2];
                    for (number, weights) in record {
                        for (i, w) in weights.into_iter().enumerate() {
                            let w = i32::from(w);
                            block[i / 2][usize::from(w < 0)] += w.abs();
                            sums[part % outputs][part / outputs * panel + number][i] += w;
                        }
                    }
                    assert!(block.as_flattened().iter().all(|sum| sum * 255 <= i32::from(i16::MAX)));
                }
            }
            for (output, sums) in weights.iter().zip(&sums) {
                let mut expected = vec![[0; QUAD]; quads];
                output.iter().for_each(|&(quad, weights)| expected[quad] = weights.map(i32::from));
                assert_eq!(&expected, sums, "{outputs} {quads} {zeros} {largest}");
            }
        }
    }

    #[test]
    fn most_blocks_are_long_and_full() {
        let weights = random(16, 96, 0, 11);
        let table = pack_quad_panels(&weights, 96, 96);
        let slots: usize = table.segments.iter().map(Segment::entries).sum();
        let long: usize = table.segments.iter().filter(|s| s.block == 16).map(Segment::entries).sum();
        assert!(slots <= 16 * 96 * 105 / 100 && long * 10 >= slots * 8, "{long} of {slots} in long blocks");
    }
}
