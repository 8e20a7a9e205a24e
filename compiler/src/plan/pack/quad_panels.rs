//! Packing of quads by panels, in blocks whose sums fit 16 bits.
//!
//! The blocks of an output are loops of constant length. Runs of quads that follow each other are fastest; from them the
//! largest weights are taken out until their sums fit. Other quads come in any order, so they are sorted into bins the size
//! of a block: large weights first, each where the sums of its pairs stay lowest. How long most blocks should be depends
//! on how large the weights are, and whether runs pay on how many are zero; the cheapest of all ways is taken.

use super::bare_groups;
use peristyle_runtime::kernels::conv::u8s8_panels::{BLOCK_SUM, BLOCKS, GROUP, QUAD, record_words};
use peristyle_runtime::kernels::conv::{Segment, Table};

/// Weights of one output: number of a quad, and a weight for each of its rows; numbers ascend.
pub type Quads = Vec<(usize, [i8; QUAD])>;

/// Sizes of blocks whose quads are not a run.
const SIZES: [usize; 4] = [16, 12, 8, 4];
/// What a quad costs, one of a run, the end of a block, and another kind of block, in quarters of a cycle for 64 pixels.
pub(in crate::plan) const QUAD_COST: usize = 25;
pub(in crate::plan) const RUN_QUAD_COST: usize = 22;
pub(in crate::plan) const END_COST: usize = 40;
pub(in crate::plan) const KIND_COST: usize = 30;

/// Packs the weights of every output for panels of `panel` quads, of `quads` in all, and units of `unit` outputs.
pub fn pack_quad_panels(outputs: &[Quads], panel: usize, quads: usize, unit: usize) -> Table {
    let (mut segments, mut offsets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..quads).step_by(panel) {
        let bins = |output: &Quads| {
            let range = output.partition_point(|q| q.0 < first)..output.partition_point(|q| q.0 < first + panel);
            let entries = output[range].iter().flat_map(|&(quad, weights)| split((quad - first) as u8, weights));
            blocks(&entries.collect::<Vec<_>>(), panel.min(quads - first))
        };
        for unit in outputs.chunks(unit) {
            let mut order: Vec<(usize, Vec<Bin>)> = unit.iter().map(bins).enumerate().collect();
            let count = |bins: &[Bin], kind| bins.iter().filter(|bin| bin.kind() == kind).count();
            order.sort_by_cached_key(|(place, bins)| (BLOCKS.map(|kind| count(bins, kind)), *place));
            for (place, bins) in &order {
                let place = u8::try_from(*place).expect("units have few outputs");
                offsets.push(i32::try_from(weights.len()).expect("tables have fewer than 2^31 words"));
                write(bins, place, &mut segments, &mut weights);
            }
        }
    }
    quad_table(outputs.len(), segments, offsets, weights)
}

