//! Removes channels that cannot influence any output, through any number of layers.
//!
//! Two facts are used. A convolution's output channel without nonzero weights holds one value everywhere
//! ([`constant`]); where a reader cannot tell it from padding, or has no padding, its contribution moves into the reader's
//! bias. And a channel whose weights are zero in every reader is not needed ([`liveness`]); its producer need not compute
//! it ([`shrink`]). Integer results stay equal to the bit; float results change by the rounding of a bias.
//!
//! A constant channel stays when it feeds a padded window and differs from the padding: the window sees the constant
//! inside the map and zero outside.

mod constant;
mod liveness;
mod shrink;

use super::fuse_epilogue::drop_unread_stores;
use super::rewrite::drop_dead_nodes;
use super::{Error, Report};
use crate::ir::Graph;

/// Most channels of all maps together that are looked at; memory grows with them.
const MAX_CHANNELS: usize = 1 << 24;

/// Folds constant channels into biases and removes the channels no output depends on. Graphs with more than
/// [`MAX_CHANNELS`] stay as they are.
pub fn dead_channels(graph: &mut Graph, report: &mut Report) -> Result<(), Error> {
    let each = (0..graph.values.len()).filter_map(|v| channels(graph, crate::ir::ValueId(v as u32)));
    if each.fold(0usize, usize::saturating_add) > MAX_CHANNELS {
        return Ok(());
    }
    let macs = graph.macs();
    constant::fold_constant_channels(graph, report)?;
    let live = liveness::live_channels(graph);
    shrink::keep_live(graph, &live, report);
    drop_dead_nodes(graph);
    drop_unread_stores(graph);
    report.channel_macs += macs - graph.macs();
    Ok(())
}

/// Channels of a feature map; `None` for other values.
fn channels(graph: &Graph, value: crate::ir::ValueId) -> Option<usize> {
    match graph.ty(value).shape.as_slice() {
        [1, channels, _, _] => Some(*channels),
        _ => None,
    }
}

/// Geometry of the weight `[out, in / group, kh, kw]` of a convolution in terms of its feature maps.
#[derive(Clone, Copy)]
struct WeightAxes {
    outputs: usize,
    inputs_per_group: usize,
    outputs_per_group: usize,
    /// Elements per output and input channel.
    window: usize,
}

impl WeightAxes {
    fn of(shape: &[usize], group: usize) -> Self {
        let [outputs, inputs_per_group, kh, kw] = *shape else { unreachable!("a convolution's weight has four axes") };
        WeightAxes { outputs, inputs_per_group, outputs_per_group: outputs / group, window: kh * kw }
    }

    /// The input channel that column `column` of output `output` reads.
    fn input(&self, output: usize, column: usize) -> usize {
        output / self.outputs_per_group * self.inputs_per_group + column
    }

    /// Where the window of an output and column lies in the elements.
    fn window(&self, output: usize, column: usize) -> std::ops::Range<usize> {
        let start = (output * self.inputs_per_group + column) * self.window;
        start..start + self.window
    }
}
