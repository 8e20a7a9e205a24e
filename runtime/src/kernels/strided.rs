//! Layers of any layout: elementwise functions, copies, softmax and matrix products over strided views.
//!
//! They carry what a detector's hot path does not: classifier tails, attention scales, transposed raw heads.

use super::Activation;
use super::map::Map;
use crate::engine::{Buffers, DType};
#[cfg(not(feature = "std"))]
use crate::simd::math::Float as _;
use crate::simd::math::{self, Quantizer};
use crate::simd::per_isa;
use alloc::borrow::Cow;

/// Axes of a [`View`]; shorter shapes are padded with leading ones.
pub const AXES: usize = 6;

/// Where the elements of a view live.
#[derive(Clone, Debug)]
pub enum Base {
    /// The arena.
    Arena,
    /// A model input.
    Input(usize),
    /// A model output.
    Output(usize),
    /// A table of the compiled model.
    Constant(Cow<'static, [f32]>),
}

/// A strided window onto a tensor.
#[derive(Clone, Debug)]
pub struct View {
    /// Where the elements live.
    pub base: Base,
    /// Element type.
    pub dtype: DType,
    /// Bytes from the base to the first element.
    pub offset: usize,
    /// Extents.
    pub shape: [usize; AXES],
    /// Elements between neighbours along each axis; 0 repeats the element.
    pub strides: [usize; AXES],
}

impl View {
    /// The view of an unsplit map, `[1, 1, 1, channels, height, width]`.
    pub const fn of_map(map: &Map) -> View {
        View {
            base: Base::Arena,
            dtype: map.dtype,
            offset: map.offset,
            shape: [1, 1, 1, map.channels, map.height, map.width],
            strides: [0, 0, 0, map.plane, map.row, 1],
        }
    }

    unsafe fn ptr<T>(&self, buffers: &Buffers<'_>) -> *mut T {
        // SAFETY: by the caller's contract the view lies inside its base.
        unsafe { buffers.base(&self.base).add(self.offset).cast() }
    }
}

/// Function of a [`Unary`] layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnaryFn {
    /// The same element; both views have one element type.
    Copy,
    /// `f32` to `f32`.
    Activation(Activation),
    /// `f32` to `u8`.
    Quantize(Quantizer),
    /// `u8` to `f32`.
    Dequantize {
        /// Scale.
        scale: f32,
        /// Zero point.
        zero: u8,
    },
}

/// An elementwise function of one view.
#[derive(Clone, Debug)]
pub struct Unary {
    /// Read, with the shape of `y`.
    pub x: View,
    /// Written.
    pub y: View,
    /// The function.
    pub function: UnaryFn,
}

/// Function of a [`Binary`] layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryFn {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
}

impl BinaryFn {
    /// The function.
    #[inline(always)]
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            BinaryFn::Add => a + b,
            BinaryFn::Sub => a - b,
            BinaryFn::Mul => a * b,
            BinaryFn::Div => a / b,
            BinaryFn::Pow => a.powf(b),
            BinaryFn::Max => a.max(b),
            BinaryFn::Min => a.min(b),
        }
    }
}

/// An elementwise function of two `f32` views.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Left operand, with the shape of `y` (broadcast axes have stride 0).
    pub a: View,
    /// Right operand, likewise.
    pub b: View,
    /// Written.
    pub y: View,
    /// The function.
    pub function: BinaryFn,
}

/// `exp(x - max) / sum(exp(x - max))` along one axis of an `f32` view.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// Read, with the shape of `y`.
    pub x: View,
    /// Written.
    pub y: View,
    /// The axis of the view.
    pub axis: usize,
}

/// Matrix product over the last two axes of `f32` views, the leading ones broadcast.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// `[..., m, k]`
    pub a: View,
    /// `[..., k, n]`
    pub b: View,
    /// `[..., m, n]`
    pub y: View,
}