/// A table of panels of quads for so many outputs.
pub(super) fn quad_table(outputs: usize, segments: Vec<Segment>, offsets: Vec<i32>, weights: Vec<u32>) -> Table {
    Table {
        group: GROUP,
        groups: bare_groups(outputs, GROUP).into(),
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

/// Entries that make up a block: any, up to its size, or at most one for every quad from the first of a run on.
#[derive(Clone, Debug)]
struct Bin {
    size: usize,
    run: Option<u8>,
    entries: Vec<Entry>,
    sums: Sums,
}

impl Bin {
    fn new(size: usize, run: Option<u8>) -> Bin {
        Bin { size, run, entries: Vec::new(), sums: Sums::default() }
    }

    fn push(&mut self, entry: Entry) {
        self.sums = self.sums.with(entry);
        self.entries.push(entry);
    }

    fn kind(&self) -> (usize, bool) {
        (self.size, self.run.is_some())
    }

    fn cost(&self) -> usize {
        END_COST + self.size * if self.run.is_some() { RUN_QUAD_COST } else { QUAD_COST }
    }
}

/// The cheapest blocks found for entries of a panel of `quads` quads.
fn blocks(entries: &[Entry], quads: usize) -> Vec<Bin> {
    let cost = |bins: &Vec<Bin>| {
        let kinds = BLOCKS.iter().filter(|&&kind| bins.iter().any(|bin| bin.kind() == kind)).count();
        bins.iter().map(Bin::cost).sum::<usize>() + kinds * KIND_COST
    };
    let listed = (0..SIZES.len()).map(|largest| fill(entries, &SIZES[largest..]));
    let in_runs = [&[16, 12, 8][..], &[12, 8], &[8]].into_iter().map(|sizes| {
        let (mut bins, rest) = runs(entries, quads, sizes);
        bins.extend(
            (0..SIZES.len()).map(|largest| fill(&rest, &SIZES[largest..])).min_by_key(cost).unwrap_or_default(),
        );
        bins
    });
    listed.chain(in_runs).min_by_key(cost).expect("there are ways")
}

/// Runs of these lengths, largest first, from the beginning of the panel on, where most quads have an entry that fits; and
/// the other entries.
fn runs(entries: &[Entry], quads: usize, sizes: &[usize]) -> (Vec<Bin>, Vec<Entry>) {
    let (mut bins, mut rest) = (Vec::new(), Vec::new());
    let (mut first, mut left) = (0, entries);
    while first < quads {
        let run = sizes.iter().find_map(|&size| {
            let (inside, later) = left.split_at(left.partition_point(|entry| usize::from(entry.quad) < first + size));
            let (bin, taken_out) = run(inside, first as u8, size);
            // Multiplying a few quads by zeros costs less than listing all others.
            let full = first + size <= quads && bin.entries.len() * 8 >= size * 7;
            full.then_some((bin, taken_out, later))
        });
        let size = match run {
            Some((bin, taken_out, later)) => {
                rest.extend(taken_out);
                left = later;
                let size = bin.size;
                bins.push(bin);
                size
            }
            None => {
                let size = sizes[sizes.len() - 1];
                let (inside, later) = left.split_at(left.partition_point(|e| usize::from(e.quad) < first + size));
                rest.extend(inside);
                left = later;
                size
            }
        };
        first += size;
    }
    (bins, rest)
}

/// A run of the entries, less those of the largest weights while sums do not fit, which are returned as well.
fn run(entries: &[Entry], first: u8, size: usize) -> (Bin, Vec<Entry>) {
    let (mut kept, mut taken_out) = (entries.to_vec(), Vec::new());
    // Of a quad that is split in two the second half has no place.
    let mut at = 1;
    while at < kept.len() {
        if kept[at].quad == kept[at - 1].quad {
            taken_out.push(kept.remove(at));
        } else {
            at += 1;
        }
    }
    loop {
        let sums = kept.iter().fold(Sums::default(), |sums, &entry| sums.with(entry));
        if fits(sums) {
            let mut bin = Bin::new(size, Some(first));
            kept.into_iter().for_each(|entry| bin.push(entry));
            return (bin, taken_out);
        }
        let excess = |entry: &Entry| -> i32 {
            let of_entry = Sums::default().with(*entry).0;
            sums.0.into_iter().zip(of_entry).map(|(sum, part)| part.min((sum - BLOCK_SUM).max(0))).sum()
        };
        let most = (0..kept.len()).max_by_key(|&i| (excess(&kept[i]), i)).expect("no sum of nothing is too large");
        taken_out.push(kept.remove(most));
    }
}

/// Sorts entries into blocks of these sizes, as many of the first as possible.
fn fill(entries: &[Entry], sizes: &[usize]) -> Vec<Bin> {
    let smallest = sizes[sizes.len() - 1];
    let mut left = entries.len().next_multiple_of(smallest);
    let mut bins = Vec::new();
    for &size in sizes {
        bins.extend(std::iter::repeat_n(Bin::new(size, None), left / size));
        left %= size;
    }
    let mut order = entries.to_vec();
    order.sort_by_key(|&entry| (std::cmp::Reverse(Sums::default().with(entry).largest()), entry));
    for entry in order {
        let free = bins.iter_mut().filter(|bin| bin.entries.len() < bin.size && fits(bin.sums.with(entry)));
        // The load of a bin is that of the place it has for an entry.
        let load = |bin: &&mut Bin| bin.sums.with(entry).largest() as usize * SIZES[0] / bin.size;
        match free.min_by_key(|bin| (load(bin), bin.entries.len())) {
            Some(bin) => bin.push(entry),
            None => {
                let mut bin = Bin::new(smallest, None);
                bin.push(entry);
                bins.push(bin);
            }
        }
    }
    bins.retain(|bin| !bin.entries.is_empty());
    for bin in &mut bins {
        bin.size = sizes.iter().copied().filter(|&size| size >= bin.entries.len()).min().unwrap_or(bin.size);
        bin.entries.sort_unstable();
    }
    bins
}

fn write(bins: &[Bin], place: u8, segments: &mut Vec<Segment>, weights: &mut Vec<u32>) {
    let word = |entry: &Entry| u32::from_le_bytes(entry.weights.map(|w| w as u8));
    for (size, run) in BLOCKS {
        let now: Vec<&Bin> = bins.iter().filter(|bin| bin.kind() == (size, run)).collect();
        let count = u16::try_from(now.len()).expect("a panel has few blocks");
        segments.push(Segment { mask: place, block: size as u8, count });
        for bin in now {
            let start = weights.len();
            match bin.run {
                Some(first) => {
                    weights.resize(start + size, 0);
                    bin.entries.iter().for_each(|e| weights[start + usize::from(e.quad - first)] = word(e));
                    weights.push(first.into());
                }
                None => {
                    weights.extend(bin.entries.iter().map(word));
                    weights.resize(start + size, 0);
                    let quad = |i: usize| bin.entries.get(i).unwrap_or(&bin.entries[0]).quad;
                    let numbers = |four: usize| u32::from_le_bytes(std::array::from_fn(|i| quad(four * 4 + i)));
                    weights.extend((0..size / 4).map(numbers));
                }
            }
            debug_assert_eq!(weights.len() - start, record_words(size, run));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::plan::pack) fn random(outputs: usize, quads: usize, zeros: u32, largest: u32) -> Vec<Quads> {
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

    /// Places and records of all outputs, panel by panel.
    fn records(table: &Table, outputs: usize) -> Vec<(u8, Vec<Quads>)> {
        let mut parts = Vec::new();
        for (part, segments) in table.segments.chunks(BLOCKS.len()).enumerate() {
            let mut at = table.offsets[part] as usize;
            let mut records = Vec::new();
            for (segment, (block, run)) in segments.iter().zip(BLOCKS) {
                assert_eq!(usize::from(segment.block), block);
                for _ in 0..segment.count {
                    let numbers = &table.weights[at + block..at + record_words(block, run)];
                    let bytes: Vec<u8> = numbers.iter().flat_map(|word| word.to_le_bytes()).collect();
                    let number = |i: usize| if run { numbers[0] as usize + i } else { usize::from(bytes[i]) };
                    let entry = |i: usize| (number(i), table.weights[at + i].to_le_bytes().map(|byte| byte as i8));
                    records.push((0..block).map(entry).collect());
                    at += record_words(block, run);
                }
            }
            assert_eq!(at, table.offsets.get(part + 1).map_or(table.weights.len(), |&next| next as usize));
            parts.push((segments[0].mask, records));
        }
        assert_eq!(parts.len() % outputs.max(1), 0);
        parts
    }

    const UNIT: usize = 4;
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
            let table = pack_quad_panels(&weights, panel, quads, UNIT);
            let mut sums = vec![vec![[0i32; QUAD]; quads]; outputs];
            for (part, (place, records)) in records(&table, outputs).into_iter().enumerate() {
                let output = part % outputs / UNIT * UNIT + usize::from(place);
                for record in records {
                    let mut block = [[0i32; 2]; 2];
                    for (number, weights) in record {
                        for (i, w) in weights.into_iter().enumerate() {
                            let w = i32::from(w);
                            block[i / 2][usize::from(w < 0)] += w.abs();
                            sums[output][part / outputs * panel + number][i] += w;
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
        let table = pack_quad_panels(&weights, 96, 96, 16);
        let slots: usize = table.segments.iter().map(Segment::entries).sum();
        let long: usize = table.segments.iter().filter(|s| s.block >= 12).map(Segment::entries).sum();
        assert!(slots <= 16 * 96 * 105 / 100 && long * 10 >= slots * 8, "{long} of {slots} in long blocks");
    }
}
