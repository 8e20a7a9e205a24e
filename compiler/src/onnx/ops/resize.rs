//! Enlargement of feature maps.

use super::Table;
use crate::ir::Op;
use crate::onnx::error::{Fault, listed};
use crate::onnx::node::{NodeContext, Outcome, axis};

pub(super) const TABLE: Table = &[("Resize", resize), ("Upsample", upsample)];

fn upsample(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let scales = match ctx.optional(1) {
        Some(_) => ctx.floats(1, "scales")?,
        None => ctx.attributes.floats("scales")?.map(<[f32]>::to_vec).unwrap_or_default(),
    };
    let mode = Mapping { coordinates: "asymmetric", rounding: "floor" };
    enlarge(ctx, Size::Scales(scales), mode)
}

fn resize(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    if ctx.opset < 11 {
        return upsample(ctx);
    }
    let coordinates = match ctx.attributes.string("coordinate_transformation_mode")? {
        "" => "half_pixel",
        stated => stated,
    };
    let rounding = match ctx.attributes.string("nearest_mode")? {
        "" => "round_prefer_floor",
        stated => stated,
    };
    let scales = ctx.optional_constant(2, "scales")?.filter(|s| !s.is_empty());
    let sizes = ctx.optional_constant(3, "sizes")?.filter(|s| !s.is_empty());
    let size = match (scales, sizes) {
        (Some(_), None) => Size::Scales(ctx.floats(2, "scales")?),
        (None, Some(_)) => Size::Extents(ctx.integers(3, "sizes")?),
        _ => return Fault::malformed("it needs either scales or sizes"),
    };
    if !matches!(ctx.attributes.string("keep_aspect_ratio_policy")?, "" | "stretch") {
        return Fault::unsupported("attribute `keep_aspect_ratio_policy` is not `stretch`");
    }
    enlarge(ctx, size, Mapping { coordinates, rounding })
}

/// How the size of the output is given, for all axes or those of the `axes` attribute.
enum Size {
    Scales(Vec<f32>),
    Extents(Vec<i64>),
}

/// How an output coordinate is mapped to an input coordinate.
#[derive(Clone, Copy)]
struct Mapping<'m> {
    coordinates: &'m str,
    rounding: &'m str,
}

fn enlarge(ctx: &mut NodeContext<'_, '_>, size: Size, mapping: Mapping<'_>) -> Outcome {
    let x = ctx.input(0)?;
    let from = ctx.exported_shape(x);
    let [_, _, height, width] = ctx.expect_map(x)?;
    let axes: Vec<usize> = match ctx.attributes.ints("axes")? {
        None => (0..4).collect(),
        Some(axes) => axes.iter().map(|&a| axis(a, 4)).collect::<Result<_, _>>()?,
    };
    let given = match &size {
        Size::Scales(s) => s.len(),
        Size::Extents(e) => e.len(),
    };
    if given != axes.len() {
        return Fault::malformed(format!("{given} scales or sizes for {} axes", axes.len()));
    }
    let mut out = [from[0], from[1], height, width];
    let mut scales = [1f32; 4];
    for (i, &a) in axes.iter().enumerate() {
        (out[a], scales[a]) = match &size {
            Size::Scales(s) => ((from[a] as f32 * s[i]).floor() as usize, s[i]),
            // A size stored for a batch that the input leaves open.
            Size::Extents(_) if a == 0 && from[0] == 1 => (1, 1.0),
            Size::Extents(e) => (usize::try_from(e[i]).unwrap_or(0), e[i] as f32 / from[a] as f32),
        };
    }
    if out == from[..] {
        return ctx.alias(x);
    }
    let [_, _, out_height, out_width] = out;
    let mode = ctx.attributes.string("mode")?;
    if !matches!(mode, "" | "nearest") {
        return Fault::unsupported(format!("attribute `mode` is `{mode}`, expected `nearest`"));
    }
    if out[1] != from[1]
        || out[0] != from[0]
        || !out_height.is_multiple_of(height)
        || !out_width.is_multiple_of(width)
        || out_height == 0
        || out_width == 0
    {
        return Fault::unsupported(format!(
            "it resizes [{}] to [{}]; only enlargement of height and width by whole factors is supported",
            listed(&from),
            listed(out)
        ));
    }
    let dtype = ctx.ty(x).dtype;
    out[0] = 1;
    ctx.checked(dtype, &out)?;
    let factor = [out_height / height, out_width / width];
    for (i, (extent, out)) in [(height, out_height), (width, out_width)].into_iter().enumerate() {
        let even = (0..out).all(|o| source(mapping, o, scales[i + 2], extent, out) == Some(o / factor[i]));
        if !even {
            return Fault::unsupported(format!(
                "coordinate_transformation_mode `{}` with nearest_mode `{}` does not repeat every element {} times; \
                 export with `asymmetric` and `floor`",
                mapping.coordinates, mapping.rounding, factor[i]
            ));
        }
    }
    ctx.finish(Op::ResizeNearest { scale: factor }, vec![x], dtype, &out)
}

/// Index that output index `o` of `out` reads from an axis of `extent`.
fn source(mapping: Mapping<'_>, o: usize, scale: f32, extent: usize, out: usize) -> Option<usize> {
    let o = o as f32;
    let x = match mapping.coordinates {
        "asymmetric" => o / scale,
        "half_pixel" | "half_pixel_symmetric" => (o + 0.5) / scale - 0.5,
        "pytorch_half_pixel" if out > 1 => (o + 0.5) / scale - 0.5,
        "pytorch_half_pixel" => 0.0,
        "align_corners" if out > 1 => o * (extent as f32 - 1.0) / (out as f32 - 1.0),
        "align_corners" => 0.0,
        "tf_half_pixel_for_nn" => (o + 0.5) / scale,
        _ => return None,
    };
    let index = match mapping.rounding {
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "round_prefer_floor" => (x - 0.5).ceil(),
        "round_prefer_ceil" => (x + 0.5).floor(),
        _ => return None,
    };
    Some(index.clamp(0.0, extent as f32 - 1.0) as usize)
}
