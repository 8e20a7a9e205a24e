//! The one way passes edit a graph: look at a node, change it, let order and dead code be restored.

use super::Error;
use crate::ir::{Graph, Tensor, ValueId};

/// Who makes and who reads every value, as of the moment it was built.
pub(super) struct Uses {
    producers: Vec<Option<usize>>,
    consumers: Vec<Vec<usize>>,
    is_output: Vec<bool>,
}

impl Uses {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut is_output = vec![false; graph.values.len()];
        for o in &graph.outputs {
            is_output[o.index()] = true;
        }
        Uses { producers: graph.producers(), consumers: graph.consumers(), is_output }
    }

    /// Index of the node that makes `value`.
    pub(super) fn producer(&self, value: ValueId) -> Option<usize> {
        self.producers[value.index()]
    }

    /// Indices of the nodes that read `value`, once per read.
    pub(super) fn consumers(&self, value: ValueId) -> &[usize] {
        &self.consumers[value.index()]
    }

    /// Whether `value` is an output of the graph.
    pub(super) fn is_output(&self, value: ValueId) -> bool {
        self.is_output[value.index()]
    }

    /// The node that reads `value`, when nothing else does, not even the graph's outputs.
    pub(super) fn sole_consumer(&self, value: ValueId) -> Option<usize> {
        match self.consumers(value) {
            [only] if !self.is_output(value) => Some(*only),
            _ => None,
        }
    }
}

/// Offers every node to `rewrite` until it declines them all. `rewrite` may change nodes in place, append nodes,
/// remove nodes and redirect uses; it returns whether it did. Returns how often it did.
pub(super) fn until_stable(
    graph: &mut Graph,
    mut rewrite: impl FnMut(&mut Graph, &Uses, usize) -> Result<bool, Error>,
) -> Result<usize, Error> {
    let mut changes = 0;
    'again: loop {
        let uses = Uses::of(graph);
        for n in 0..graph.nodes.len() {
            if rewrite(graph, &uses, n)? {
                changes += 1;
                drop_dead_nodes(graph);
                restore_order(graph);
                continue 'again;
            }
        }
        return Ok(changes);
    }
}

/// Makes every reader of `from` read the equal value `to`. An output of the graph is handed over with its name, so
/// that outputs stay distinct results of nodes; where `to` cannot take its place nothing is changed.
pub(super) fn redirect(graph: &mut Graph, uses: &Uses, from: ValueId, to: ValueId) -> bool {
    if uses.is_output(from) {
        if uses.producer(to).is_none() || uses.is_output(to) {
            return false;
        }
        graph.values[to.index()].name = graph.value(from).name.clone();
    }
    graph.replace_uses(from, to);
    true
}

/// Removes the nodes that no graph output depends on.
pub(super) fn drop_dead_nodes(graph: &mut Graph) {
    let producers = graph.producers();
    let mut live = vec![false; graph.nodes.len()];
    let mut pending: Vec<ValueId> = graph.outputs.clone();
    while let Some(value) = pending.pop() {
        if let Some(n) = producers[value.index()]
            && !live[n]
        {
            live[n] = true;
            pending.extend(&graph.nodes[n].inputs);
        }
    }
    let mut live = live.into_iter();
    graph.nodes.retain(|_| live.next().expect("one flag per node"));
}

/// Makes the node order topological again, moving a node forward only when a node before it reads it.
pub(super) fn restore_order(graph: &mut Graph) {
    let producers = graph.producers();
    let mut placed = vec![false; graph.nodes.len()];
    let mut order = Vec::with_capacity(graph.nodes.len());
    for root in 0..graph.nodes.len() {
        let mut stack = vec![(root, 0)];
        while let Some((n, next_input)) = stack.pop() {
            if placed[n] {
                continue;
            }
            let missing = graph.nodes[n].inputs[next_input..]
                .iter()
                .enumerate()
                .find_map(|(i, v)| producers[v.index()].filter(|&p| !placed[p]).map(|p| (i, p)));
            match missing {
                Some((i, producer)) => {
                    stack.push((n, next_input + i + 1));
                    stack.push((producer, 0));
                }
                None => {
                    placed[n] = true;
                    order.push(n);
                }
            }
        }
    }
    if order.iter().enumerate().all(|(i, &n)| i == n) {
        return;
    }
    let mut nodes: Vec<_> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.into_iter().map(|n| nodes[n].take().expect("every node is placed once")).collect();
}

/// The elements of an `f32` constant that holds one number.
pub(super) fn scalar(graph: &Graph, value: ValueId) -> Option<f32> {
    match graph.constant(value)?.as_f32()? {
        [x] => Some(*x),
        _ => None,
    }
}

/// One element per channel of a feature map of `channels` channels, when `value` is a constant that broadcasts
/// against such a map along the channel axis only.
pub(super) fn per_channel<T: Copy>(
    graph: &Graph,
    value: ValueId,
    channels: usize,
    elements: impl FnOnce(&Tensor) -> Option<&[T]>,
) -> Option<Vec<T>> {
    let tensor = graph.constant(value)?;
    let data = elements(tensor)?;
    if let [one] = data {
        return (tensor.shape.len() <= 4).then(|| vec![*one; channels]);
    }
    let along_channels = match tensor.shape.as_slice() {
        [1, c, 1, 1] | [c, 1, 1] => *c == channels,
        _ => false,
    };
    along_channels.then(|| data.to_vec())
}
