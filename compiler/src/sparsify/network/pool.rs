//! Maximum pools and nearest-neighbour enlargement, and what goes back through them.

use super::Shape;
use crate::ir::Pool;

/// The window of an output along one axis: the input positions it covers.
fn covered(at: usize, kernel: usize, stride: usize, pad: usize, extent: usize) -> std::ops::Range<usize> {
    (at * stride).saturating_sub(pad)..(at * stride + kernel).saturating_sub(pad).min(extent)
}

/// [`Op::MaxPool`](crate::ir::Op::MaxPool): first along rows, then along columns.
pub(super) fn max(pool: &Pool, (map, from): (&[f32], Shape), (result, to): (&mut [f32], Shape)) {
    let mut rows = vec![0.0; from.height * to.width];
    for (plane, out) in map.chunks_exact(from.pixels()).zip(result.chunks_exact_mut(to.pixels())) {
        for (row, reduced) in plane.chunks_exact(from.width).zip(rows.chunks_exact_mut(to.width)) {
            for (x, r) in reduced.iter_mut().enumerate() {
                let window = covered(x, pool.kernel[1], pool.stride[1], pool.pad[1], from.width);
                *r = row[window].iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
            }
        }
        for (y, out) in out.chunks_exact_mut(to.width).enumerate() {
            out.fill(f32::NEG_INFINITY);
            for row in covered(y, pool.kernel[0], pool.stride[0], pool.pad[0], from.height) {
                out.iter_mut().zip(&rows[row * to.width..]).for_each(|(o, &r)| *o = o.max(r));
            }
        }
    }
}

/// [`Op::ResizeNearest`](crate::ir::Op::ResizeNearest).
pub(super) fn enlarge(scale: [usize; 2], (map, from): (&[f32], Shape), result: &mut [f32]) {
    let width = from.width * scale[1];
    for (row, out) in map.chunks_exact(from.width).zip(result.chunks_exact_mut(width * scale[0])) {
        for out in out.chunks_exact_mut(width) {
            out.chunks_exact_mut(scale[1]).zip(row).for_each(|(o, &x)| o.fill(x));
        }
    }
}

/// Adds what goes back through [`max`]: to the first largest element of every window.
pub(super) fn max_back(pool: &Pool, (map, from): (&[f32], Shape), (gradient, to): (&[f32], Shape), target: &mut [f32]) {
    let planes = map.chunks_exact(from.pixels()).zip(target.chunks_exact_mut(from.pixels()));
    for ((plane, target), gradient) in planes.zip(gradient.chunks_exact(to.pixels())) {
        for (at, g) in gradient.iter().enumerate() {
            let (y, x) = (at / to.width, at % to.width);
            let columns = covered(x, pool.kernel[1], pool.stride[1], pool.pad[1], from.width);
            let mut best = None;
            for row in covered(y, pool.kernel[0], pool.stride[0], pool.pad[0], from.height) {
                for at in row * from.width + columns.start..row * from.width + columns.end {
                    if best.is_none_or(|best: usize| plane[at] > plane[best]) {
                        best = Some(at);
                    }
                }
            }
            if let Some(best) = best {
                target[best] += *g;
            }
        }
    }
}

/// Adds what goes back through [`enlarge`].
pub(super) fn enlarge_back(scale: [usize; 2], gradient: &[f32], (target, to): (&mut [f32], Shape)) {
    let width = to.width * scale[1];
    for (rows, target) in gradient.chunks_exact(width * scale[0]).zip(target.chunks_exact_mut(to.width)) {
        for row in rows.chunks_exact(width) {
            row.chunks_exact(scale[1]).zip(&mut *target).for_each(|(g, t)| *t += g.iter().sum::<f32>());
        }
    }
}
