//! Models that return raw heads and leave the decode to their user.

use crate::ir::{DType, Graph};

/// One raw head `f32[1, anchors, h, w, outputs]` among a graph's outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct RawLevelInfo {
    /// Index into the graph's outputs.
    pub output: usize,
    /// Rows of the grid.
    pub h: usize,
    /// Columns of the grid.
    pub w: usize,
    /// Outputs per anchor: 5 + classes.
    pub outputs: usize,
    /// Pixels of the network input per cell.
    pub stride: f32,
    /// Width and height of every anchor, in pixels of the network input.
    pub anchors: Vec<[f32; 2]>,
}

/// Anchors of the YOLOv5 P3–P5 models, finest level first.
const YOLOV5_ANCHORS: [[[f32; 2]; 3]; 3] = [
    [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
    [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
    [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
];

/// The raw heads of a graph whose outputs all are such heads, in the order of the outputs; `None` for other graphs.
///
/// Anchors come from the metadata entry `anchors` (a list of numbers in any nesting, finest level first); without one
/// they are those of YOLOv5 when levels and anchors are three each. A graph whose anchors remain unknown has no
/// raw heads.
pub fn raw_head(graph: &Graph) -> Option<Vec<RawLevelInfo>> {
    let input_h = *graph.inputs.iter().find_map(|&i| match graph.ty(i).shape.as_slice() {
        [1, _, h, _] => Some(h),
        _ => None,
    })?;
    let mut anchor_counts = Vec::new();
    let mut levels = Vec::new();
    for (output, &value) in graph.outputs.iter().enumerate() {
        let ty = graph.ty(value);
        let (DType::F32, &[1, anchors, h, w, outputs]) = (ty.dtype, ty.shape.as_slice()) else { return None };
        if h == 0 || w == 0 || outputs <= 5 {
            return None;
        }
        anchor_counts.push(anchors);
        levels.push(RawLevelInfo { output, h, w, outputs, stride: input_h as f32 / h as f32, anchors: Vec::new() });
    }
    if levels.is_empty() || levels.iter().any(|l| l.outputs != levels[0].outputs) {
        return None;
    }
    let mut finest_first: Vec<usize> = (0..levels.len()).collect();
    finest_first.sort_by(|&a, &b| levels[a].stride.total_cmp(&levels[b].stride));
    let mut known = stated_anchors(graph, anchor_counts.iter().sum())
        .or_else(|| (anchor_counts == [3; 3]).then(|| YOLOV5_ANCHORS.concat()))?
        .into_iter();
    for level in finest_first {
        levels[level].anchors = known.by_ref().take(anchor_counts[level]).collect();
    }
    Some(levels)
}

/// The numbers of the metadata entry `anchors`, when they are `count` pairs.
fn stated_anchors(graph: &Graph, count: usize) -> Option<Vec<[f32; 2]>> {
    let text = graph.metadata.properties.get("anchors")?;
    let numbers: Vec<f32> = text
        .split(|c: char| !matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'))
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    let pairs: Vec<[f32; 2]> = numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
    (numbers.len() == 2 * count && numbers.iter().all(|x| x.is_finite() && *x > 0.0)).then_some(pairs)
}
