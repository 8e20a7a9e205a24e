//! Operators that move elements without changing them.

use super::strided::{Element, gather, row_major, with_element};
use crate::ir::{Data, Tensor, Type};

/// [`Op::ResizeNearest`](crate::ir::Op::ResizeNearest).
pub(super) fn resize_nearest(scale: [usize; 2], x: &Tensor, ty: &Type) -> Data {
    with_element!(ty.dtype, T => T::wrap(enlarge::<T>(scale, x, ty)))
}

fn enlarge<T: Element>(scale: [usize; 2], x: &Tensor, ty: &Type) -> Vec<T> {
    let mut out = Vec::with_capacity(ty.len());
    for row in T::of(x).chunks_exact(x.shape[3].max(1)) {
        let start = out.len();
        out.extend(row.iter().flat_map(|&element| std::iter::repeat_n(element, scale[1])));
        let end = out.len();
        (1..scale[0]).for_each(|_| out.extend_from_within(start..end));
    }
    out
}

/// [`Op::Concat`](crate::ir::Op::Concat).
pub(super) fn concat(axis: usize, inputs: &[&Tensor]) -> Data {
    with_element!(inputs[0].dtype(), T => T::wrap(join::<T>(axis, inputs)))
}

fn join<T: Element>(axis: usize, inputs: &[&Tensor]) -> Vec<T> {
    let outer: usize = inputs[0].shape[..axis].iter().product();
    let mut out = Vec::with_capacity(inputs.iter().map(|t| t.len()).sum());
    for i in 0..outer {
        for input in inputs {
            let inner: usize = input.shape[axis..].iter().product();
            out.extend_from_slice(&T::of(input)[i * inner..][..inner]);
        }
    }
    out
}

/// [`Op::Slice`](crate::ir::Op::Slice).
pub(super) fn slice(starts: &[usize], steps: &[usize], x: &Tensor, ty: &Type) -> Data {
    let strides = row_major(&x.shape);
    let base = starts.iter().zip(&strides).map(|(start, stride)| start * stride).sum();
    let stepped: Vec<usize> = steps.iter().zip(&strides).map(|(step, stride)| step * stride).collect();
    with_element!(ty.dtype, T => T::wrap(gather(T::of(x), base, &ty.shape, &stepped)))
}

/// [`Op::Transpose`](crate::ir::Op::Transpose).
pub(super) fn transpose(perm: &[usize], x: &Tensor, ty: &Type) -> Data {
    let strides = row_major(&x.shape);
    let permuted: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
    with_element!(ty.dtype, T => T::wrap(gather(T::of(x), 0, &ty.shape, &permuted)))
}
