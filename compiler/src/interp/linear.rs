//! Matrix product and softmax.

use super::strided::{Element, broadcast_strides, gather};
use crate::ir::{Data, Tensor, Type};
use peristyle_runtime::simd::math;

/// [`Op::MatMul`](crate::ir::Op::MatMul), summed in `f64`.
pub(super) fn mat_mul(a: &Tensor, b: &Tensor, ty: &Type) -> Data {
    let (stack, rows_columns) = ty.shape.split_at(ty.shape.len() - 2);
    let (rows, columns) = (rows_columns[0], rows_columns[1]);
    let inner = a.shape[a.shape.len() - 1];
    let mut out = Vec::with_capacity(ty.len());
    let mut sums = vec![0.0f64; columns];
    for (i, j) in matrices(a, stack).into_iter().zip(matrices(b, stack)) {
        let a = &f32::of(a)[i * rows * inner..][..rows * inner];
        let b = &f32::of(b)[j * inner * columns..][..inner * columns];
        for row in 0..rows {
            sums.fill(0.0);
            for k in 0..inner {
                let factor = f64::from(a[row * inner + k]);
                let terms = &b[k * columns..][..columns];
                sums.iter_mut().zip(terms).for_each(|(sum, &x)| *sum += factor * f64::from(x));
            }
            out.extend(sums.iter().map(|&sum| sum as f32));
        }
    }
    Data::F32(out)
}

/// For every matrix of the output stack, the index of the matrix of `x` that it reads.
fn matrices(x: &Tensor, stack: &[usize]) -> Vec<usize> {
    let own = &x.shape[..x.shape.len() - 2];
    let numbers: Vec<usize> = (0..own.iter().product()).collect();
    gather(&numbers, 0, stack, &broadcast_strides(own, stack))
}

/// [`Op::Softmax`](crate::ir::Op::Softmax), the greatest element subtracted first, summed in `f64`.
pub(super) fn softmax(axis: usize, x: &Tensor) -> Data {
    let extent = x.shape[axis];
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut out = f32::of(x).to_vec();
    for block in out.chunks_exact_mut((extent * inner).max(1)) {
        for i in 0..inner {
            let lane = || (0..extent).map(move |k| k * inner + i);
            let greatest = lane().map(|k| block[k]).fold(f32::NEG_INFINITY, f32::max);
            lane().for_each(|k| block[k] = math::exp(block[k] - greatest));
            let sum: f64 = lane().map(|k| f64::from(block[k])).sum();
            lane().for_each(|k| block[k] = (f64::from(block[k]) / sum) as f32);
        }
    }
    Data::F32(out)
}
