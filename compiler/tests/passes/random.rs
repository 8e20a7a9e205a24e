//! Random networks of integer convolutions, as exporters write them, through all passes.

use crate::graphs::{Build, check, ops};
use peristyle_compiler::ir::{Activation, Binary, DType, Graph, Op, ValueId};
use proptest::prelude::*;

/// A random network in the ConvInteger form, of float maps with one shape but for their channels.
fn random_network(seed: u32) -> Graph {
    let mut b = Build::new(u64::from(seed) + 1);
    let x = b.input(DType::F32, [1, 3, 5, 4]);
    let mut maps = vec![convolution(&mut b, x)];
    for _ in 0..10 {
        let x = pick(&mut b, &maps);
        let y = match b.noise.below(8) {
            0 => b.max_pool(x),
            1 => {
                let other = pick(&mut b, &maps);
                b.concat(&[x, other])
            }
            2 if b.shape(x)[1] > 2 => {
                let [_, c, h, w] = b.shape(x);
                b.slice(x, [0, 1, 0, 0], [1; 4], [1, c - 1, h, w])
            }
            3 | 4 => {
                let other = pick(&mut b, &maps);
                if b.shape(x) == b.shape(other) { b.binary(Binary::Add, x, other) } else { convolution(&mut b, x) }
            }
            5 => {
                let activation = [Activation::Relu, Activation::Silu, Activation::HardSwish];
                let which = b.noise.below(3) as usize;
                b.activation(activation[which], x)
            }
            _ => convolution(&mut b, x),
        };
        maps.push(y);
    }
    let (last, other) = (*maps.last().expect("maps were made"), pick(&mut b, &maps));
    let y = convolution(&mut b, last);
    let z = b.resize(other);
    b.finish(&[y, z])
}

fn pick(b: &mut Build, maps: &[ValueId]) -> ValueId {
    maps[b.noise.below(maps.len() as u64) as usize]
}

/// Quantises with one of a few parameters, so that some maps are quantised alike, and convolves.
fn convolution(b: &mut Build, x: ValueId) -> ValueId {
    let (scale, zero) = [(0.02, 100), (0.03, 128), (0.02, 0)][b.noise.below(3) as usize];
    let q = b.quantize(x, scale, zero, DType::U8);
    let (kernel, pad) = [(3, 1), (1, 0)][b.noise.below(2) as usize];
    let outputs = 2 + b.noise.below(3) as usize;
    b.integer_conv(q, zero, outputs, kernel, pad)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_compute_the_same_bits_on_integers(seed in any::<u32>()) {
        let (after, _) = check(&random_network(seed), 0.0);
        prop_assert!(!ops(&after).contains(&"conv_integer"));
        prop_assert!(after.nodes.iter().all(|n| !matches!(n.op, Op::Cast(_))));
    }
}
