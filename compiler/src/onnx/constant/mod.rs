//! Evaluation of constants: the shape arithmetic and tables that exporters leave in a graph.
//!
//! The functions here trust their arguments' shapes and allocate their result; callers check shapes and charge the
//! import's element budget first.

mod elementwise;
mod reduce;

pub(super) use elementwise::{Comparison, Unary, arithmetic, cast, compare, logical_not, remainder, select, unary};
pub(super) use reduce::{Reduction, reduce};

use crate::ir::{Data, Tensor};

/// Applies an expression to the vector inside a [`Data`], whatever its element type.
macro_rules! map_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::F32($v) => Data::F32($body),
            Data::U8($v) => Data::U8($body),
            Data::I8($v) => Data::I8($body),
            Data::I32($v) => Data::I32($body),
            Data::I64($v) => Data::I64($body),
            Data::Bool($v) => Data::Bool($body),
        }
    };
}

/// Number of elements of a shape unless it overflows.
pub(super) fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Distance between neighbours along every axis of a row-major tensor.
pub(super) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis] as isize);
    }
    strides
}

/// Positions `start + sum(index[a] * strides[a])` for every index of `shape` in row-major order.
pub(super) struct Positions {
    shape: Vec<usize>,
    strides: Vec<isize>,
    index: Vec<usize>,
    position: isize,
    left: usize,
}

impl Positions {
    pub(super) fn new(shape: &[usize], start: usize, strides: &[isize]) -> Self {
        Positions {
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            index: vec![0; shape.len()],
            position: start as isize,
            left: element_count(shape).unwrap_or(0),
        }
    }
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let position = self.position as usize;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.position += self.strides[axis];
            if self.index[axis] < self.shape[axis] {
                break;
            }
            self.position -= self.strides[axis] * self.shape[axis] as isize;
            self.index[axis] = 0;
        }
        Some(position)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The tensor of `shape` whose elements lie at those positions of `tensor`.
pub(super) fn view(tensor: &Tensor, shape: &[usize], start: usize, strides: &[isize]) -> Tensor {
    let positions = Positions::new(shape, start, strides);
    Tensor::new(shape, map_data!(&tensor.data, v => positions.map(|p| v[p]).collect()))
}

/// The shape two shapes broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// Strides that read a tensor of `from` as if broadcast to `to`.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let own = strides(from);
    let lead = to.len() - from.len();
    (0..to.len()).map(|axis| if axis < lead || from[axis - lead] == 1 { 0 } else { own[axis - lead] }).collect()
}

/// Repeats a tensor along its axes of extent 1 to reach `shape`, to which it broadcasts.
pub(super) fn expand(tensor: &Tensor, shape: &[usize]) -> Tensor {
    view(tensor, shape, 0, &broadcast_strides(&tensor.shape, shape))
}

/// Reorders the axes.
pub(super) fn transpose(tensor: &Tensor, perm: &[usize]) -> Tensor {
    let own = strides(&tensor.shape);
    let shape: Vec<usize> = perm.iter().map(|&p| tensor.shape[p]).collect();
    view(tensor, &shape, 0, &perm.iter().map(|&p| own[p]).collect::<Vec<_>>())
}

/// Joins tensors of one element type along an axis; `None` when the types differ.
pub(super) fn concat(tensors: &[&Tensor], axis: usize, shape: &[usize]) -> Option<Tensor> {
    let outer: usize = shape[..axis].iter().product();
    macro_rules! joined {
        ($variant:ident) => {{
            let mut all = Vec::with_capacity(element_count(shape)?);
            for row in 0..outer {
                for tensor in tensors {
                    let Data::$variant(v) = &tensor.data else { return None };
                    let inner: usize = tensor.shape[axis..].iter().product();
                    all.extend_from_slice(&v[row * inner..(row + 1) * inner]);
                }
            }
            Data::$variant(all)
        }};
    }
    let data = match tensors.first()?.data {
        Data::F32(_) => joined!(F32),
        Data::U8(_) => joined!(U8),
        Data::I8(_) => joined!(I8),
        Data::I32(_) => joined!(I32),
        Data::I64(_) => joined!(I64),
        Data::Bool(_) => joined!(Bool),
    };
    tensors.iter().all(|t| t.dtype() == data_dtype(&data)).then(|| Tensor::new(shape, data))
}

fn data_dtype(data: &Data) -> crate::ir::DType {
    use crate::ir::DType;
    match data {
        Data::F32(_) => DType::F32,
        Data::U8(_) => DType::U8,
        Data::I8(_) => DType::I8,
        Data::I32(_) => DType::I32,
        Data::I64(_) => DType::I64,
        Data::Bool(_) => DType::Bool,
    }
}

/// Slices `indices` along `axis`; every index is in range.
pub(super) fn gather(tensor: &Tensor, axis: usize, indices: &[usize], shape: &[usize]) -> Tensor {
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let outer: usize = tensor.shape[..axis].iter().product();
    let extent = tensor.shape[axis];
    let data = map_data!(&tensor.data, v => {
        let mut all = Vec::with_capacity(element_count(shape).unwrap_or(0));
        for row in 0..outer {
            for &i in indices {
                let from = (row * extent + i) * inner;
                all.extend_from_slice(&v[from..from + inner]);
            }
        }
        all
    });
    Tensor::new(shape, data)
}

/// `tensor` with the elements at `positions`, in order, replaced by those of `updates`, of the same element type.
pub(super) fn replace(tensor: &Tensor, positions: &[usize], updates: &Tensor) -> Option<Tensor> {
    macro_rules! replaced {
        ($variant:ident, $v:expr) => {{
            let Data::$variant(new) = &updates.data else { return None };
            let mut all = $v.clone();
            for (&p, &x) in positions.iter().zip(new) {
                *all.get_mut(p)? = x;
            }
            Data::$variant(all)
        }};
    }
    let data = match &tensor.data {
        Data::F32(v) => replaced!(F32, v),
        Data::U8(v) => replaced!(U8, v),
        Data::I8(v) => replaced!(I8, v),
        Data::I32(v) => replaced!(I32, v),
        Data::I64(v) => replaced!(I64, v),
        Data::Bool(v) => replaced!(Bool, v),
    };
    Some(Tensor::new(tensor.shape.clone(), data))
}