/// Calls `f` with the element offsets of every line along the last axis, at index `unit` of the first axis longer than 1.
fn lines<const N: usize>(
    shape: &[usize; AXES],
    strides: [&[usize; AXES]; N],
    unit: usize,
    mut f: impl FnMut([usize; N]),
) {
    let fixed = parallel_axis(shape);
    let mut index = [0; AXES];
    if let Some(axis) = fixed {
        index[axis] = unit;
    }
    loop {
        f(strides.map(|s| (0..AXES - 1).map(|a| index[a] * s[a]).sum()));
        let mut axis = AXES - 1;
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            if Some(axis) == fixed {
                continue;
            }
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

fn parallel_axis(shape: &[usize; AXES]) -> Option<usize> {
    (0..AXES - 1).find(|&a| shape[a] > 1)
}

fn units(shape: &[usize; AXES]) -> usize {
    parallel_axis(shape).map_or(1, |a| shape[a])
}

impl Unary {
    /// Units of work.
    pub fn units(&self) -> usize {
        units(&self.y.shape)
    }
}

per_isa! {
    impl Unary {
        /// Computes one unit.
        ///
        /// # Safety
        /// The views must lie inside `buffers`, and no two threads may compute the same unit at once.
        pub unsafe fn run_unit(&self, buffers: &Buffers<'_>, unit: usize) => run_with
    }
}

impl Unary {
    #[inline(always)]
    unsafe fn run_with(&self, buffers: &Buffers<'_>, unit: usize) {
        // SAFETY: forwarded.
        unsafe {
            match (self.function, self.x.dtype) {
                (UnaryFn::Copy, DType::F32) => self.map::<f32, f32>(buffers, unit, |x| x),
                (UnaryFn::Copy, DType::U8) => self.map::<u8, u8>(buffers, unit, |x| x),
                (UnaryFn::Activation(f), _) => self.map::<f32, f32>(buffers, unit, |x| {
                    let mut v = [x];
                    f.apply(&mut v, |x| x);
                    v[0]
                }),
                (UnaryFn::Quantize(quantizer), _) => {
                    self.map::<f32, u8>(buffers, unit, |x| quantizer.quantize(x));
                }
                (UnaryFn::Dequantize { scale, zero }, _) => {
                    self.map::<u8, f32>(buffers, unit, |x| (i32::from(x) - i32::from(zero)) as f32 * scale);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn map<X: Copy, Y>(&self, buffers: &Buffers<'_>, unit: usize, f: impl Fn(X) -> Y) {
        // SAFETY: by the caller's contract.
        unsafe {
            let (x, y) = (self.x.ptr::<X>(buffers), self.y.ptr::<Y>(buffers));
            let (step_x, step_y) = (self.x.strides[AXES - 1], self.y.strides[AXES - 1]);
            lines(&self.y.shape, [&self.x.strides, &self.y.strides], unit, |[at_x, at_y]| {
                for i in 0..self.y.shape[AXES - 1] {
                    y.add(at_y + i * step_y).write(f(*x.add(at_x + i * step_x)));
                }
            });
        }
    }
}

impl Binary {
    /// Units of work.
    pub fn units(&self) -> usize {
        units(&self.y.shape)
    }

    /// Computes one unit.
    ///
    /// # Safety
    /// As for [`Unary::run_unit`].
    pub unsafe fn run_unit(&self, buffers: &Buffers<'_>, unit: usize) {
        // SAFETY: by the caller's contract.
        unsafe {
            let (a, b, y) = (self.a.ptr::<f32>(buffers), self.b.ptr::<f32>(buffers), self.y.ptr::<f32>(buffers));
            let [step_a, step_b, step_y] = [&self.a, &self.b, &self.y].map(|v| v.strides[AXES - 1]);
            let strides = [&self.a.strides, &self.b.strides, &self.y.strides];
            lines(&self.y.shape, strides, unit, |[at_a, at_b, at_y]| {
                for i in 0..self.y.shape[AXES - 1] {
                    let v = self.function.apply(*a.add(at_a + i * step_a), *b.add(at_b + i * step_b));
                    y.add(at_y + i * step_y).write(v);
                }
            });
        }
    }
}

impl Softmax {
    /// Computes the whole layer.
    ///
    /// # Safety
    /// As for [`Unary::run_unit`].
    pub unsafe fn run(&self, buffers: &Buffers<'_>) {
        let mut shape = self.y.shape;
        let count = core::mem::replace(&mut shape[self.axis], 1);
        let (step_x, step_y) = (self.x.strides[self.axis], self.y.strides[self.axis]);
        // SAFETY: by the caller's contract.
        unsafe {
            let (x, y) = (self.x.ptr::<f32>(buffers), self.y.ptr::<f32>(buffers));
            let (last_x, last_y) = (self.x.strides[AXES - 1], self.y.strides[AXES - 1]);
            for unit in 0..units(&shape) {
                lines(&shape, [&self.x.strides, &self.y.strides], unit, |[at_x, at_y]| {
                    for i in 0..shape[AXES - 1] {
                        let x = |k: usize| *x.add(at_x + i * last_x + k * step_x);
                        let max = (0..count).map(x).fold(f32::NEG_INFINITY, f32::max);
                        let sum: f32 = (0..count).map(|k| math::exp(x(k) - max)).sum();
                        for k in 0..count {
                            y.add(at_y + i * last_y + k * step_y).write(math::exp(x(k) - max) / sum);
                        }
                    }
                });
            }
        }
    }
}

impl MatMul {
    /// Units of work.
    pub fn units(&self) -> usize {
        units(&self.y.shape)
    }

    /// Computes one unit.
    ///
    /// # Safety
    /// As for [`Unary::run_unit`].
    pub unsafe fn run_unit(&self, buffers: &Buffers<'_>, unit: usize) {
        let inner = self.a.shape[AXES - 1];
        let (step_a, step_b) = (self.a.strides[AXES - 1], self.b.strides[AXES - 2]);
        let (step_n, step_y) = (self.b.strides[AXES - 1], self.y.strides[AXES - 1]);
        // The row of `b` does not depend on the row of `y`, nor the column of `a` on its column.
        let (mut strides_a, mut strides_b) = (self.a.strides, self.b.strides);
        strides_a[AXES - 1] = 0;
        strides_b[AXES - 2] = 0;
        // SAFETY: by the caller's contract.
        unsafe {
            let (a, b, y) = (self.a.ptr::<f32>(buffers), self.b.ptr::<f32>(buffers), self.y.ptr::<f32>(buffers));
            lines(&self.y.shape, [&strides_a, &strides_b, &self.y.strides], unit, |[at_a, at_b, at_y]| {
                for n in 0..self.y.shape[AXES - 1] {
                    let sum = (0..inner).fold(0.0f32, |sum, k| {
                        (*a.add(at_a + k * step_a)).mul_add(*b.add(at_b + k * step_b + n * step_n), sum)
                    });
                    y.add(at_y + n * step_y).write(sum);
                }
            });
        }
    }
}
