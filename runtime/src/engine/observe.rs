//! Reading what a layer wrote.

use super::golden::Values;
use super::program::Kind;
use super::{Buffers, DType};
use crate::kernels::map::Map;
use crate::kernels::strided::View;
use alloc::vec::Vec;

/// Where a layer writes first.
enum Written<'a> {
    Map(&'a Map),
    View(&'a View),
}

impl Kind {
    fn written(&self) -> Written<'_> {
        match self {
            Kind::LoadInput(load) => Written::Map(&load.stores[0].map),
            Kind::CopyMap(copy) => Written::Map(&copy.to),
            Kind::Conv(conv) => Written::Map(&conv.epilogue.stores[0].map),
            Kind::MaxPool(pool) => Written::Map(&pool.output),
            Kind::AveragePool(pool) => Written::Map(&pool.output),
            Kind::Resize(resize) => Written::Map(&resize.output),
            Kind::Unary(unary) => Written::View(&unary.y),
            Kind::Binary(binary) => Written::View(&binary.y),
            Kind::Softmax(softmax) => Written::View(&softmax.y),
            Kind::MatMul(product) => Written::View(&product.y),
            Kind::DetectHead(head) => Written::View(&head.y),
        }
    }

    /// The elements of the first tensor that the layer writes, in row-major order.
    ///
    /// # Safety
    /// The layer is complete, nobody writes meanwhile, and `buffers` are those of a program that was validated.
    pub(super) unsafe fn read_written(&self, buffers: &Buffers<'_>) -> Values {
        // SAFETY: forwarded.
        unsafe {
            match self.written() {
                Written::Map(map) => match map.dtype {
                    DType::F32 => Values::F32(read_map(map, buffers.arena)),
                    DType::U8 => Values::U8(read_map(map, buffers.arena)),
                },
                Written::View(view) => match view.dtype {
                    DType::F32 => Values::F32(read_view(view, buffers)),
                    DType::U8 => Values::U8(read_view(view, buffers)),
                },
            }
        }
    }
}

/// # Safety
/// As for [`Kind::read_written`]; `T` is the map's element type.
unsafe fn read_map<T: Copy>(map: &Map, arena: *mut u8) -> Vec<T> {
    let mut elements = Vec::with_capacity(map.channels * map.height * map.width);
    // SAFETY: every index lies inside the map.
    unsafe {
        let base: *const T = map.ptr(arena);
        for c in 0..map.channels {
            for y in 0..map.height {
                elements.extend((0..map.width).map(|x| base.add(map.index(c, y, x)).read()));
            }
        }
    }
    elements
}

/// # Safety
/// As for [`Kind::read_written`]; `T` is the view's element type.
unsafe fn read_view<T: Copy>(view: &View, buffers: &Buffers<'_>) -> Vec<T> {
    let count = view.shape.iter().product();
    let mut elements = Vec::with_capacity(count);
    let mut index = [0usize; crate::kernels::strided::AXES];
    // SAFETY: every index lies inside the view.
    unsafe {
        let base: *const T = buffers.base(&view.base).add(view.offset).cast::<T>();
        for _ in 0..count {
            let at: usize = index.iter().zip(&view.strides).map(|(i, stride)| i * stride).sum();
            elements.push(base.add(at).read());
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < view.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
    elements
}
