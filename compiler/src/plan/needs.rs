//! What every step of a schedule waits for.
//!
//! Threads share the units of a layer, and whoever is done with them goes on with the next layer where it can: units of
//! convolutions need what their windows reach, and some layers need nothing of the one before. So threads that are not
//! equally fast, or have not equally much to do, wait for each other far less often than once a layer. The step before the
//! previous one is always complete, so memory is free for others one step after its last use at the latest.

use super::draft::{Draft, Source};
use crate::ir::{Conv, Graph, Node, Op, ValueId};
use peristyle_runtime::engine::{Needs, Step};
use std::ops::Range;

/// Sets what the steps of a schedule need.
pub fn set(graph: &Graph, drafts: &[Draft], schedule: &mut [Step]) {
    for at in 1..schedule.len() {
        let [before, step] = [&schedule[at - 1], &schedule[at]].map(|step| (step, &drafts[step.layer as usize]));
        let whole = [before, step].iter().all(|(s, draft)| s.first == 0 && draft.rows == Some(s.end as usize));
        if whole {
            schedule[at].needs = needs(graph, before.1, step.1);
        }
    }
}

/// What a layer needs of the one before, both as a whole.
fn needs(graph: &Graph, before: &Draft, draft: &Draft) -> Needs {
    let (Some(_), Some((node, conv))) = (convolution(graph, before), convolution(graph, draft)) else {
        return Needs::All;
    };
    let read = draft.reads.iter().filter(|(buffer, _)| before.writes.contains(buffer));
    let all = read.map(|&(_, value)| window(graph, node, conv, value)).reduce(|a, b| match (a, b) {
        _ if a == b => a,
        _ => Needs::All,
    });
    all.unwrap_or(Needs::Nothing)
}

fn convolution<'a>(graph: &'a Graph, draft: &Draft) -> Option<(&'a Node, &'a Conv)> {
    let Source::Node(index) = draft.source else { return None };
    let node = &graph.nodes[index];
    if let Op::Conv(conv) = &node.op { Some((node, conv)) } else { None }
}

/// Through which windows a convolution reads a value: its own, or those of a residual.
fn window(graph: &Graph, node: &Node, conv: &Conv, value: ValueId) -> Needs {
    let g = &conv.geometry;
    let read = node.inputs[0] == value;
    if read && node.inputs[1..].contains(&value) {
        return Needs::All;
    }
    if !read {
        return Needs::Window { stride: 1, reach: [0; 4] };
    }
    let [top, left, _, right] = g.pad;
    let behind = |axis: usize, before: usize| ((g.kernel[axis] - 1) * g.dilation[axis]).saturating_sub(before);
    let (mut left, mut right) = (left, behind(1, left).max(right));
    if g.stride[0] == 1 && g.stride[1] != 1 {
        // Windows of pixels that lie side by side do not: all columns of their rows.
        let columns = graph.ty(value).shape[3];
        (left, right) = (left + columns, right + columns);
    }
    let reach = [top, left, behind(0, top), right].map(|n| n as u32);
    Needs::Window { stride: g.stride[0] as u32, reach }
}

/// For every buffer the steps from its first use to the one after its last, which may start before the last use ends.
pub fn lives(drafts: &[Draft], schedule: &[Step], buffers: usize) -> Vec<Range<usize>> {
    let mut lives = vec![0..0; buffers];
    for (at, step) in schedule.iter().enumerate() {
        let end = match schedule.get(at + 1) {
            Some(next) if next.needs != Needs::All => at + 2,
            _ => at + 1,
        };
        let draft = &drafts[step.layer as usize];
        for buffer in draft.writes.iter().copied().chain(draft.reads.iter().map(|r| r.0)) {
            if lives[buffer].is_empty() {
                lives[buffer] = at..end;
            }
            lives[buffer].end = end;
        }
    }
    lives
}
