//! Typed access to tensor data, and walks over it by strides.

use crate::ir::{Data, Tensor};

/// An element type of [`Data`].
pub(super) trait Element: Copy + 'static {
    /// The elements, if they are of this type.
    fn elements(data: &Data) -> Option<&[Self]>;
    /// Elements of this type as tensor data.
    fn wrap(elements: Vec<Self>) -> Data;
    /// The elements of a tensor whose type rule says that they are of this type.
    fn of(tensor: &Tensor) -> &[Self] {
        Self::elements(&tensor.data).expect("the operator's type rule holds")
    }
}

macro_rules! element {
    ($($ty:ty => $variant:ident),*) => {$(
        impl Element for $ty {
            fn elements(data: &Data) -> Option<&[Self]> {
                if let Data::$variant(v) = data { Some(v) } else { None }
            }
            fn wrap(elements: Vec<Self>) -> Data {
                Data::$variant(elements)
            }
        }
    )*};
}
element!(f32 => F32, u8 => U8, i8 => I8, i32 => I32, i64 => I64, bool => Bool);

/// Evaluates `$body` with `$T` bound to the element type of a [`DType`](crate::ir::DType).
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            crate::ir::DType::F32 => {
                type $T = f32;
                $body
            }
            crate::ir::DType::U8 => {
                type $T = u8;
                $body
            }
            crate::ir::DType::I8 => {
                type $T = i8;
                $body
            }
            crate::ir::DType::I32 => {
                type $T = i32;
                $body
            }
            crate::ir::DType::I64 => {
                type $T = i64;
                $body
            }
            crate::ir::DType::Bool => {
                type $T = bool;
                $body
            }
        }
    };
}
pub(super) use with_element;

/// Distance in elements between neighbours along every axis of a row-major tensor.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Strides that read a tensor of shape `from` as if it were broadcast to `to`.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<usize> {
    let added = to.len() - from.len();
    let own = row_major(from);
    (0..to.len()).map(|axis| if axis < added || from[axis - added] == 1 { 0 } else { own[axis - added] }).collect()
}

/// `out[i, j, ..] = x[base + i * strides[0] + j * strides[1] + ..]`, row-major over `shape`.
pub(super) fn gather<T: Copy>(x: &[T], base: usize, shape: &[usize], strides: &[usize]) -> Vec<T> {
    let mut out = Vec::with_capacity(shape.iter().product());
    if !shape.contains(&0) {
        gather_into(&mut out, x, base, shape, strides);
    }
    out
}

fn gather_into<T: Copy>(out: &mut Vec<T>, x: &[T], base: usize, shape: &[usize], strides: &[usize]) {
    match (shape, strides) {
        ([], _) => out.push(x[base]),
        ([extent], [1]) => out.extend_from_slice(&x[base..base + extent]),
        ([extent], [stride]) => out.extend((0..*extent).map(|i| x[base + i * stride])),
        _ => (0..shape[0]).for_each(|i| gather_into(out, x, base + i * strides[0], &shape[1..], &strides[1..])),
    }
}
