//! Real models, when `PERISTYLE_TEST_DATA` (or `../shared` beside the workspace) has them.

use crate::graphs::{Noise, ops};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{Activation, DType, Graph, Op, Store, Tensor};
use peristyle_compiler::onnx::{self, ImportOptions};
use peristyle_compiler::passes::{self, Report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn models() -> Option<PathBuf> {
    let data = std::env::var_os("PERISTYLE_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
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

/// Pseudo-random bytes, or pixels in 0..=1.
fn image(graph: &Graph) -> Tensor {
    let ty = graph.ty(graph.inputs[0]);
    let mut noise = Noise::new(5);
    match ty.dtype {
        DType::U8 => noise.tensor(ty),
        _ => Tensor::f32(ty.shape.clone(), (0..ty.len()).map(|_| noise.below(256) as f32 / 255.0).collect()),
    }
}

fn decoded(graph: &Graph, image: &Tensor) -> Tensor {
    interp::run(graph, std::slice::from_ref(image)).expect("the graph runs").remove(0)
}

#[test]
fn a_float_model_computes_the_same_at_a_small_size() {
    let Some(models) = models() else {
        eprintln!("SKIPPED: no test models; set PERISTYLE_TEST_DATA");
        return;
    };
    let before = imported(&models.join("yolov5n-dynamic.onnx"), 64);
    let mut after = before.clone();
    passes::run(&mut after).expect("the passes succeed");
    let image = image(&before);
    let [pixels, scores] = decoded_difference(&decoded(&before, &image), &decoded(&after, &image));
    eprintln!("differences: {pixels:e} pixels, {scores:e} of scores");
    assert!(pixels < 1e-2 && scores < 1e-4);
}

/// Only the formula of SiLU and the order of the decode round differently; everything else keeps every bit of a model
/// whose convolutions are integers from the start.
#[test]
fn other_passes_keep_every_bit_of_an_integer_model() {
    let Some(models) = models() else {
        eprintln!("SKIPPED: no test models; set PERISTYLE_TEST_DATA");
        return;
    };
    let graph = imported(&models.join("yolov5n-pruned65_quant.onnx"), 640);
    let image = image(&graph);
    let mut text = graph.to_string();
    let mut before = decoded(&graph, &image);
    passes::run_with(&mut graph.clone(), &mut |name, graph| {
        if std::mem::replace(&mut text, graph.to_string()) == text {
            return;
        }
        let after = decoded(graph, &image);
        let difference = decoded_difference(&before, &after);
        eprintln!("{name}: {difference:?}");
        match name {
            "recognise-activation" => {}
            "detect-head" => assert!(difference[0] < 1e-2 && difference[1] < 1e-5),
            _ => assert_eq!(difference, [0.0; 2], "{name}"),
        }
        before = after;
    })
    .expect("the passes succeed");
}
