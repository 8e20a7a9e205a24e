//! Output shapes of convolutions and pools.

use super::feature_map;
use crate::ir::{ConvGeometry, Pool, Type};

/// Shape of a convolution of `x` with `weight`.
pub(super) fn conv_shape(geometry: &ConvGeometry, x: &Type, weight: &Type) -> Result<Vec<usize>, String> {
    let ConvGeometry { kernel, stride, pad, dilation, group } = *geometry;
    let [channels, h, w] = feature_map("x", x)?;
    let out_channels = weight.shape.first().copied().unwrap_or(0);
    if group == 0 || channels % group != 0 || out_channels % group != 0 {
        return Err(format!("{group} groups do not divide {channels} input and {out_channels} output channels"));
    }
    let expected = [out_channels, channels / group, kernel[0], kernel[1]];
    if weight.shape != expected {
        return Err(format!("the weight is {weight}, expected {}", Type::new(weight.dtype, expected)));
    }
    let reach = |axis: usize| match (kernel[axis], dilation[axis]) {
        (0, _) | (_, 0) => None,
        (k, d) => (k - 1).checked_mul(d)?.checked_add(1),
    };
    let extent = |axis: usize, input: usize| {
        let window = reach(axis).ok_or_else(|| format!("kernel {kernel:?} dilated by {dilation:?}"))?;
        let positions = positions(input, window, stride[axis], pad[axis], pad[axis + 2]);
        positions.ok_or_else(|| format!("a window of {window} with {geometry:?} does not fit {x}"))
    };
    Ok(vec![1, out_channels, extent(0, h)?, extent(1, w)?])
}

/// Shape of a pool over `x`. Every window must touch the input, so that there is something to pool.
pub(super) fn pool_shape(pool: &Pool, x: &Type) -> Result<Vec<usize>, String> {
    let Pool { kernel, stride, pad } = *pool;
    let [channels, h, w] = feature_map("the input", x)?;
    let extent = |axis: usize, input: usize| {
        let (before, after) = (pad[axis], pad[axis + 2]);
        let positions = positions(input, kernel[axis], stride[axis], before, after)
            .ok_or_else(|| format!("{pool:?} does not fit {x}"))?;
        if before >= kernel[axis] || (positions - 1) * stride[axis] >= input + before {
            return Err(format!("{pool:?} has windows that lie in the padding of {x}"));
        }
        Ok(positions)
    };
    Ok(vec![1, channels, extent(0, h)?, extent(1, w)?])
}

/// How often a window fits a padded axis; `None` when it does not, or when a number overflows.
fn positions(input: usize, window: usize, stride: usize, before: usize, after: usize) -> Option<usize> {
    let padded = input.checked_add(before)?.checked_add(after)?;
    let room = padded.checked_sub(window)?;
    if window == 0 || stride == 0 { None } else { Some(room / stride + 1) }
}
