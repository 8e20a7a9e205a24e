//! Convolutions: rows of nonzeros, packed tables, epilogues.

use super::{Lowering, activation, unsupported, weights};
use crate::ir::{self, Node, Tensor};
use crate::plan::halo::Taps;
use crate::plan::kernel::{Choice, Sparsity};
use crate::plan::pack::{
    Quads, Row, pack_dot_panels, pack_f32, pack_panels, pack_quad_panels, pack_u8s8_pairs, pack_u8s8_quads,
    pack_u8s8_shared, pack_winograd,
};
use crate::plan::{ConvNote, PlanError};
use peristyle_runtime::engine::Kind;
use peristyle_runtime::kernels::conv::u8s8_panels::QUAD;
use peristyle_runtime::kernels::conv::{Arithmetic, Conv, Epilogue, PanelTile, Residual, ResidualAt};
use peristyle_runtime::kernels::map::Map;

/// Most outputs of a convolution; tables number them in 16 bits.
const MAX_OUTPUTS: usize = u16::MAX as usize;

impl Lowering<'_> {
    pub(super) fn conv(&self, node: &Node, conv: &ir::Conv, choice: Choice) -> Result<(Kind, ConvNote), PlanError> {
        let graph = self.graph;
        let input = self.map(node.inputs[0], self.places.placement(node.inputs[0], conv.geometry.stride));
        let weights = weights(graph, node);
        let shape = &graph.ty(node.outputs[0]).shape;
        if shape[1] > MAX_OUTPUTS {
            return Err(unsupported(
                node,
                &format!(
                    "it has {} output channels, at most {MAX_OUTPUTS} are supported: split it into several and join them",
                    shape[1]
                ),
            ));
        }
        if node.inputs.get(3).is_some_and(|&residual| graph.constant(residual).is_some()) {
            return Err(unsupported(node, "its residual is a constant; add it in a node of its own"));
        }
        let too_far = || unsupported(node, "its weights reach over more than 2 GiB of its input");
        let mut packed = Vec::new();
        let (table, quads, unrolled) = match (choice.arithmetic, choice.panels) {
            (Arithmetic::F32, _) if choice.winograd.is_some() => (pack_winograd(weights), None, None),
            (Arithmetic::F32, panels) => {
                let w = weights.as_f32().expect("float convolutions have f32 weights");
                let zeros = panels.is_some_and(|panels| panels.tile == PanelTile::Dense4x24);
                let weight = |i: usize| (zeros || w[i] != 0.0).then_some(w[i]);
                let mut rows = rows(&input, conv, weights, weight).ok_or_else(too_far)?;
                if choice.packed {
                    packed = side_by_side(&mut rows, choice.blocking.pass_tiles * choice.arithmetic.tile() * 4);
                }
                let table = match panels {
                    Some(panels) => pack_panels(&rows, panels, choice.blocking.outputs, packed.len()),
                    None => pack_f32(&rows, choice.group),
                };
                (table, None, None)
            }
            (Arithmetic::U8S8, Some(panels)) => {
                let w = weights.as_i8().expect("quantised convolutions have i8 weights");
                let outputs;
                (packed, outputs) = self::quads(&input, conv, weights, w).ok_or_else(too_far)?;
                let [panel, quads] = [panels.rows, packed.len()].map(|rows| rows / QUAD);
                let unit = choice.blocking.outputs;
                let dots = pack_dot_panels(&outputs, panel, quads, unit);
                (pack_quad_panels(&outputs, panel, quads, unit), Some(dots), None)
            }
            (Arithmetic::U8S8, None) => {
                let w = weights.as_i8().expect("quantised convolutions have i8 weights");
                let mut rows = rows(&input, conv, weights, |i| (w[i] != 0).then_some(w[i])).ok_or_else(too_far)?;
                if choice.packed {
                    packed = side_by_side(&mut rows, choice.blocking.pass_tiles * choice.arithmetic.tile());
                }
                let unrolled = choice.unrolled.then(|| pack_u8s8_shared(&rows, choice.group));
                (pack_u8s8_pairs(&rows), Some(pack_u8s8_quads(&rows, choice.group)), unrolled)
            }
        };
        let bias = graph.constant(node.inputs[2]).and_then(|b| b.as_f32()).expect("biases are f32 constants");
        let (acc_bias, scale) = match &conv.quant {
            None => (Vec::new(), Vec::new()),
            Some(quant) => {
                let w = weights.as_i8().expect("quantised convolutions have i8 weights");
                let sums = w
                    .chunks(w.len() / shape[1])
                    .map(|row| row.iter().fold(0, |sum: i32, &w| sum.wrapping_add(w.into())));
                let zero = i32::from(quant.x_zero);
                (
                    quant.acc_bias.iter().zip(sums).map(|(b, sum)| b.wrapping_sub(zero.wrapping_mul(sum))).collect(),
                    quant.scale.clone(),
                )
            }
        };
        let residual = conv.epilogue.residual.map(|at| Residual {
            map: self.unsplit(node.inputs[3]),
            at: match at {
                ir::Residual::BeforeActivation => ResidualAt::BeforeActivation,
                ir::Residual::AfterActivation => ResidualAt::AfterActivation,
            },
        });
        let stores = conv.epilogue.stores.iter().zip(&node.outputs).flat_map(|(store, &value)| match *store {
            ir::Store::F32 => self.stores(value, 1.0, 0),
            ir::Store::U8 { scale, zero } => self.stores(value, scale, zero),
        });
        let pixels = (shape[2] * shape[3]) as u64;
        let sparsity = Sparsity::of(weights);
        let kind = Kind::Conv(Conv {
            arithmetic: choice.arithmetic,
            input,
            out_height: shape[2],
            out_width: shape[3],
            table,
            quads,
            unrolled,
            packed: packed.into(),
            panels: choice.panels,
            winograd: choice.winograd,
            blocking: choice.blocking,
            epilogue: Epilogue {
                acc_bias: acc_bias.into(),
                scale: scale.into(),
                bias: bias.to_vec().into(),
                activation: activation(conv.epilogue.activation),
                residual,
                stores: stores.collect(),
            },
        });
        let (macs, nnz_macs) = (sparsity.weights as u64 * pixels, sparsity.nnz as u64 * pixels);
        Ok((kind, ConvNote { sparsity, macs, nnz_macs, choice }))
    }
}

