//! Packing of quads by panels for dot products, in steps of two outputs.

use super::panels::steps;
use super::quad_panels::quad_table;
use super::{MergedRow, Quads, Row, groups, merge};
use peristyle_runtime::kernels::conv::table::STEPS_OF_TWO;
use peristyle_runtime::kernels::conv::u8s8_panels::QUAD;
use peristyle_runtime::kernels::conv::u8s8_panels::dots::PAIR;
use peristyle_runtime::kernels::conv::{Segment, Table};

/// Outputs of a unit that share loads, and their quads.
type Pair = (Vec<usize>, Vec<MergedRow<[i8; QUAD]>>);

/// Packs the weights of every output for panels of `panel` quads, of `quads` in all, and units of `unit` outputs.
pub fn pack_dot_panels(outputs: &[Quads], panel: usize, quads: usize, unit: usize) -> Table {
    let row = |output: &Quads| -> Row<[i8; QUAD]> { output.iter().map(|&(quad, w)| (quad as i32, w)).collect() };
    let rows: Vec<Row<[i8; QUAD]>> = outputs.iter().map(row).collect();
    let pairs = |unit| groups(unit, PAIR).map(|(outputs, rows)| (outputs, merge(&rows))).collect();
    let units: Vec<Vec<Pair>> = rows.chunks(unit).map(pairs).collect();
    let (mut segments, mut offsets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..quads).step_by(panel) {
        for unit in &units {
            let record = |(outputs, rows): &Pair| {
                let before = |end: usize| rows.partition_point(|row| (row.0 as usize) < end);
                Record::new(outputs, &rows[before(first)..before(first + panel)], first)
            };
            let mut records: Vec<Record> = unit.iter().map(record).collect();
            records.sort_by_key(|record| (record.counts, record.places));
            for record in records {
                offsets.push(i32::try_from(weights.len()).expect("tables have fewer than 2^31 words"));
                for (kind, count) in record.counts.into_iter().enumerate() {
                    let mask = record.places[kind.min(PAIR - 1)];
                    segments.push(Segment { mask, block: 1, count });
                }
                weights.extend(record.weights);
                let number = |four: &[u8], i: usize| four.get(i).copied().unwrap_or(0);
                let word = |four: &[u8]| u32::from_le_bytes(std::array::from_fn(|i| number(four, i)));
                weights.extend(record.numbers.chunks(4).map(word));
            }
        }
    }
    quad_table(outputs.len(), segments, offsets, weights)
}

/// What one panel has for a pair of outputs.
struct Record {
    places: [u8; PAIR],
    /// Steps of every kind.
    counts: [u16; STEPS_OF_TWO.len()],
    weights: Vec<u32>,
    numbers: Vec<u8>,
}

impl Record {
    /// That of the quads `rows` of the panel that starts at `first`.
    fn new(outputs: &[usize], rows: &[MergedRow<[i8; QUAD]>], first: usize) -> Record {
        let place = |output: usize| u8::try_from(output).expect("units have few outputs");
        let [one, other] = [outputs[0], outputs[outputs.len() - 1]];
        let mut record =
            Record { places: [place(one), place(other)], counts: Default::default(), weights: vec![], numbers: vec![] };
        for (count, steps) in record.counts.iter_mut().zip(steps(&STEPS_OF_TWO, u8::MAX, rows)) {
            *count = u16::try_from(steps.len()).expect("a panel has few quads");
            for (number, quad) in steps.iter().flatten().map(|&row| &rows[row]) {
                record.numbers.push((*number as usize - first) as u8);
                let words = quad.iter().flatten().map(|weights| u32::from_le_bytes(weights.map(|w| w as u8)));
                record.weights.extend(words);
            }
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::pack::quad_panels::tests::random;
    use peristyle_runtime::kernels::conv::u8s8_panels::dots::lengths;

    const UNIT: usize = 4;

    #[test]
    fn every_weight_is_packed_once() {
        for (outputs, quads, zeros, panel) in
            [(1, 1, 0, 96), (5, 96, 0, 96), (7, 200, 35, 96), (4, 100, 0, 96), (3, 300, 95, 96), (9, 27, 50, 8)]
        {
            let expected = random(outputs, quads, zeros, 127);
            let table = pack_dot_panels(&expected, panel, quads, UNIT);
            let mut found = vec![Quads::new(); outputs];
            let mut records = table.segments.chunks(STEPS_OF_TWO.len()).zip(table.offsets.iter());
            let mut at = 0;
            for first in (0..quads).step_by(panel) {
                for unit in (0..outputs).step_by(UNIT) {
                    let pairs = UNIT.min(outputs - unit).div_ceil(PAIR);
                    for (segments, &offset) in records.by_ref().take(pairs) {
                        assert_eq!(offset as usize, at);
                        let (weights, numbers) = lengths(segments);
                        let bytes: Vec<u8> = table.weights[at + weights..at + weights + numbers.div_ceil(4)]
                            .iter()
                            .flat_map(|word| word.to_le_bytes())
                            .collect();
                        let mut bytes = bytes.into_iter();
                        let mut words = table.weights[at..at + weights].iter();
                        let parts = segments.iter().zip(STEPS_OF_TWO);
                        for masks in parts.flat_map(|(s, kind)| std::iter::repeat_n(kind, s.count.into())) {
                            for mask in masks {
                                let quad = first + usize::from(bytes.next().expect("a number"));
                                for j in (0..PAIR).filter(|j| mask >> j & 1 == 1) {
                                    let word = words.next().expect("a weight");
                                    let output = unit + usize::from(segments[j].mask);
                                    found[output].push((quad, word.to_le_bytes().map(|byte| byte as i8)));
                                }
                            }
                        }
                        assert!(words.next().is_none() && bytes.count() < 4);
                        at += weights + numbers.div_ceil(4);
                    }
                }
            }
            assert!(at == table.weights.len() && records.next().is_none());
            found.iter_mut().for_each(|output| output.sort_unstable());
            assert_eq!(found, expected, "{outputs} {quads} {zeros}");
        }
    }
}
