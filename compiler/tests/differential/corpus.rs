//! Every small model, as imported and after the passes.

use super::compare::{Difference, FLOAT_BOUND, difference, numbers, read};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{Graph, Op, Tensor};
use peristyle_compiler::onnx::{self, ImportOptions};
use peristyle_compiler::passes;
use std::path::{Path, PathBuf};

/// Share of the elements of a quantised model that a tie may move.
const TIED_SHARE: f64 = 0.02;

/// Bound of a model that ONNX Runtime computes in `float16` and we in `f32`: one unit of eleven bits.
const HALF_BOUND: f64 = 1.0 / 2048.0;

fn is_half(case: &Path) -> bool {
    case.ends_with("float16_model")
}

fn cases() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(corpus).expect("the corpus is there");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("a readable entry").path()).collect();
    cases.retain(|case| case.join("model.onnx").is_file());
    cases.sort();
    assert!(cases.len() > 30, "the corpus is there");
    cases
}

fn import(case: &Path, inputs: &[(String, Tensor)]) -> Graph {
    let name = case.display();
    let bytes = std::fs::read(case.join("model.onnx")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let model = onnx::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let fixed = ImportOptions { imgsz: None, base_dir: Some(case.to_owned()) };
    let sized = || {
        let imgsz = inputs[0].1.shape.get(2..4).map(|s| [s[0], s[1]]);
        onnx::import(&model, &ImportOptions { imgsz, ..fixed.clone() })
    };
    onnx::import(&model, &fixed).or_else(|_| sized()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn run(graph: &Graph, inputs: &[(String, Tensor)]) -> Vec<Vec<f64>> {
    let tensor = |&id| {
        let name = &graph.value(id).name;
        inputs.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no input `{name}`")).1.clone()
    };
    let tensors: Vec<Tensor> = graph.inputs.iter().map(tensor).collect();
    let outputs = interp::run(graph, &tensors).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    outputs.iter().map(numbers).collect()
}

/// The largest scale of a quantisation in the graph: one step, where a tie was rounded the other way.
fn largest_step(graph: &Graph) -> Option<f64> {
    let scales = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Quantize(q) | Op::Dequantize(q) => q.scale.iter().copied().reduce(f32::max),
        _ => None,
    });
    scales.reduce(f32::max).map(f64::from)
}

/// Compares a graph with the stored outputs; the fault, if there is one.
fn check(graph: &Graph, step: Option<f64>, case: &Path) -> Option<String> {
    let (inputs, expected) = (read(&case.join("in.npz")), read(&case.join("out.npz")));
    let outputs = run(graph, &inputs);
    assert_eq!(outputs.len(), expected.len());
    let mut faults = Vec::new();
    for (got, (name, expected)) in outputs.iter().zip(&expected) {
        let d: Difference = difference(got, &numbers(expected));
        eprintln!(
            "{} {name}: max {:.1e}, scaled {:.1e}, {:.2}% past the bound",
            case.file_name().unwrap_or_default().display(),
            d.absolute,
            d.scaled,
            100.0 * d.share
        );
        let fine = match step {
            None if is_half(case) => d.scaled <= HALF_BOUND,
            None => d.scaled <= FLOAT_BOUND,
            Some(step) => d.absolute <= step * 1.001 + FLOAT_BOUND && d.share <= TIED_SHARE,
        };
        if !fine {
            faults.push(format!("{} `{name}`: {d:?}, one step is {step:?}", case.display()));
        }
    }
    (!faults.is_empty()).then(|| faults.join("\n"))
}

#[test]
fn imported_graphs_compute_what_onnx_runtime_computes() {
    let faults: Vec<String> = cases()
        .iter()
        .filter_map(|case| {
            let graph = import(case, &read(&case.join("in.npz")));
            check(&graph, largest_step(&graph), case)
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn passes_keep_what_graphs_compute() {
    let mut faults = Vec::new();
    for case in cases() {
        let mut graph = import(&case, &read(&case.join("in.npz")));
        let step = largest_step(&graph);
        match passes::run(&mut graph) {
            Ok(_) => faults.extend(check(&graph, step, &case)),
            Err(error @ passes::Error::IntegerConv { .. }) => {
                eprintln!("skipped after the passes: {}: {error}", case.display());
            }
            Err(error) => faults.push(format!("{}: {error}", case.display())),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
