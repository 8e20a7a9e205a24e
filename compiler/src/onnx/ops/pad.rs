//! Padding, which exists only as part of the convolution or pool behind it.

use super::Table;
use crate::ir::{DType, ValueId};
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table = &[("Pad", pad)];

fn pad(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    let rank = ctx.ty(x).shape.len();
    let amounts = ctx.integers_or_attribute(1, "pads")?.unwrap_or_default();
    let axes: Vec<usize> = match ctx.optional(3) {
        Some(_) => ctx.integers(3, "axes")?.into_iter().map(|a| axis(a, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if amounts.len() != 2 * axes.len() {
        return Fault::malformed(format!("{} pads for {} axes", amounts.len(), axes.len()));
    }
    if amounts.iter().all(|&a| a == 0) {
        return ctx.alias(x);
    }
    let mode = ctx.attributes.string("mode")?;
    if !matches!(mode, "" | "constant") {
        return Fault::unsupported(format!("attribute `mode` is `{mode}`, expected `constant`"));
    }
    let value = match ctx.optional(2) {
        Some(_) => *ctx.floats(2, "value")?.first().unwrap_or(&0.0),
        None => ctx.attributes.float("value")?.unwrap_or(0.0),
    };
    let lowest = value <= f32::MIN;
    if value != 0.0 && !lowest {
        return Fault::unsupported(format!("it pads with {value}, expected 0"));
    }
    ctx.expect_dtype(x, &[DType::F32])?;
    ctx.expect_map(x)?;
    let mut border = [0; 4];
    for (i, &a) in axes.iter().enumerate() {
        let (before, after) = (amounts[i], amounts[i + axes.len()]);
        match a {
            2 | 3 if (0..=1 << 20).contains(&before) && (0..=1 << 20).contains(&after) => {
                border[a - 2] = before as usize;
                border[a] = after as usize;
            }
            _ if before == 0 && after == 0 => {}
            _ => {
                let amounts = listed(&amounts);
                return Fault::unsupported(format!("it pads by [{amounts}], expected height and width to grow"));
            }
        }
    }
    let padded = emit_padded(ctx, x, border, lowest)?;
    ctx.bind(0, padded)
}

/// A value that stands for `source` with a border.
pub(super) fn emit_padded(
    ctx: &mut NodeContext<'_, '_>,
    source: ValueId,
    border: [usize; 4],
    lowest: bool,
) -> Result<ValueId, Fault> {
    // Padding of a padded map adds up when both hold the same value.
    let (source, border) = match ctx.importer.padded.get(&source) {
        Some(inner) if inner.lowest == lowest => (inner.source, std::array::from_fn(|i| border[i] + inner.pad[i])),
        _ => (source, border),
    };
    let [_, channels, height, width] = ctx.expect_map(source)?;
    let [top, left, bottom, right] = border;
    let ty = ctx.checked(ctx.ty(source).dtype, &[1, channels, height + top + bottom, width + left + right])?;
    let id = ctx.importer.graph.add_value(ctx.output_name(0), ty);
    ctx.importer.pad(id, source, border, lowest);
    Ok(id)
}
