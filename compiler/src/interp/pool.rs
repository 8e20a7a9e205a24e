//! Pools.

use super::strided::Element;
use crate::ir::{DType, Data, Pool, Tensor, Type};
use std::ops::Range;

/// [`Op::MaxPool`](crate::ir::Op::MaxPool).
pub(super) fn max_pool(pool: &Pool, x: &Tensor, ty: &Type) -> Data {
    match ty.dtype {
        DType::F32 => f32::wrap(windows(pool, x, ty, |window| reduce(window, |a, b| if a > b { a } else { b }))),
        DType::U8 => u8::wrap(windows(pool, x, ty, |window| reduce(window, u8::max))),
        _ => i8::wrap(windows(pool, x, ty, |window| reduce(window, i8::max))),
    }
}

fn reduce<T>(elements: &mut dyn Iterator<Item = T>, f: impl Fn(T, T) -> T) -> T {
    elements.reduce(f).expect("every window touches the input")
}

/// [`Op::AveragePool`](crate::ir::Op::AveragePool).
pub(super) fn average_pool(pool: &Pool, count_include_pad: bool, x: &Tensor, ty: &Type) -> Data {
    let full = (pool.kernel[0] * pool.kernel[1]) as f64;
    f32::wrap(windows(pool, x, ty, |window: &mut dyn Iterator<Item = f32>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for element in window {
            sum += f64::from(element);
            count += 1.0;
        }
        (sum / if count_include_pad { full } else { count }) as f32
    }))
}

/// [`Op::GlobalAveragePool`](crate::ir::Op::GlobalAveragePool).
pub(super) fn global_average_pool(x: &Tensor) -> Data {
    let len = x.shape[2] * x.shape[3];
    let mean = |map: &[f32]| (map.iter().map(|&x| f64::from(x)).sum::<f64>() / len as f64) as f32;
    Data::F32((0..x.shape[1]).map(|c| mean(&f32::of(x)[c * len..][..len])).collect())
}

/// One result per window, from the elements of the input that lie in it.
fn windows<T: Element>(
    pool: &Pool,
    x: &Tensor,
    ty: &Type,
    result: impl Fn(&mut dyn Iterator<Item = T>) -> T,
) -> Vec<T> {
    let (height, width) = (x.shape[2], x.shape[3]);
    let mut out = Vec::with_capacity(ty.len());
    for map in T::of(x).chunks_exact((height * width).max(1)) {
        for y in 0..ty.shape[2] {
            let rows = covered(pool, 0, y, height);
            for x in 0..ty.shape[3] {
                let columns = covered(pool, 1, x, width);
                let row = |y: usize| map[y * width..][columns.clone()].iter().copied();
                out.push(result(&mut rows.clone().flat_map(row)));
            }
        }
    }
    out
}

/// The part of the input that window number `index` covers along an axis.
fn covered(pool: &Pool, axis: usize, index: usize, extent: usize) -> Range<usize> {
    let start = index * pool.stride[axis];
    let end = (start + pool.kernel[axis]).saturating_sub(pool.pad[axis]);
    start.saturating_sub(pool.pad[axis])..end.min(extent)
}
