//! Weights at the points of Winograd's minimal filtering.

use super::bare_groups;
use crate::ir::Tensor;
use peristyle_runtime::kernels::conv::Table;
use peristyle_runtime::kernels::conv::f32_winograd::{GROUP, POINTS, SIDE, WEIGHTS, WINDOW};

/// Transforms `f32` weights `[out, in, 3, 3]`: by point, group of outputs, channel and output, rounded once.
pub fn pack_winograd(weights: &Tensor) -> Table {
    let w = weights.as_f32().expect("float convolutions have f32 weights");
    let [outputs, channels, WINDOW, WINDOW] = weights.shape[..] else { unreachable!("only 3x3 windows have points") };
    let groups = outputs.div_ceil(GROUP);
    let mut words = vec![0u32; POINTS * groups * channels * GROUP];
    for output in 0..outputs {
        for channel in 0..channels {
            let window = &w[(output * channels + channel) * WINDOW * WINDOW..][..WINDOW * WINDOW];
            for (point, value) in points(window).into_iter().enumerate() {
                let at = ((point * groups + output / GROUP) * channels + channel) * GROUP + output % GROUP;
                words[at] = value.to_bits();
            }
        }
    }
    Table {
        group: GROUP,
        groups: bare_groups(outputs, GROUP).into(),
        segments: Vec::new().into(),
        offsets: Vec::new().into(),
        weights: words.into(),
    }
}

/// `G g G'`.
fn points(window: &[f32]) -> [f32; POINTS] {
    std::array::from_fn(|point| {
        let (left, right) = (WEIGHTS[point / SIDE], WEIGHTS[point % SIDE]);
        let terms = (0..WINDOW * WINDOW).map(|k| left[k / WINDOW] * right[k % WINDOW] * f64::from(window[k]));
        terms.sum::<f64>() as f32
    })
}
