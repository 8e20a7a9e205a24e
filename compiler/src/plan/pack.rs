//! Packing the nonzeros of a convolution into the runtime's tables.

mod quads;

pub use quads::pack_u8s8_quads;

use peristyle_runtime::kernels::conv::u8s8_spconv::{SEGMENT_NEGATIVE, SEGMENT_POSITIVE, SPILL_WEIGHTS};
use peristyle_runtime::kernels::conv::{Group, Segment, Table};
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
    for (first, outputs) in groups(rows, group) {
        let mut entries: Vec<Entry> = merge(outputs)
            .into_iter()
            .map(|(offset, weights)| Entry {
                mask: mask(&weights),
                offsets: vec![offset],
                words: weights.into_iter().flatten().map(f32::to_bits).collect(),
            })
            .collect();
        entries.sort_by_key(|e| (e.mask, e.offsets[0]));
        let segments = runs(&entries);
        builder.group(first, outputs.len(), entries, segments);
    }
    builder.finish()
}

/// Packs `i8` rows in groups of `group` outputs, two rows to an entry.
pub fn pack_u8s8(rows: &[Row<i8>], group: usize) -> Table {
    let mut builder = Builder::default();
    for (first, outputs) in groups(rows, group) {
        let mut entries: Vec<Pair> = Vec::new();
        for (a, b) in pairs(merge(outputs)) {
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
        let segments = segments(&entries, outputs.len());
        let entries = entries
            .into_iter()
            .map(|pair| Entry { mask: pair.mask, offsets: pair.offsets.to_vec(), words: pair.words() })
            .collect();
        builder.group(first, outputs.len(), entries, segments);
    }
    builder.finish()
}

/// Whether one multiply-add of the pair, and it alone after a carry, stays within 16 bits.
fn fits([a, b]: [i8; 2]) -> bool {
    let (a, b) = (i32::from(a), i32::from(b));
    a.max(0) + b.max(0) <= SEGMENT_POSITIVE && a.min(0) + b.min(0) >= -SEGMENT_NEGATIVE
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

    /// One word per bit of the mask: both weights, twice.
    fn words(&self) -> Vec<u32> {
        let used = self.weights.iter().filter(|w| **w != [0, 0]);
        used.map(|&[a, b]| (u32::from(a as u8) | (u32::from(b as u8) << 8)) * 0x1_0001).collect()
    }
}

fn groups<W>(rows: &[Row<W>], group: usize) -> impl Iterator<Item = (usize, &[Row<W>])> {
    rows.chunks(group).enumerate().map(move |(g, outputs)| (g * group, outputs))
}

/// The rows that any output uses, ascending, with the weight of each output.
fn merge<W: Copy>(outputs: &[Row<W>]) -> Vec<(i32, Vec<Option<W>>)> {
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

type MergedRow = (i32, Vec<Option<i8>>);

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

/// Runs of equal masks.
fn runs(entries: &[Entry]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for entry in entries {
        match segments.last_mut() {
            Some(s) if s.mask == entry.mask && s.count < u16::MAX => s.count += 1,
            _ => segments.push(Segment { mask: entry.mask, spill: 0, count: 1 }),
        }
    }
    segments
}

/// Runs of equal masks, ended before any output's 16-bit sum could overflow.
fn segments(pairs: &[Pair], outputs: usize) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut sums = vec![(0, 0); outputs];
    let mut since_spill = vec![(0, 0); outputs];
    for Pair { mask, weights, .. } in pairs {
        let share = |w: &[i8; 2]| {
            let (a, b) = (i32::from(w[0]), i32::from(w[1]));
            (a.max(0) + b.max(0), -(a.min(0) + b.min(0)))
        };
        let full = sums.iter().zip(weights).any(|(&(p, n), w)| {
            let (wp, wn) = share(w);
            p + wp > SEGMENT_POSITIVE || n + wn > SEGMENT_NEGATIVE
        });
        let spill = since_spill.iter().zip(weights).any(|(&(p, n), w)| {
            let (wp, wn) = share(w);
            p + wp > SPILL_WEIGHTS || n + wn > SPILL_WEIGHTS
        });
        match segments.last_mut() {
            Some(s) if s.mask == *mask && !full && !spill && s.count < u16::MAX => s.count += 1,
            last => {
                if let Some(last) = last
                    && spill
                {
                    last.spill = 1;
                    since_spill.fill((0, 0));
                }
                segments.push(Segment { mask: *mask, spill: 0, count: 1 });
                sums.fill((0, 0));
            }
        }
        for sum in [&mut sums, &mut since_spill] {
            sum.iter_mut().zip(weights).for_each(|(s, w)| {
                let (p, n) = share(w);
                *s = (s.0 + p, s.1 + n);
            });
        }
    }
    segments
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
    fn group(&mut self, first: usize, outputs: usize, entries: Vec<Entry>, segments: Vec<Segment>) {
        let index = |n: usize| u32::try_from(n).expect("tables have fewer than 2^32 entries");
        let offsets: Vec<i32> = entries.iter().flat_map(|e| &e.offsets).copied().collect();
        let next = index(self.offsets.len());
        let offset = *self.known.entry(offsets).or_insert_with_key(|offsets| {
            self.offsets.extend(offsets);
            next
        });
        self.groups.push(Group {
            outputs: (first..first + outputs).map(|o| u16::try_from(o).expect("fewer than 2^16 channels")).collect(),
            segments: (index(self.segments.len()), index(segments.len())),
            offset,
            weight: index(self.weights.len()),
            unrolled: None,
        });
        self.segments.extend(segments);
        self.weights.extend(entries.into_iter().flat_map(|e| e.words));
    }

    fn finish(self) -> Table {
        Table {
            groups: self.groups.into(),
            segments: self.segments.into(),
            offsets: self.offsets.into(),
            weights: self.weights.into(),
        }
    }
}
