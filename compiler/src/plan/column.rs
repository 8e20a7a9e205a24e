//! The schedule: layer by layer, or in tensor columns.
//!
//! A column is a run of consecutive layers that are computed stripe by stripe: for every stripe each layer advances
//! just as many rows as the layers after it need to finish theirs. Nothing is computed twice, so the result is the
//! same for every stripe height; what changes is how much of a map is still in cache when it is read.

use super::draft::{Draft, Source};
use super::halo::rows_needed;
use crate::ir::Graph;
use peristyle_runtime::engine::Step;
use std::ops::Range;

/// Which layers run in columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// The planner decides: so far always layer by layer. Stripes through the maps that exceed the second-level cache gained
    /// 1.5 % at most on one thread, for maps of 26 MB, and cost 5 to 10 % on two, which have fewer units to share.
    #[default]
    Auto,
    /// Every layer runs as a whole.
    Off,
    /// Every run of layers that can be, is computed in stripes of this many rows of its last layer.
    Rows(usize),
}

/// A run of layers computed stripe by stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Indices of the layers.
    pub layers: Range<usize>,
    /// Number of stripes.
    pub stripes: usize,
}

/// Chooses the columns of a plan.
pub fn columns(drafts: &[Draft], columns: Columns) -> Vec<Column> {
    let rows = |i: usize| drafts[i].rows.unwrap_or(0);
    let member = |i: usize| drafts[i].rows.is_some();
    let height = match columns {
        Columns::Off | Columns::Auto => return Vec::new(),
        Columns::Rows(height) => height.max(1),
    };
    let mut found = Vec::new();
    let mut first = 0;
    while first < drafts.len() {
        let end = (first..drafts.len()).find(|&i| !member(i)).unwrap_or(drafts.len());
        if end - first > 1 {
            let tallest = sinks(drafts, &(first..end)).into_iter().map(rows).max().unwrap_or(1);
            let stripes = tallest.div_ceil(height);
            if stripes > 1 {
                found.push(Column { layers: first..end, stripes });
            }
        }
        first = end + 1;
    }
    found
}

/// Layers of a run that no other layer of it reads.
fn sinks(drafts: &[Draft], layers: &Range<usize>) -> Vec<usize> {
    layers.clone().filter(|&i| readers(drafts, layers, i).next().is_none()).collect()
}

/// Layers of a run after `layer` that read what it writes, and the read.
fn readers<'a>(
    drafts: &'a [Draft],
    layers: &Range<usize>,
    layer: usize,
) -> impl Iterator<Item = (usize, crate::ir::ValueId)> + 'a {
    let writes = &drafts[layer].writes;
    (layer + 1..layers.end).flat_map(move |i| {
        let reads = drafts[i].reads.iter().filter(|(buffer, _)| writes.contains(buffer));
        reads.map(move |&(_, value)| (i, value))
    })
}

/// The order of all work: columns striped, every other layer whole.
pub fn schedule(graph: &Graph, drafts: &[Draft], columns: &[Column]) -> Vec<Step> {
    let whole = |i: usize| Step::new(i as u32, 0, drafts[i].rows.unwrap_or(1) as u32);
    let mut steps = Vec::new();
    let mut next = 0;
    for column in columns {
        steps.extend((next..column.layers.start).map(whole));
        stripes(graph, drafts, column, &mut steps);
        next = column.layers.end;
    }
    steps.extend((next..drafts.len()).map(whole));
    steps
}

fn stripes(graph: &Graph, drafts: &[Draft], column: &Column, steps: &mut Vec<Step>) {
    let height = |i: usize| drafts[i].rows.expect("layers of a column have rows");
    let mut done = vec![0; column.layers.len()];
    for stripe in 1..=column.stripes {
        let mut target = vec![0; column.layers.len()];
        for i in column.layers.clone().rev() {
            let own = (height(i) * stripe).div_ceil(column.stripes);
            let mut needed = None;
            for (reader, value) in readers(drafts, &column.layers, i) {
                let rows = target[reader - column.layers.start];
                let read = needed_rows(graph, &drafts[reader], value, rows, height(i));
                needed = Some(needed.unwrap_or(0).max(read));
            }
            target[i - column.layers.start] = needed.unwrap_or(own).max(done[i - column.layers.start]);
        }
        if stripe == column.stripes {
            target.iter_mut().zip(column.layers.clone()).for_each(|(t, i)| *t = height(i));
        }
        for i in column.layers.clone() {
            let at = i - column.layers.start;
            if target[at] > done[at] {
                steps.push(Step::new(i as u32, done[at] as u32, target[at] as u32));
                done[at] = target[at];
            }
        }
    }
}

/// Rows of `value` that the first `rows` output rows of a draft read.
fn needed_rows(graph: &Graph, draft: &Draft, value: crate::ir::ValueId, rows: usize, height: usize) -> usize {
    match &draft.source {
        Source::Node(index) => {
            let node = &graph.nodes[*index];
            let reads = node.inputs.iter().enumerate().filter(|(_, i)| **i == value);
            let needed = reads.map(|(i, _)| rows_needed(&node.op, i, rows, height).unwrap_or(height));
            needed.max().unwrap_or(height)
        }
        Source::Copy { .. } => rows,
        Source::Load { .. } | Source::Output { .. } => height,
    }
}
