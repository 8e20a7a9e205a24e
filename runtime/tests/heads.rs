//! A raw head and a decoded head of the same numbers give the same candidates.

use std::sync::{Arc, Mutex};

use peristyle_runtime::detect::{Candidate, ImageRef, Params, Pipeline};
use peristyle_runtime::engine::{
    DType, DetectorSpec, Head, Infer, ModelSpec, RawLevel, RunError, TensorMut, TensorRef, TensorSpec,
};

const CLASSES: usize = 6;
const ROW: usize = 5 + CLASSES;
const ANCHORS: usize = 3;
const WIDTH: usize = 96;
const HEIGHT: usize = 64;
const ROWS: usize = ANCHORS * (8 * 12 + 4 * 6 + 2 * 3);

/// The anchors of YOLOv5.
const LEVELS: &[RawLevel] = &[
    RawLevel { output: 2, stride: 8.0, anchors: &[[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]] },
    RawLevel { output: 0, stride: 16.0, anchors: &[[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]] },
    RawLevel { output: 1, stride: 32.0, anchors: &[[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]] },
];

/// Levels in an order of their own among the outputs.
static RAW: ModelSpec = ModelSpec {
    name: "raw",
    source: "raw.onnx",
    sha256: "5eed",
    compiler: "0.0.0",
    batch: 2,
    inputs: &[TensorSpec { name: "images", dtype: DType::F32, shape: &[1, 3, HEIGHT, WIDTH] }],
    outputs: &[
        TensorSpec { name: "p4", dtype: DType::F32, shape: &[1, ANCHORS, 4, 6, ROW] },
        TensorSpec { name: "p5", dtype: DType::F32, shape: &[1, ANCHORS, 2, 3, ROW] },
        TensorSpec { name: "p3", dtype: DType::F32, shape: &[1, ANCHORS, 8, 12, ROW] },
    ],
    class_names: &[],
    detector: Some(DetectorSpec { classes: CLASSES, head: Head::Raw(LEVELS) }),
    weights: (1, 0),
    macs: (1, 0),
};

static DECODED: ModelSpec = ModelSpec {
    outputs: &[TensorSpec { name: "output", dtype: DType::F32, shape: &[1, ROWS, ROW] }],
    detector: Some(DetectorSpec { classes: CLASSES, head: Head::Decoded }),
    ..RAW
};

/// Random numbers before the sigmoid, different for each level of each image.
fn raw_numbers(image: usize, level: usize, len: usize) -> Vec<f32> {
    let mut state = (1 + image as u64 * 16 + level as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| 14.0 * uniform() - 7.0).collect()
}

/// The rows that YOLOv5's `Detect` makes of a level.
fn decode(raw: &[f32], level: &RawLevel, grid: [usize; 2], rows: &mut Vec<f32>) {
    let [height, width] = grid;
    for (index, row) in raw.chunks_exact(ROW).enumerate() {
        let (anchor, y, x) = (index / (height * width), index / width % height, index % width);
        let s: Vec<f64> = row.iter().map(|v| 1.0 / (1.0 + (-f64::from(*v)).exp())).collect();
        let stride = f64::from(level.stride);
        let [anchor_width, anchor_height] = level.anchors[anchor].map(f64::from);
        let xywh = [
            (2.0 * s[0] - 0.5 + x as f64) * stride,
            (2.0 * s[1] - 0.5 + y as f64) * stride,
            (2.0 * s[2]).powi(2) * anchor_width,
            (2.0 * s[3]).powi(2) * anchor_height,
        ];
        rows.extend(xywh.iter().chain(&s[4..]).map(|v| *v as f32));
    }
}

/// Gives each image of a call the numbers of its place in the call.
struct Network(&'static ModelSpec);

impl Infer for Network {
    fn spec(&self) -> &'static ModelSpec {
        self.0
    }

    fn run(&mut self, inputs: &[TensorRef<'_>], outputs: &mut [TensorMut<'_>]) -> Result<(), RunError> {
        let TensorRef::F32(input) = inputs[0] else { panic!("the input is F32") };
        for image in 0..input.len() / self.0.inputs[0].len() {
            let mut rows = Vec::new();
            for (number, level) in LEVELS.iter().enumerate() {
                let tensor = &RAW.outputs[level.output];
                let raw = raw_numbers(image, number, tensor.len());
                decode(&raw, level, [tensor.shape[2], tensor.shape[3]], &mut rows);
                if let Head::Raw(_) = self.0.detector.unwrap().head {
                    fill(&mut outputs[level.output], image, &raw);
                }
            }
            if let Head::Decoded = self.0.detector.unwrap().head {
                fill(&mut outputs[0], image, &rows);
            }
        }
        Ok(())
    }
}

fn fill(output: &mut TensorMut<'_>, image: usize, numbers: &[f32]) {
    let TensorMut::F32(output) = output else { panic!("the outputs are F32") };
    output[image * numbers.len()..][..numbers.len()].copy_from_slice(numbers);
}

/// The candidates before suppression of three images, which take two runs.
fn candidates(spec: &'static ModelSpec, params: &Params) -> Vec<Vec<Candidate>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let mut pipeline =
        Pipeline::builder(Network(spec)).nms(move |found, _| sink.lock().unwrap().push(found.clone())).build().unwrap();
    let pixels = vec![0; WIDTH * HEIGHT * 3];
    let image = ImageRef::rgb(&pixels, WIDTH, HEIGHT).unwrap();
    pipeline.run(&[image; 3], params).unwrap();
    drop(pipeline);
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

fn assert_close(raw: &[Candidate], decoded: &[Candidate], about: &str) {
    assert_eq!(raw.len(), decoded.len(), "{about}");
    for (raw, decoded) in raw.iter().zip(decoded) {
        assert_eq!(raw.class_id, decoded.class_id, "{about}");
        assert!((raw.score - decoded.score).abs() < 2e-6, "{about}: {raw:?} {decoded:?}");
        for (a, b) in raw.xyxy.iter().zip(decoded.xyxy) {
            assert!((a - b).abs() < 1e-3, "{about}: {raw:?} {decoded:?}");
        }
    }
}

#[test]
fn raw_and_decoded_heads_agree() {
    for conf_thres in [0.0, 0.001, 0.25, 0.6, 0.95] {
        for multi_label in [false, true] {
            for classes in [None, Some(vec![1, 4])] {
                let params = Params { conf_thres, multi_label, classes, ..Params::default() };
                let about = format!("{params:?}");
                let (raw, decoded) = (candidates(&RAW, &params), candidates(&DECODED, &params));
                assert_eq!((raw.len(), decoded.len()), (3, 3), "{about}");
                raw.iter().zip(&decoded).for_each(|(raw, decoded)| assert_close(raw, decoded, &about));
                assert!(!raw[0].is_empty() && raw[0].len() <= ROWS * CLASSES, "{about}: {}", raw[0].len());
                assert_ne!(raw[0], raw[1], "{about}");
                assert_eq!(raw[0], raw[2], "{about}");
            }
        }
    }
    let everything = candidates(&RAW, &Params { conf_thres: 0.0, multi_label: true, ..Params::default() });
    assert_eq!(everything[0].len(), ROWS * CLASSES);
}
