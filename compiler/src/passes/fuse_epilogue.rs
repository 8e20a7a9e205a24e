//! Fuses what follows a convolution element by element into its epilogue: activation, residual, stores.

use super::rewrite::{Uses, until_stable};
use super::{Error, Report};
use crate::ir::{Activation, Binary, Conv, DType, Graph, Op, Residual, Store, ValueId};

/// Fuses an activation into the convolution whose only consumer it is.
pub fn fuse_activation(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.fused_activations += until_stable(graph, |graph, uses, n| {
        let Op::Activation(activation) = graph.nodes[n].op else { return Ok(false) };
        let Some(producer) = plain_conv(graph, uses, graph.nodes[n].inputs[0]) else { return Ok(false) };
        let output = graph.nodes[n].outputs[0];
        let conv = conv_mut(graph, producer);
        if conv.epilogue.activation != Activation::Identity || conv.epilogue.residual.is_some() {
            return Ok(false);
        }
        conv.epilogue.activation = activation;
        graph.nodes[producer].outputs[0] = output;
        graph.nodes.remove(n);
        Ok(true)
    })?;
    Ok(())
}

/// Fuses `Add` of two maps of equal shape into the convolution that makes one of them for the `Add` alone: the later
/// one when both are such convolutions. An activation that follows is taken along when the convolution has none.
pub fn fuse_residual(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.fused_residuals += until_stable(graph, |graph, uses, n| {
        if !matches!(graph.nodes[n].op, Op::Binary(Binary::Add)) {
            return Ok(false);
        }
        let (a, b, sum) = (graph.nodes[n].inputs[0], graph.nodes[n].inputs[1], graph.nodes[n].outputs[0]);
        let maps = graph.constant(a).is_none() && graph.constant(b).is_none();
        let same_shape = maps && graph.ty(a) == graph.ty(b) && graph.ty(a).dtype == DType::F32;
        let candidate = |map, other| {
            let conv = plain_conv(graph, uses, map).filter(|&p| as_conv(graph, p).epilogue.residual.is_none())?;
            Some((conv, other))
        };
        let Some((conv, residual)) = candidate(a, b).max(candidate(b, a)).filter(|_| same_shape) else {
            return Ok(false);
        };
        let before_activation = uses
            .sole_consumer(sum)
            .filter(|_| as_conv(graph, conv).epilogue.activation == Activation::Identity)
            .and_then(|reader| match graph.nodes[reader].op {
                Op::Activation(activation) => Some((reader, activation)),
                _ => None,
            });
        let (last, place) = match before_activation {
            Some((reader, activation)) => {
                conv_mut(graph, conv).epilogue.activation = activation;
                (reader, Residual::BeforeActivation)
            }
            None => (n, Residual::AfterActivation),
        };
        conv_mut(graph, conv).epilogue.residual = Some(place);
        let output = graph.nodes[last].outputs[0];
        graph.nodes[conv].inputs.push(residual);
        graph.nodes[conv].outputs[0] = output;
        graph.nodes.remove(last);
        Ok(true)
    })?;
    Ok(())
}

/// Turns every per-tensor `u8` `Quantize` of a convolution's `f32` result into a store of that convolution, and drops
/// the `f32` store when nothing reads it any more.
pub fn fuse_stores(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    report.fused_stores += until_stable(graph, |graph, uses, n| {
        let Some(store) = quantizing_store(&graph.nodes[n].op) else { return Ok(false) };
        let (input, output) = (graph.nodes[n].inputs[0], graph.nodes[n].outputs[0]);
        let Some(producer) = uses.producer(input) else { return Ok(false) };
        let Op::Conv(conv) = &mut graph.nodes[producer].op else { return Ok(false) };
        match conv.epilogue.stores.iter().position(|s| *s == store) {
            Some(twin) if !uses.is_output(output) => {
                let twin = graph.nodes[producer].outputs[twin];
                graph.replace_uses(output, twin);
            }
            _ => {
                conv.epilogue.stores.push(store);
                graph.nodes[producer].outputs.push(output);
            }
        }
        graph.nodes.remove(n);
        Ok(true)
    })?;
    drop_unread_stores(graph);
    Ok(())
}

fn quantizing_store(op: &Op) -> Option<Store> {
    let Op::Quantize(q) = op else { return None };
    let (scale, zero) = q.as_per_tensor().filter(|_| q.dtype == DType::U8)?;
    Some(Store::U8 { scale, zero: u8::try_from(zero).ok()? })
}

/// Drops the stores nothing reads, but the last one of a node.
pub(super) fn drop_unread_stores(graph: &mut Graph) {
    let uses = Uses::of(graph);
    for node in &mut graph.nodes {
        let Op::Conv(conv) = &mut node.op else { continue };
        let is_read = |v: ValueId| !uses.consumers(v).is_empty() || uses.is_output(v);
        let read: Vec<bool> = node.outputs.iter().map(|&o| is_read(o)).collect();
        if !read.contains(&true) {
            continue;
        }
        let mut keep = read.iter();
        node.outputs.retain(|_| *keep.next().expect("one flag per output"));
        let mut keep = read.iter();
        conv.epilogue.stores.retain(|_| *keep.next().expect("one store per output"));
    }
}

/// The convolution that makes `value` for a single reader and stores nothing else.
fn plain_conv(graph: &Graph, uses: &Uses, value: ValueId) -> Option<usize> {
    uses.sole_consumer(value)?;
    let producer = uses.producer(value)?;
    match &graph.nodes[producer].op {
        Op::Conv(conv) if conv.epilogue.stores == [Store::F32] => Some(producer),
        _ => None,
    }
}

fn as_conv(graph: &Graph, n: usize) -> &Conv {
    match &graph.nodes[n].op {
        Op::Conv(conv) => conv,
        _ => unreachable!("the caller found a convolution here"),
    }
}

fn conv_mut(graph: &mut Graph, n: usize) -> &mut Conv {
    match &mut graph.nodes[n].op {
        Op::Conv(conv) => conv,
        _ => unreachable!("the caller found a convolution here"),
    }
}
