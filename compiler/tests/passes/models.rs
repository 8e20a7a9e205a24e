//! Real models, when `PERISTYLE_TEST_DATA` (or `../shared` beside the workspace) has them.

use crate::graphs::{Noise, ops};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{Activation, DType, Graph, Op, Store, Tensor};
use peristyle_compiler::onnx::{self, ImportOptions};
use peristyle_compiler::passes::{self, Report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn models() -> Option<PathBuf> {
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    Some(data.join("models")).filter(|models| models.is_dir())
}

fn imported(path: &Path, imgsz: usize) -> Graph {
    let bytes = std::fs::read(path).expect("the model is readable");
    let model = onnx::decode(&bytes).expect("the model decodes");
    let options = ImportOptions { imgsz: Some([imgsz; 2]), ..ImportOptions::default() };
    onnx::import(&model, &options).expect("the model imports")
}

fn compiled(path: &Path) -> (Graph, Report) {
    let mut graph = imported(path, 640);
    let report = passes::run(&mut graph).expect("the passes succeed");
    (graph, report)
}

fn census(graph: &Graph) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for node in &graph.nodes {
        let mut kind = node.op.name().to_string();
        if let Op::Conv(conv) = &node.op {
            kind += &format!(" {:?}", conv.epilogue.activation);
            if conv.epilogue.residual.is_some() {
                kind += " +residual";
            }
        }
        *counts.entry(kind).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}, ")).collect()
}

/// Every `f32` store of a quantised convolution and the operators that read it.
fn float_stores(graph: &Graph) -> BTreeMap<String, usize> {
    let consumers = graph.consumers();
    let mut readers: BTreeMap<String, usize> = BTreeMap::new();
    for node in &graph.nodes {
        let Op::Conv(conv) = &node.op else { continue };
        for (store, &output) in conv.epilogue.stores.iter().zip(&node.outputs) {
            if *store == Store::F32 {
                let names = consumers[output.index()].iter().map(|&n| {
                    let reader = &graph.nodes[n];
                    if reader.inputs.get(3) == Some(&output) { "residual" } else { reader.op.name() }
                });
                *readers.entry(names.collect::<Vec<_>>().join("+")).or_default() += 1;
            }
        }
    }
    readers
}

#[test]
fn every_model_reaches_canonical_form() {
    let Some(models) = models() else {
        eprintln!("SKIPPED: no test models; set PERISTYLE_TEST_DATA");
        return;
    };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(models).expect("the folder is readable").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let (graph, report) = compiled(&path);
        eprintln!("{name}: {}\n  f32 stores by readers: {:?}\n  {report:?}", census(&graph), float_stores(&graph));
        let quantised = name.contains("quant");
        for node in &graph.nodes {
            let expected = match &node.op {
                Op::Conv(conv) => {
                    conv.quant.is_some() == quantised
                        && (conv.epilogue.activation == Activation::Silu || conv.epilogue.stores == [Store::F32])
                }
                Op::MaxPool(_) | Op::ResizeNearest { .. } | Op::Concat { .. } | Op::DetectHead(_) => true,
                Op::Quantize(_) => graph.inputs.contains(&node.inputs[0]),
                _ => false,
            };
            assert!(expected, "{name}: {} is left as {}", node.name, node.op.name());
        }
        assert_eq!(ops(&graph).iter().filter(|op| **op == "detect_head").count(), 1, "{name}");
    }
}

/// Largest difference of box coordinates, in pixels, and of scores.
fn decoded_difference(expected: &Tensor, actual: &Tensor) -> [f32; 2] {
    assert_eq!(expected.ty(), actual.ty());
    let outputs = expected.shape[2];
    let mut worst = [0f32; 2];
    let pairs = expected.as_f32().expect("f32").iter().zip(actual.as_f32().expect("f32"));
    for (i, (e, a)) in pairs.enumerate() {
        let kind = usize::from(i % outputs >= 4);
        worst[kind] = worst[kind].max((e - a).abs());
    }
    worst
}

fn before_and_after(path: &Path, imgsz: usize) -> [f32; 2] {
    let before = imported(path, imgsz);
    let mut after = before.clone();
    passes::run(&mut after).expect("the passes succeed");
    let input = match before.ty(before.inputs[0]) {
        ty if ty.dtype == DType::U8 => Noise::new(5).tensor(ty),
        ty => {
            let mut noise = Noise::new(5);
            Tensor::f32(ty.shape.clone(), (0..ty.len()).map(|_| noise.below(256) as f32 / 255.0).collect())
        }
    };
    let expected = interp::run(&before, std::slice::from_ref(&input)).expect("the graph before runs");
    let actual = interp::run(&after, &[input]).expect("the graph after runs");
    decoded_difference(&expected[0], &actual[0])
}

#[test]
fn a_float_model_computes_the_same_at_a_small_size() {
    let Some(models) = models() else {
        eprintln!("SKIPPED: no test models; set PERISTYLE_TEST_DATA");
        return;
    };
    let [pixels, scores] = before_and_after(&models.join("yolov5n-dynamic.onnx"), 64);
    eprintln!("differences: {pixels:e} pixels, {scores:e} of scores");
    assert!(pixels < 1e-2 && scores < 1e-4);
}

/// Rounding differently in one SiLU tips a quantised value by one step here and there; boxes hardly move.
#[test]
#[ignore = "takes a minute"]
fn quantised_models_compute_nearly_the_same() {
    let Some(models) = models() else {
        eprintln!("SKIPPED: no test models; set PERISTYLE_TEST_DATA");
        return;
    };
    for name in ["yolov5n-pruned65_quant.onnx", "yolov5n-pruned65_quant.qdq.onnx"] {
        let [pixels, scores] = before_and_after(&models.join(name), 640);
        eprintln!("{name}: differences: {pixels:e} pixels, {scores:e} of scores");
    }
}
