//! The tables of panels for dot products, [`Conv::quads`]: two outputs share the loads of the quads that both use.
//!
//! Outputs of a unit are taken in *pairs*, those first that have most quads in common. For every panel, unit and pair there is
//! a record: the weights of its [steps](STEPS_OF_TWO) in order, then the numbers of their quads, a byte each, filled up to a
//! word. Its segments, one of every kind of step, count the steps; the masks of the first two are the places of the pair's
//! outputs in the unit, which are equal for the one output that may be left over. Pairs with equal counts follow each
//! other: a processor foresees the ends of loops that are as long as the last time.

use super::{Conv, QUAD, count, in_order};
use crate::kernels::conv::table::{STEPS_OF_TWO, Segment, Table};
use alloc::vec::Vec;

/// Outputs of a pair.
pub const PAIR: usize = 2;

/// Pairs of so many outputs.
pub(super) const fn pairs(outputs: usize) -> usize {
    outputs.div_ceil(PAIR)
}

/// Weights and quads of a record.
pub fn lengths(segments: &[Segment]) -> (usize, usize) {
    segments.iter().zip(STEPS_OF_TWO).fold((0, 0), |(weights, quads), (segment, kind)| {
        let count = usize::from(segment.count);
        let products: u32 = kind.iter().map(|outputs| outputs.count_ones()).sum();
        (weights + count * products as usize, quads + count * kind.len())
    })
}

/// What keeps kernels from reading the records of a layer whose panels have so many rows.
pub(super) fn fault(panel_rows: usize, conv: &Conv, table: &Table) -> Option<&'static str> {
    let same = (table.group, table.groups.len(), count(table))
        == (conv.table.group, conv.table.groups.len(), count(&conv.table));
    if !same || !in_order(table) {
        return Some("its pairs of outputs are in another order than its panels");
    }
    let (outputs, unit, rows) = (count(table), conv.blocking.outputs, conv.packed.len());
    let kinds = STEPS_OF_TWO.len();
    let parts = pairs(outputs) * rows.div_ceil(panel_rows);
    if table.segments.len() != parts * kinds || table.offsets.len() != parts || !unit.is_multiple_of(PAIR) {
        return Some("a panel lacks pairs of outputs");
    }
    let mut records = table.segments.chunks(kinds).zip(table.offsets.iter());
    let mut at = 0;
    for first in (0..rows).step_by(panel_rows) {
        let quads = panel_rows.min(rows - first) / QUAD;
        for start in (0..outputs).step_by(unit) {
            let outputs = unit.min(outputs - start);
            let mut places = Vec::new();
            for (segments, &offset) in records.by_ref().take(pairs(outputs)) {
                let [first, second] = [segments[0].mask, segments[1].mask];
                places.push(first);
                if second != first {
                    places.push(second);
                } else if segments.iter().zip(STEPS_OF_TWO).any(|(segment, kind)| kind != [1] && segment.count > 0) {
                    return Some("an output is paired with itself");
                }
                let (weights, numbers) = lengths(segments);
                let numbers = table.weights.get(at + weights..).and_then(|rest| rest.get(..numbers.div_ceil(4)));
                let inside = |words: &[u32]| words.iter().flat_map(|w| w.to_ne_bytes()).all(|n| usize::from(n) < quads);
                if offset as usize != at || !numbers.is_some_and(inside) {
                    return Some("a record has quads of another panel");
                }
                at += weights + numbers.map_or(0, <[u32]>::len);
            }
            places.sort_unstable();
            if !places.iter().copied().map(usize::from).eq(0..outputs) {
                return Some("a panel lacks an output of a pair");
            }
        }
    }
    None
}
