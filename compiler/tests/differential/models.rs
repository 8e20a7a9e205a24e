//! Real detectors from end to end.
//!
//! A float model agrees to the rounding of its sums. A quantised model cannot: wherever a value lies within rounding of
//! a tie, it is stored one step away, and everything after sees that. ONNX Runtime disagrees with itself as much when
//! the biases of the same model change by a millionth. So those bounds are on means; `nodes` shows that every node by
//! itself agrees.

use super::compare::{Difference, difference, numbers};
use super::reference::{Input, Run, import, python, run, test_data};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{Graph, Tensor};
use peristyle_compiler::passes;
use std::time::Instant;

const FLOAT_MODELS: [&str; 3] = ["yolov5n.onnx", "yolov5n-pruned65.onnx", "yolov5n-dynamic.onnx"];
const QUANTISED_MODELS: [&str; 5] = [
    "yolov5n-pruned65_quant.onnx",
    "yolov5n-pruned65_quant.qdq.onnx",
    "yolov5n-dense_quant-pc.qdq.onnx",
    "yolov5n-pruned35_quant-vnni.onnx",
    "yolov5n-pruned35_quant-vnni.qdq.onnx",
];
const INPUTS: [Input; 2] = [Input::Random(1), Input::Image("bus.jpg")];

/// Differences of the boxes (pixels) and of the scores (0 to 1) of a decoded output `[1, candidates, 5 + classes]`.
fn compare(graph: &Graph, run: &Run) -> (Difference, Difference) {
    let inputs: Vec<Tensor> = run.inputs.iter().map(|(_, tensor)| tensor.clone()).collect();
    let outputs = interp::run(graph, &inputs).expect("the model runs");
    let (_, expected) = &run.outputs[0];
    assert_eq!(outputs[0].ty(), expected.ty());
    let row = expected.shape[2];
    let split = |tensor: &Tensor| -> (Vec<f64>, Vec<f64>) {
        let all = numbers(tensor);
        let part = |boxes: bool| {
            let wanted = move |(i, _): &(usize, &f64)| (i % row < 4) == boxes;
            all.iter().enumerate().filter(wanted).map(|(_, &x)| x).collect()
        };
        (part(true), part(false))
    };
    let ((boxes, scores), (expected_boxes, expected_scores)) = (split(&outputs[0]), split(expected));
    (difference(&boxes, &expected_boxes), difference(&scores, &expected_scores))
}

fn check(models: &[&str], fine: impl Fn(&Difference, &Difference) -> bool) {
    let (Some(data), Some(python)) = (test_data(), python()) else { return };
    let mut faults = Vec::new();
    for model in models {
        let imported = import(&data, model);
        let mut optimised = imported.clone();
        passes::run(&mut optimised).unwrap_or_else(|e| panic!("{model}: {e}"));
        for input in INPUTS {
            let run = run(&python, &data, model, input, false);
            for (stage, graph) in [("import", &imported), ("passes", &optimised)] {
                let start = Instant::now();
                let (boxes, scores) = compare(graph, &run);
                let line = format!(
                    "{model} {input:?} after {stage}: boxes max {:.1e} mean {:.1e}, scores max {:.1e} mean {:.1e}, \
                     {:.1}% of scores differ, {:.1} s",
                    boxes.absolute,
                    boxes.mean,
                    scores.absolute,
                    scores.mean,
                    100.0 * scores.share,
                    start.elapsed().as_secs_f64()
                );
                eprintln!("{line}");
                if !fine(&boxes, &scores) {
                    faults.push(line);
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[ignore = "needs real models and onnxruntime"]
fn float_detectors_agree_with_onnx_runtime() {
    check(&FLOAT_MODELS, |boxes, scores| boxes.absolute < 5e-3 && boxes.scaled < 1e-4 && scores.absolute < 1e-5);
}

#[test]
#[ignore = "needs real models and onnxruntime"]
fn quantised_detectors_agree_with_onnx_runtime_up_to_ties() {
    check(&QUANTISED_MODELS, |boxes, scores| boxes.mean < 1.0 && scores.mean < 1e-3 && scores.absolute < 0.15);
}
