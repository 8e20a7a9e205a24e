//! Decode of detection heads.

use super::strided::Element;
use crate::ir::{Data, DetectHead, Tensor, Type};
use peristyle_runtime::simd::math::sigmoid;

/// [`Op::DetectHead`](crate::ir::Op::DetectHead).
pub(super) fn detect_head(head: &DetectHead, inputs: &[&Tensor], ty: &Type) -> Data {
    let mut out = Vec::with_capacity(ty.len());
    for (level, raw) in head.levels.iter().zip(inputs) {
        let (height, width) = (raw.shape[2], raw.shape[3]);
        let raw = f32::of(raw);
        for (anchor, size) in level.anchors.iter().enumerate() {
            for cell in 0..height * width {
                let (row, column) = (cell / width, cell % width);
                let at = |o: usize| sigmoid(raw[(anchor * head.outputs + o) * height * width + cell]);
                let centre = |s: f32, position: usize| (s * 2.0 + (position as f32 - 0.5)) * level.stride;
                let extent = |s: f32, anchor: f32| (s * 2.0) * (s * 2.0) * anchor;
                out.extend([centre(at(0), column), centre(at(1), row), extent(at(2), size[0]), extent(at(3), size[1])]);
                out.extend((4..head.outputs).map(at));
            }
        }
    }
    Data::F32(out)
}
