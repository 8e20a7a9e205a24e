//! Matrix products over row-major slices, on one core.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::Range;

/// A row-major matrix in a slice, with a distance between rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) elements: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows that follow one another.
    pub(crate) fn dense(elements: &'a [f32], rows: usize, columns: usize) -> Self {
        Rows { elements, rows, columns, stride: columns }
    }

    /// Some of the columns.
    pub(crate) fn columns(self, range: Range<usize>) -> Self {
        Rows { elements: &self.elements[range.start..], columns: range.len(), ..self }
    }

    fn matrix(self) -> MatRef<'a, f32> {
        MatRef::from_row_major_slice_with_stride(self.elements, self.rows, self.columns, self.stride)
    }
}

/// A row-major matrix to be written, with a distance between rows.
#[derive(Debug)]
pub(crate) struct RowsMut<'a> {
    pub(crate) elements: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
}

impl<'a> RowsMut<'a> {
    /// Rows that follow one another.
    pub(crate) fn dense(elements: &'a mut [f32], rows: usize, columns: usize) -> Self {
        RowsMut { elements, rows, columns, stride: columns }
    }

    fn matrix(self) -> MatMut<'a, f32> {
        // Not by way of `from_row_major_slice_with_stride_mut`, which in faer 0.24 makes a column-major matrix.
        MatMut::from_column_major_slice_with_stride_mut(self.elements, self.columns, self.rows, self.stride)
            .transpose_mut()
    }
}

/// `product = a b`
pub(crate) fn multiply(product: RowsMut, a: Rows, b: Rows) {
    matmul(product.matrix(), Accum::Replace, a.matrix(), b.matrix(), 1.0, Par::Seq);
}

/// `product = aᵀ b`, or added to what is there.
pub(crate) fn multiply_transposed(product: RowsMut, accumulate: bool, a: Rows, b: Rows) {
    let beta = if accumulate { Accum::Add } else { Accum::Replace };
    matmul(product.matrix(), beta, a.matrix().transpose(), b.matrix(), 1.0, Par::Seq);
}

/// `product = a bᵀ`
pub(crate) fn multiply_by_transposed(product: RowsMut, a: Rows, b: Rows) {
    matmul(product.matrix(), Accum::Replace, a.matrix(), b.matrix().transpose(), 1.0, Par::Seq);
}

/// `product += a bᵀ`
pub(crate) fn add_by_transposed(product: RowsMut, a: Rows, b: Rows) {
    matmul(product.matrix(), Accum::Add, a.matrix(), b.matrix().transpose(), 1.0, Par::Seq);
}
