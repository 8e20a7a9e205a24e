//! Extents of feature maps at run time.

use super::{Error, MapId, Network, Step};

/// Extents of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Pixels of one channel.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Elements of the map.
    pub fn len(self) -> usize {
        self.channels * self.pixels()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Positions of a window over `extent` elements, or `None` when it does not fit once.
pub(super) fn positions(extent: usize, kernel: usize, stride: usize, dilation: usize, pad: usize) -> Option<usize> {
    Some((extent + pad).checked_sub(dilation * (kernel - 1) + 1)? / stride + 1)
}

impl Network {
    /// The shape of every map for an input of this height and width.
    pub(super) fn shapes(&self, [height, width]: [usize; 2]) -> Result<Vec<Shape>, Error> {
        let mut shapes: Vec<Shape> =
            self.channels.iter().map(|&channels| Shape { channels, height: 0, width: 0 }).collect();
        let set = |shapes: &mut Vec<Shape>, map: MapId, [h, w]: [usize; 2]| {
            shapes[map.0] = Shape { channels: shapes[map.0].channels, height: h, width: w };
        };
        set(&mut shapes, self.input, [height, width]);
        for step in &self.steps {
            let fault = |why: String| Error::Size { node: self.name_of(step), height, width, why };
            let extent = |map: MapId| [shapes[map.0].height, shapes[map.0].width];
            let result = match step {
                Step::Convolve { convolution, input, residual, .. } => {
                    let g = &self.convolutions[*convolution].geometry;
                    let result = windows(extent(*input), g.kernel, g.stride, g.dilation, g.pad).ok_or_else(|| {
                        fault(format!("its input of {:?} is smaller than the window", extent(*input)))
                    })?;
                    if let Some((map, _)) = residual
                        && extent(*map) != result
                    {
                        return Err(fault(format!("it adds {:?} to {result:?}", extent(*map))));
                    }
                    result
                }
                Step::MaxPool { pool, input, .. } => {
                    windows(extent(*input), pool.kernel, pool.stride, [1, 1], pool.pad)
                        .ok_or_else(|| fault(format!("its input of {:?} is smaller than the window", extent(*input))))?
                }
                Step::Activate { input, .. } => extent(*input),
                Step::Add { inputs: [a, b], .. } => {
                    if extent(*a) != extent(*b) {
                        return Err(fault(format!("it adds {:?} to {:?}", extent(*b), extent(*a))));
                    }
                    extent(*a)
                }
                Step::Concat { inputs, .. } => {
                    let first = extent(inputs[0]);
                    if let Some(other) = inputs.iter().map(|&map| extent(map)).find(|&other| other != first) {
                        return Err(fault(format!("it joins {first:?} and {other:?}")));
                    }
                    first
                }
                Step::Enlarge { scale, input, .. } => {
                    let [h, w] = extent(*input);
                    [h * scale[0], w * scale[1]]
                }
                Step::GlobalAverage { .. } => [1, 1],
            };
            if result.contains(&0) {
                return Err(fault("nothing is left of the map".to_string()));
            }
            set(&mut shapes, step.output(), result);
        }
        Ok(shapes)
    }

    fn name_of(&self, step: &Step) -> String {
        match step {
            Step::Convolve { convolution, .. } => self.convolutions[*convolution].name.clone(),
            Step::Activate { .. } => "activation".to_string(),
            Step::Add { .. } => "Add".to_string(),
            Step::Concat { .. } => "Concat".to_string(),
            Step::MaxPool { .. } => "MaxPool".to_string(),
            Step::Enlarge { .. } => "Resize".to_string(),
            Step::GlobalAverage { .. } => "GlobalAveragePool".to_string(),
        }
    }
}

fn windows(
    extent: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [usize; 4],
) -> Option<[usize; 2]> {
    let along =
        |axis: usize| positions(extent[axis], kernel[axis], stride[axis], dilation[axis], pad[axis] + pad[axis + 2]);
    Some([along(0)?, along(1)?])
}
