//! Which nodes the outputs depend on, and an order to read them in.

use super::error::Error;
use super::node::node_name;
use super::proto::GraphProto;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Indices of the nodes that the graph's outputs depend on, producers first, otherwise in the model's order.
pub(super) fn live_nodes(graph: &GraphProto) -> Result<Vec<usize>, Error> {
    let malformed = |text: String| Err(Error::Graph(text));
    let mut stored = HashSet::new();
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        if !stored.insert(tensor.name()) {
            return malformed(format!("two tensors are named `{}`", tensor.name()));
        }
    }
    let mut inputs = HashSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name()) {
            return malformed(format!("two graph inputs are named `{}`", input.name()));
        }
    }
    let mut producers = HashMap::new();
    for (n, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            let known = stored.contains(output.as_str()) || inputs.contains(output.as_str());
            if known || producers.insert(output.as_str(), n).is_some() {
                return malformed(format!("the value `{output}` is defined more than once"));
            }
        }
    }

    let producer = |name: &str| -> Result<Option<usize>, ()> {
        match producers.get(name) {
            Some(&n) => Ok(Some(n)),
            None if stored.contains(name) || inputs.contains(name) => Ok(None),
            None => Err(()),
        }
    };
    let mut live = vec![false; graph.node.len()];
    let mut pending = Vec::new();
    for output in &graph.output {
        match producer(output.name()) {
            Ok(n) => pending.extend(n),
            Err(()) => return malformed(format!("the graph output `{}` is not defined", output.name())),
        }
    }
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut unread = vec![0usize; graph.node.len()];
    while let Some(n) = pending.pop() {
        if std::mem::replace(&mut live[n], true) {
            continue;
        }
        let node = &graph.node[n];
        for input in node.input.iter().filter(|i| !i.is_empty()) {
            match producer(input) {
                Ok(None) => {}
                Ok(Some(p)) => {
                    readers.entry(p).or_default().push(n);
                    unread[n] += 1;
                    pending.push(p);
                }
                Err(()) => {
                    let (op, name) = (node.op_type(), node_name(node));
                    return malformed(format!("the {op} node `{name}` reads `{input}`, which is not defined"));
                }
            }
        }
    }

    let mut ready: BTreeSet<usize> = (0..live.len()).filter(|&n| live[n] && unread[n] == 0).collect();
    let mut order = Vec::new();
    while let Some(n) = ready.pop_first() {
        order.push(n);
        for &reader in readers.get(&n).map_or(&[][..], Vec::as_slice) {
            unread[reader] -= 1;
            if unread[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    match (0..live.len()).find(|&n| live[n] && unread[n] > 0) {
        Some(n) => {
            let node = &graph.node[n];
            malformed(format!(
                "the {} node `{}` lies on a cycle of nodes, or behind one",
                node.op_type(),
                node_name(node)
            ))
        }
        None => Ok(order),
    }
}
