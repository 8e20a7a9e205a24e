//! Real models, when `PERISTYLE_TEST_DATA` (or `../shared` beside the workspace) has them.

use crate::graphs::ops;
use peristyle_compiler::ir::{Activation, Graph, Op, Store};
use peristyle_compiler::onnx::{self, ImportOptions};
use peristyle_compiler::passes::{self, Report};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn models() -> Option<PathBuf> {
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    Some(data.join("models")).filter(|models| models.is_dir())
}

fn compiled(path: &std::path::Path) -> (Graph, Report) {
    let bytes = std::fs::read(path).expect("the model is readable");
    let model = onnx::decode(&bytes).expect("the model decodes");
    let options = ImportOptions { imgsz: Some([640, 640]), ..ImportOptions::default() };
    let mut graph = onnx::import(&model, &options).expect("the model imports");
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
