//! Pictures and network outputs to measure with.

use peristyle_runtime::detect::Candidate;
use peristyle_runtime::engine::{
    DType, DetectorSpec, Head, Infer, ModelSpec, RunError, TensorMut, TensorRef, TensorSpec,
};

/// Rows of a YOLOv5 output at 640x640, and numbers in each.
pub const ROWS: [usize; 2] = [25_200, 85];

static SPEC: ModelSpec = ModelSpec {
    name: "silent",
    source: "silent.onnx",
    sha256: "",
    compiler: "",
    batch: 1,
    inputs: &[TensorSpec { name: "images", dtype: DType::U8, shape: &[1, 3, 640, 640] }],
    outputs: &[TensorSpec { name: "output0", dtype: DType::F32, shape: &[1, ROWS[0], ROWS[1]] }],
    class_names: &[],
    detector: Some(DetectorSpec { classes: ROWS[1] - 5, head: Head::Decoded }),
    weights: (0, 0),
    macs: (0, 0),
};

/// A detector that gives the same rows for every picture, and writes them once.
pub struct Silent {
    rows: Vec<f32>,
    written: bool,
}

impl Silent {
    /// A detector of these rows.
    pub fn new(rows: Vec<f32>) -> Silent {
        Silent { rows, written: false }
    }
}

impl Infer for Silent {
    fn spec(&self) -> &'static ModelSpec {
        &SPEC
    }

    fn run(&mut self, _: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) -> Result<(), RunError> {
        if let (false, TensorMut::F32(output)) = (self.written, &mut outputs[0]) {
            output.copy_from_slice(&self.rows);
            self.written = true;
        }
        Ok(())
    }
}

/// Marsaglia's xorshift32, as numbers from 0 to 1.
fn random() -> impl FnMut() -> f32 {
    let mut state = 0x9e37_79b9u32;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 24) as f32
    }
}

/// Levels of a picture.
pub fn noise(len: usize) -> Vec<u8> {
    let mut random = random();
    (0..len).map(|_| (random() * 255.0) as u8).collect()
}

/// Boxes in clusters, as the cells around objects give them.
pub fn candidates(count: usize) -> Vec<Candidate> {
    let mut random = random();
    let objects: Vec<[f32; 4]> =
        (0..40).map(|_| [random() * 560.0, random() * 560.0, random() * 80.0 + 20.0, random() * 80.0 + 20.0]).collect();
    (0..count)
        .map(|i| {
            let [x, y, w, h] = objects[i % objects.len()].map(|v| v * (0.95 + 0.1 * random()));
            Candidate { xyxy: [x, y, x + w, y + h], score: 0.25 + 0.75 * random(), class_id: i % objects.len() % 7 }
        })
        .collect()
}

/// Rows of a network of which `objects` have a score above 0.25, and most nearly none.
pub fn rows(objects: usize) -> Vec<f32> {
    let mut random = random();
    let mut rows = vec![0.0; ROWS[0] * ROWS[1]];
    let found = candidates(objects);
    for (i, row) in rows.chunks_exact_mut(ROWS[1]).enumerate() {
        row[4] = 0.01 * random() * random();
        row[..4].copy_from_slice(&[random() * 640.0, random() * 640.0, 40.0, 40.0]);
        row[5..].iter_mut().for_each(|score| *score = random() * 0.3);
        if i % (ROWS[0] / objects) == 0
            && let Some(object) = found.get(i / (ROWS[0] / objects))
        {
            let [x1, y1, x2, y2] = object.xyxy;
            row[..4].copy_from_slice(&[(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]);
            row[4] = 0.95;
            row[5 + object.class_id] = object.score.max(0.3);
        }
    }
    rows
}
