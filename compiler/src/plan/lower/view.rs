//! Strided views of values.

use super::{Lowering, element_type};
use crate::ir::ValueId;
use crate::plan::PlanError;
use crate::plan::place::Flat;
use peristyle_runtime::kernels::strided::{AXES, Base, View};

impl Lowering<'_> {
    /// The view through which a value is read, or written when it has one placement.
    pub(super) fn view(&self, value: ValueId) -> Result<View, PlanError> {
        if let Some(tensor) = self.graph.constant(value) {
            let info = self.graph.value(value);
            let values = tensor
                .as_f32()
                .ok_or_else(|| PlanError::ElementType { value: info.name.clone(), dtype: info.ty.dtype })?;
            return self.contiguous(value, Base::Constant(values.to_vec().into()), 0);
        }
        match self.places.flats[value.index()] {
            Some(Flat::Buffer(buffer)) => self.contiguous(value, Base::Arena, self.layout.offsets[buffer]),
            Some(Flat::Input(index)) => self.contiguous(value, Base::Input(index), 0),
            Some(Flat::Output(index)) => self.contiguous(value, Base::Output(index), 0),
            None => Ok(View::of_map(&self.unsplit(value))),
        }
    }

    pub(super) fn contiguous(&self, value: ValueId, base: Base, offset: usize) -> Result<View, PlanError> {
        let shape = &self.graph.ty(value).shape;
        if shape.len() > AXES {
            let info = self.graph.value(value);
            return Err(PlanError::Unsupported {
                node: info.name.clone(),
                op: "value".to_string(),
                reason: format!("has {} axes, compiled networks have at most {AXES}", shape.len()),
            });
        }
        let view = View { base, dtype: element_type(self.graph, value)?, offset, shape: [1; AXES], strides: [0; AXES] };
        Ok(self.reinterpret(view, shape))
    }

    /// A row-major view under another shape.
    pub(super) fn reinterpret(&self, mut view: View, shape: &[usize]) -> View {
        view.shape = [1; AXES];
        view.strides = [0; AXES];
        let mut stride = 1;
        for (axis, &extent) in shape.iter().enumerate().rev() {
            let axis = AXES - shape.len() + axis;
            view.shape[axis] = extent;
            view.strides[axis] = stride;
            stride *= extent;
        }
        view
    }
}

/// Two views whose elements correspond in row-major order, cut into axes that both have. `None` when that takes more
/// than [`AXES`] axes or the extents do not divide each other.
pub(super) fn refine(from: &View, to: &View) -> Option<(View, View)> {
    let mut axes = Vec::new();
    let mut next = [AXES; 2];
    let mut left = [1, 1];
    let mut step = [0, 0];
    loop {
        for (side, view) in [from, to].into_iter().enumerate() {
            while left[side] == 1 && next[side] > 0 {
                next[side] -= 1;
                left[side] = view.shape[next[side]];
                step[side] = view.strides[next[side]];
            }
        }
        let extent = left[0].min(left[1]);
        if left == [1, 1] {
            break;
        }
        if extent == 1 || left[0] % extent != 0 || left[1] % extent != 0 {
            return None;
        }
        axes.push((extent, step));
        for side in 0..2 {
            left[side] /= extent;
            step[side] *= extent;
        }
    }
    if axes.len() > AXES {
        return None;
    }
    let (mut from, mut to) = (from.clone(), to.clone());
    for view in [&mut from, &mut to] {
        view.shape = [1; AXES];
        view.strides = [0; AXES];
    }
    for (at, (extent, [step_from, step_to])) in axes.into_iter().enumerate() {
        let axis = AXES - 1 - at;
        (from.shape[axis], to.shape[axis]) = (extent, extent);
        (from.strides[axis], to.strides[axis]) = (step_from, step_to);
    }
    Some((from, to))
}
