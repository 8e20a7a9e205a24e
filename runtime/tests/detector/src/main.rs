//! The program of a detector whose network is replaced by rules.
//!
//! It finds one object per pure colour: everything red is a person, green a bus, blue a tie, yellow a car. Beside each
//! stands what a network would also say: a worse copy of the red box, a truck where the car is, and a weak second class.
//! `STAND_IN_NAMELESS` takes the names of the classes away, `STAND_IN_DELAY_MS` slows every picture down,
//! `STAND_IN_BROKEN` keeps the network from starting.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use peristyle_runtime::app::{self, Compiled, coco};
use peristyle_runtime::engine::{
    DType, DetectorSpec, Head, Infer, ModelSpec, RunError, TensorMut, TensorRef, TensorSpec,
};

/// Width and height of the input.
const SIDE: usize = 128;

const CLASSES: usize = 80;
const ROW: usize = 5 + CLASSES;

/// A colour, and the class scores of its boxes in each row that it has.
type Rule = ([bool; 3], &'static [&'static [(usize, f32)]]);

const RULES: [Rule; 4] = [
    ([true, false, false], &[&[(0, 0.9), (27, 0.3)], &[(0, 0.6)]]),
    ([false, true, false], &[&[(5, 0.8)]]),
    ([false, false, true], &[&[(27, 0.7)]]),
    ([true, true, false], &[&[(2, 0.85)], &[(7, 0.5)]]),
];

const ROWS: usize = 6;

static NAMED: ModelSpec = ModelSpec {
    name: "stand-in",
    source: "rules.onnx",
    sha256: "5eed",
    compiler: "0.0.0",
    batch: 1,
    inputs: &[TensorSpec { name: "images", dtype: DType::U8, shape: &[1, 3, SIDE, SIDE] }],
    outputs: &[TensorSpec { name: "output0", dtype: DType::F32, shape: &[1, ROWS, ROW] }],
    class_names: &coco::NAMES,
    detector: Some(DetectorSpec { classes: CLASSES, head: Head::Decoded }),
    weights: (100, 35),
    macs: (1000, 400),
};

static NAMELESS: ModelSpec = ModelSpec { class_names: &[], ..NAMED };

/// A second model for the same program.
static OTHER: ModelSpec = ModelSpec { name: "other", source: "other.onnx", ..NAMELESS };

struct Rules {
    spec: &'static ModelSpec,
    delay: Duration,
}

impl Infer for Rules {
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
        for (image, rows) in input.chunks_exact(3 * SIDE * SIDE).zip(output.chunks_exact_mut(ROWS * ROW)) {
            std::thread::sleep(self.delay);
            find(image, rows);
        }
        Ok(())
    }
}

fn find(image: &[u8], rows: &mut [f32]) {
    rows.fill(0.0);
    let mut rows = rows.chunks_exact_mut(ROW);
    for (color, boxes) in RULES {
        let around = bounds(image, color);
        for (index, scores) in boxes.iter().enumerate() {
            let row = rows.next().expect("a row for every box");
            let Some([left, top, right, bottom]) = around else { continue };
            // The copies are a little higher.
            let height = (bottom - top) as f32 * (1.0 + 0.125 * index as f32);
            let width = (right - left) as f32;
            row[..5].copy_from_slice(&[left as f32 + width / 2.0, top as f32 + height / 2.0, width, height, 1.0]);
            scores.iter().for_each(|(class, score)| row[5 + class] = *score);
        }
    }
}

/// The box around all pixels of a colour: left, top, right, bottom.
fn bounds(image: &[u8], color: [bool; 3]) -> Option<[usize; 4]> {
    let is = |at: usize| {
        (0..3).all(|c| {
            let level = image[c * SIDE * SIDE + at];
            if color[c] { level > 200 } else { level < 60 }
        })
    };
    let inside = (0..SIDE * SIDE).filter(|at| is(*at)).map(|at| [at % SIDE, at / SIDE]);
    inside.fold(None, |around, [x, y]| {
        let [left, top, right, bottom] = around.unwrap_or([x, y, x + 1, y + 1]);
        Some([left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)])
    })
}

fn main() -> ExitCode {
    let nameless = std::env::var_os("STAND_IN_NAMELESS").is_some();
    let named = Compiled { new: |_| start(&NAMED), spec: &NAMED };
    let other = Compiled { new: |_| start(&NAMELESS), spec: &NAMELESS };
    match std::env::var_os("STAND_IN_BOTH") {
        Some(_) => app::main(&[named, Compiled { new: |_| start(&OTHER), spec: &OTHER }]),
        None if nameless => app::main(&[other]),
        None => app::main(&[named]),
    }
}

fn start(spec: &'static ModelSpec) -> io::Result<Box<dyn Infer>> {
    match std::env::var_os("STAND_IN_BROKEN") {
        Some(_) => Err(io::Error::other("it is broken")),
        None => Ok(Box::new(Rules { spec, delay: delay() })),
    }
}

fn delay() -> Duration {
    let milliseconds = std::env::var("STAND_IN_DELAY_MS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(milliseconds.unwrap_or(0))
}
