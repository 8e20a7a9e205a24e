//! Channels that hold nothing but zeros, which passes remove before a plan is made.

use crate::ir::{Data, Graph, Op, Tensor};
use std::collections::BTreeMap;

/// The zeros of a weight tensor, and those that make up whole channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelZeros {
    /// All elements.
    pub weights: usize,
    /// Those that are zero.
    pub zeros: usize,
    /// Those of output channels and input channels that are all zero.
    pub in_channels: usize,
}

impl ChannelZeros {
    /// Counts the zeros of a constant `[out, in, ...]`.
    fn of(tensor: &Tensor) -> Option<ChannelZeros> {
        let [outputs, inputs, ref window @ ..] = tensor.shape[..] else { return None };
        let taps: usize = window.iter().product();
        let is_zero: Vec<bool> = match &tensor.data {
            Data::F32(v) => v.iter().map(|&w| w == 0.0).collect(),
            Data::I8(v) => v.iter().map(|&w| w == 0).collect(),
            _ => return None,
        };
        let channel = |o: usize, i: usize| &is_zero[(o * inputs + i) * taps..][..taps];
        let empty = |o: usize, i: usize| channel(o, i).iter().all(|&zero| zero);
        let pairs: Vec<bool> = (0..outputs * inputs).map(|at| empty(at / inputs, at % inputs)).collect();
        let empty_outputs = (0..outputs).filter(|o| pairs[o * inputs..(o + 1) * inputs].iter().all(|&e| e)).count();
        let empty_inputs = (0..inputs).filter(|i| (0..outputs).all(|o| pairs[o * inputs + i])).count();
        let used = (outputs - empty_outputs) * (inputs - empty_inputs);
        Some(ChannelZeros {
            weights: is_zero.len(),
            zeros: is_zero.iter().filter(|&&zero| zero).count(),
            in_channels: (outputs * inputs - used) * taps,
        })
    }

    /// Whether most zeros are those of whole channels, and there are enough of them to speak of a pattern.
    pub fn is_pattern(&self) -> bool {
        self.zeros * 20 >= self.weights && self.in_channels * 10 >= self.zeros * 8
    }
}

/// The zeros of every convolution of a graph, by its name.
pub fn channel_zeros(graph: &Graph) -> BTreeMap<String, ChannelZeros> {
    let of = |node: &crate::ir::Node| match node.op {
        Op::Conv(_) => Some((node.name.clone(), ChannelZeros::of(graph.constant(node.inputs[1])?)?)),
        _ => None,
    };
    graph.nodes.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_channels_are_a_pattern() {
        let tensor = |zero: &dyn Fn(usize, usize, usize) -> bool| {
            let at = |k: usize| (k / 36, k / 9 % 4, k % 9);
            let w = (0..8 * 4 * 9).map(|k| if zero(at(k).0, at(k).1, at(k).2) { 0.0 } else { 1.0 }).collect();
            ChannelZeros::of(&Tensor::f32([8, 4, 3, 3], w)).expect("weights")
        };
        let outputs = tensor(&|o, _, _| o < 3);
        assert_eq!((outputs.zeros, outputs.in_channels), (3 * 36, 3 * 36));
        assert!(outputs.is_pattern());
        let both = tensor(&|o, i, _| o < 3 || i == 2);
        assert_eq!((both.zeros, both.in_channels), (288 - 5 * 27, 288 - 5 * 27));
        assert!(both.is_pattern());
        let taps = tensor(&|_, _, tap| tap != 4);
        assert_eq!((taps.zeros, taps.in_channels, taps.is_pattern()), (256, 0, false));
        assert!(!tensor(&|_, _, _| false).is_pattern());
    }
}
