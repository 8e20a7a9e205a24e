//! Pools.

use super::Table;
use super::activation::is_non_negative;
use super::window::{Window, enlarged, pair, window};
use crate::ir::{DType, Op, Pool, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::node::{NodeContext, Outcome};

pub(super) const TABLE: Table = &[
    ("AveragePool", average_pool),
    ("GlobalAveragePool", global_average_pool),
    ("GlobalMaxPool", global_max_pool),
    ("MaxPool", max_pool),
];

/// Window of a pool over `x`; every window holds at least one element.
fn pool_window(ctx: &NodeContext<'_, '_>, x: ValueId) -> Result<Window, Fault> {
    let [_, _, height, width] = ctx.expect_map(x)?;
    let kernel =
        pair(ctx, "kernel_shape", 1)?.ok_or_else(|| Fault::Malformed("attribute `kernel_shape` is missing".into()))?;
    let window = window(ctx, kernel, [height, width])?;
    if window.dilation != [1, 1] {
        return Fault::unsupported(format!("attribute `dilations` is {:?}, expected 1", window.dilation));
    }
    Ok(window)
}

/// The pool of `source` after merging a border of the input; every window must reach into the map itself.
fn merged(ctx: &NodeContext<'_, '_>, window: &Window, source: ValueId, border: [usize; 4]) -> Result<Pool, Fault> {
    let pad = enlarged(window.pad, border);
    let [_, _, height, width] = ctx.expect_map(source)?;
    let inside =
        |i: usize, extent: usize| pad[i] < window.kernel[i] && (window.out[i] - 1) * window.stride[i] < extent + pad[i];
    if !inside(0, height) || !inside(1, width) {
        return Fault::unsupported(format!(
            "with the padding {pad:?} some window {:?} holds nothing but padding",
            window.kernel
        ));
    }
    Ok(Pool { kernel: window.kernel, stride: window.stride, pad })
}

fn max_pool(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32, DType::U8, DType::I8])?;
    if ctx.has_output(1) {
        return Fault::unsupported("its second output (indices) is used");
    }
    let window = pool_window(ctx, x)?;
    let (source, border) = match ctx.importer.padded.get(&x) {
        Some(map) if map.lowest || is_non_negative(ctx, map.source) => (map.source, map.pad),
        _ => (x, [0; 4]),
    };
    let [_, channels, ..] = ctx.expect_map(x)?;
    let dtype = ctx.ty(x).dtype;
    let pool = merged(ctx, &window, source, border)?;
    ctx.finish(Op::MaxPool(pool), vec![source], dtype, &[1, channels, window.out[0], window.out[1]])
}

fn average_pool(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    emit_average_pool(ctx, x).and_then(|y| ctx.bind(0, y))
}

/// Adds an average pool with the node's attributes over `x`.
pub(super) fn emit_average_pool(ctx: &mut NodeContext<'_, '_>, x: ValueId) -> Result<ValueId, Fault> {
    ctx.expect_dtype(x, &[DType::F32])?;
    let window = pool_window(ctx, x)?;
    let mut count_include_pad = ctx.attributes.int_or("count_include_pad", 0)? != 0;
    if window.grown && count_include_pad {
        return Fault::unsupported("`ceil_mode` with `count_include_pad` does not divide evenly at the border");
    }
    let (source, border) = match ctx.importer.padded.get(&x) {
        Some(map) if !map.lowest && !window.grown && (count_include_pad || window.pad == [0; 4]) => {
            count_include_pad = true;
            (map.source, map.pad)
        }
        _ => (x, [0; 4]),
    };
    let [_, channels, ..] = ctx.expect_map(x)?;
    let op = Op::AveragePool { pool: merged(ctx, &window, source, border)?, count_include_pad };
    ctx.emit("", op, vec![source], DType::F32, &[1, channels, window.out[0], window.out[1]])
}

fn global_average_pool(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32])?;
    let [_, channels, ..] = ctx.expect_map(x)?;
    ctx.finish(Op::GlobalAveragePool, vec![x], DType::F32, &[1, channels, 1, 1])
}

fn global_max_pool(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let x = ctx.input(0)?;
    ctx.expect_dtype(x, &[DType::F32, DType::U8, DType::I8])?;
    let [_, channels, height, width] = ctx.expect_map(x)?;
    let dtype = ctx.ty(x).dtype;
    let pool = Pool { kernel: [height, width], stride: [1, 1], pad: [0; 4] };
    ctx.finish(Op::MaxPool(pool), vec![x], dtype, &[1, channels, 1, 1])
}
