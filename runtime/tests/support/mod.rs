//! Stand-ins for compiled models.
#![allow(dead_code)]

use peristyle_runtime::engine::{
    DType, DetectorSpec, Head, Infer, ModelSpec, RunError, TensorMut, TensorRef, TensorSpec,
};

/// Width and height of the fake detector's input.
pub const SIDE: usize = 64;

/// Rows of the fake detector's output.
pub const ROWS: usize = 12;

const CLASSES: usize = 3;

/// A decoded detector of three classes with a U8 input.
pub static DETECTOR: ModelSpec = ModelSpec {
    name: "fake",
    source: "fake.onnx",
    sha256: "5eed",
    compiler: "0.0.0",
    batch: 2,
    inputs: &[TensorSpec { name: "images", dtype: DType::U8, shape: &[1, 3, SIDE, SIDE] }],
    outputs: &[TensorSpec { name: "output0", dtype: DType::F32, shape: &[1, ROWS, 5 + CLASSES] }],
    class_names: &["person", "bus", "tie"],
    detector: Some(DetectorSpec { classes: CLASSES, head: Head::Decoded }),
    weights: (100, 35),
    macs: (1000, 400),
};

/// The same network without a detection head.
pub static PLAIN: ModelSpec = ModelSpec { name: "plain", source: "plain.onnx", detector: None, ..DETECTOR };

/// Runs a function on each image of a call: input levels to output rows.
pub struct Fake {
    spec: &'static ModelSpec,
    row: fn(&[u8], &mut [f32]),
    /// Images of each call so far.
    pub calls: std::sync::Arc<std::sync::Mutex<Vec<usize>>>,
}

impl Fake {
    pub fn new(spec: &'static ModelSpec, row: fn(&[u8], &mut [f32])) -> Self {
        Self { spec, row, calls: Default::default() }
    }
}

impl Infer for Fake {
    fn spec(&self) -> &'static ModelSpec {
        self.spec
    }

    fn run(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) -> Result<(), RunError> {
        let TensorRef::U8(input) = inputs[0] else {
            return Err(RunError::DType { name: "images", expected: DType::U8 });
        };
        let TensorMut::F32(output) = &mut outputs[0] else {
            return Err(RunError::DType { name: "output0", expected: DType::F32 });
        };
        let (per_input, per_output) = (self.spec.inputs[0].len(), self.spec.outputs[0].len());
        let images = input.len() / per_input;
        assert!(images > 0 && input.len() % per_input == 0 && output.len() == images * per_output);
        self.calls.lock().unwrap().push(images);
        for (image, rows) in input.chunks_exact(per_input).zip(output.chunks_exact_mut(per_output)) {
            (self.row)(image, rows);
        }
        Ok(())
    }
}

/// Finds the bright rectangle of a picture: one box around all input pixels whose red level is above 200, class 0,
/// objectness 0.9, a worse copy of it, and class 1 in the middle of the input at score 0.3.
pub fn bright_box(image: &[u8], rows: &mut [f32]) {
    rows.fill(0.0);
    let bright = (0..SIDE * SIDE).filter(|i| image[*i] > 200).map(|i| [i % SIDE, i / SIDE]);
    let (mut low, mut high) = ([SIDE; 2], [0; 2]);
    for point in bright {
        for axis in 0..2 {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis] + 1);
        }
    }
    let centre = [0, 1].map(|a| (low[a] + high[a]) as f32 / 2.0);
    let size = [0, 1].map(|a| high[a].saturating_sub(low[a]) as f32);
    let mut put = |row: usize, xywh: [f32; 4], objectness: f32, scores: [f32; CLASSES]| {
        let row = &mut rows[row * (5 + CLASSES)..][..5 + CLASSES];
        row[..4].copy_from_slice(&xywh);
        row[4] = objectness;
        row[5..].copy_from_slice(&scores);
    };
    if size[0] > 0.0 {
        put(3, [centre[0] + 0.5, centre[1], size[0], size[1]], 0.8, [0.9, 0.1, 0.0]);
        put(7, [centre[0], centre[1], size[0], size[1]], 0.9, [1.0, 0.1, 0.0]);
        put(9, [32.0, 32.0, 8.0, 8.0], 0.5, [0.0, 0.6, 0.0]);
    }
}

/// An RGB picture, black but for a white rectangle `[left, top, right, bottom]`.
pub fn picture(width: usize, height: usize, [left, top, right, bottom]: [usize; 4]) -> Vec<u8> {
    let inside = |i: usize| (left..right).contains(&(i % width)) && (top..bottom).contains(&(i / width));
    (0..width * height).flat_map(|i| [if inside(i) { 255 } else { 0 }; 3]).collect()
}