/// Nonzeros of every output channel by the byte offset of the input row they multiply; `None` when an offset does not
/// fit 32 bits.
fn rows<W>(input: &Map, conv: &ir::Conv, weights: &Tensor, weight: impl Fn(usize) -> Option<W>) -> Option<Vec<Row<W>>> {
    let [out, inputs, kh, kw] = weights.shape[..] else { unreachable!("weights have four axes (invariant 4)") };
    let taps = Taps::new(&conv.geometry);
    let per_group = out / conv.geometry.group;
    let row = |o: usize| {
        let mut row = Vec::new();
        for i in 0..inputs {
            let channel = o / per_group * inputs + i;
            for ky in 0..kh {
                for kx in 0..kw {
                    let Some(w) = weight(((o * inputs + i) * kh + ky) * kw + kx) else { continue };
                    row.push((offset(input, &taps, channel, [ky, kx])?, w));
                }
            }
        }
        row.sort_by_key(|e| e.0);
        Some(row)
    };
    (0..out).map(row).collect()
}

/// Byte offset of the input row of a channel and tap.
fn offset(input: &Map, taps: &Taps, channel: usize, [ky, kx]: [usize; 2]) -> Option<i32> {
    let [sh, sw] = input.split;
    let ((phase_y, y), (phase_x, x)) = (taps.rows[ky], taps.columns[kx]);
    let plane = (channel * sh + phase_y) * sw + phase_x;
    let element = (plane * input.plane) as isize + y * input.row as isize + x;
    i32::try_from(element * input.dtype.size() as isize).ok()
}

/// The rows of all quads that any output uses, and the weights of every output by quad: four consecutive channels of a
/// tap, or else any four rows, the last of which may be filled up with one of them.
fn quads(input: &Map, conv: &ir::Conv, weights: &Tensor, w: &[i8]) -> Option<(Vec<i32>, Vec<Quads>)> {
    let [out, inputs, kh, kw] = weights.shape[..] else { unreachable!("weights have four axes (invariant 4)") };
    let count = kh * kw;
    let elements: Vec<usize> = if inputs.is_multiple_of(QUAD) {
        let tap = |block: usize, tap: usize| (0..QUAD).map(move |i| (block * QUAD + i) * count + tap);
        (0..inputs / QUAD).flat_map(|block| (0..count).flat_map(move |t| tap(block, t))).collect()
    } else {
        (0..inputs * count).collect()
    };
    let weight = |o: usize, element: usize| w[o * inputs * count + element];
    let is_used = |quad: &&[usize]| (0..out).any(|o| quad.iter().any(|&element| weight(o, element) != 0));
    let quads: Vec<&[usize]> = elements.chunks(QUAD).filter(is_used).collect();
    let taps = Taps::new(&conv.geometry);
    let rows = quads.iter().flat_map(|quad| (0..QUAD).map(|i| quad[i.min(quad.len() - 1)]));
    let rows = rows.map(|element| offset(input, &taps, element / count, [element % count / kw, element % kw]));
    let weights_of = |o: usize, quad: &[usize]| -> [i8; QUAD] {
        std::array::from_fn(|i| quad.get(i).map_or(0, |&element| weight(o, element)))
    };
    let output = |o: usize| {
        let quads = quads.iter().enumerate().map(|(number, quad)| (number, weights_of(o, quad)));
        quads.filter(|(_, weights)| *weights != [0; QUAD]).collect()
    };
    Some((rows.collect::<Option<_>>()?, (0..out).map(output).collect()))
}

/// Numbers the rows that any output uses, replaces their offsets by those in a copy that has one every `pitch` bytes, and
/// returns the offsets they are copied from.
fn side_by_side<W>(rows: &mut [Row<W>], pitch: usize) -> Vec<i32> {
    let mut used: Vec<i32> = rows.iter().flatten().map(|e| e.0).collect();
    used.sort_unstable();
    used.dedup();
    for entry in rows.iter_mut().flatten() {
        let index = used.binary_search(&entry.0).expect("every offset is among those collected");
        entry.0 = i32::try_from(index * pitch).expect("a pass is smaller than 2 GiB");
    }
    used
}
