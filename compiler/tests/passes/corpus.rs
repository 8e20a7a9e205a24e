//! The import corpus: every small model computes the same after the passes.

use crate::graphs::{Noise, ops};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{Data, Graph, Tensor};
use peristyle_compiler::onnx::{self, ImportOptions};
use peristyle_compiler::passes;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(corpus).expect("the corpus is there");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("a readable entry").path()).collect();
    cases.retain(|case| case.join("model.onnx").is_file());
    cases.sort();
    cases
}

fn imported(case: &Path) -> Graph {
    let bytes = std::fs::read(case.join("model.onnx")).expect("the model is readable");
    let model = onnx::decode(&bytes).expect("the model decodes");
    let options = ImportOptions { base_dir: Some(case.into()), imgsz: Some([64, 64]) };
    let fixed = ImportOptions { imgsz: None, ..options.clone() };
    onnx::import(&model, &fixed).or_else(|_| onnx::import(&model, &options)).expect("the model imports")
}

/// How far the results of `after` may lie from `before`, as a share of the largest result: floats by the rounding of
/// sums, and where maps between are quantised by the step that a rounding may tip.
fn allowed(before: &Graph) -> f32 {
    if ops(before).iter().any(|op| matches!(*op, "quantize" | "dequantize")) { 2e-2 } else { 1e-4 }
}

/// Largest difference of any result, as a share of the largest result.
fn relative_difference(before: &Graph, after: &Graph) -> f32 {
    let mut noise = Noise::new(7);
    let inputs: Vec<Tensor> = before.inputs.iter().map(|&i| noise.tensor(before.ty(i))).collect();
    let expected = interp::run(before, &inputs).expect("the graph before runs");
    let actual = interp::run(after, &inputs).expect("the graph after runs");
    let floats = |t: &Tensor| match &t.data {
        Data::F32(v) => v.clone(),
        Data::Bool(v) => v.iter().map(|&b| f32::from(b)).collect(),
        _ => t.to_i64s().expect("integers").into_iter().map(|x| x as f32).collect(),
    };
    let mut worst = 0f32;
    for (e, a) in expected.iter().zip(&actual) {
        assert_eq!(e.ty(), a.ty());
        let (e, a) = (floats(e), floats(a));
        let largest = e.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
        worst = e.iter().zip(&a).fold(worst, |worst, (e, a)| worst.max((e - a).abs() / largest));
    }
    worst
}

#[test]
fn every_case_computes_the_same_after_the_passes() {
    let cases = cases();
    assert!(cases.len() > 30, "the corpus is there");
    for case in cases {
        let name = case.file_name().expect("a folder").to_string_lossy().into_owned();
        let before = imported(&case);
        let mut after = before.clone();
        match passes::run(&mut after) {
            Ok(_) => {}
            Err(passes::Error::IntegerConv { node, why }) if name == "conv_integer_forms" => {
                eprintln!("{name}: refused: {node}: {why}");
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        }
        let names = |g: &Graph| g.outputs.iter().map(|&o| g.value(o).name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after), "{name}");
        let difference = relative_difference(&before, &after);
        eprintln!("{name}: {difference:e}: {} nodes, then {}", before.nodes.len(), ops(&after).join(" "));
        assert!(difference <= allowed(&before), "{name}: results differ by {difference}\n{before}\n{after}");
    }
}
