//! Narrowing a detection head to some of its classes.

use crate::detect::{Spelling, detector};
use crate::graphs::{Build, Noise, ops, optimised, window};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{DType, Graph, Op, Tensor, Type, verify};
use peristyle_compiler::onnx::{self, ImportOptions};
use peristyle_compiler::passes::{self, ClassesError, Report, keep_classes};
use std::path::{Path, PathBuf};

fn narrowed(graph: &Graph, classes: &[&str]) -> Result<(Graph, Report), ClassesError> {
    let mut narrow = graph.clone();
    let mut report = Report::default();
    let classes: Vec<String> = classes.iter().map(|name| (*name).to_string()).collect();
    keep_classes(&mut narrow, &classes, &mut report)?;
    verify::verify(&narrow).expect("the narrowed graph keeps the invariants");
    Ok((narrow, report))
}

/// The outputs without the columns of all classes but `kept`, which are rows of 5 and `classes` numbers on the last axis.
fn columns(output: &Tensor, classes: usize, kept: &[usize]) -> Tensor {
    let values = output.as_f32().expect("a head is f32");
    let rows = values.chunks(5 + classes);
    let cut = rows.flat_map(|row| row[..5].iter().copied().chain(kept.iter().map(|class| row[5 + class])));
    let mut shape = output.shape.clone();
    *shape.last_mut().expect("a row") = 5 + kept.len();
    Tensor::f32(shape, cut.collect())
}

/// Fails unless the narrowed graph computes the whole one's outputs without the other columns, to the bit.
fn check(graph: &Graph, names: &[&str], kept: &[usize]) -> Report {
    let classes = graph.ty(graph.outputs[0]).shape.last().expect("a row") - 5;
    let (narrow, report) = narrowed(graph, names).expect("the head is known");
    assert_eq!(report.removed_classes, classes - kept.len());
    let input: Vec<Tensor> = graph.inputs.iter().map(|&i| Noise::new(9).tensor(graph.ty(i))).collect();
    let whole = interp::run(graph, &input).expect("the graph runs");
    let fewer = interp::run(&narrow, &input).expect("the narrowed graph runs");
    assert_eq!(whole.len(), fewer.len());
    for (whole, fewer) in whole.iter().zip(&fewer) {
        assert!(columns(whole, classes, kept) == *fewer, "{:?} {:?}", whole.shape, fewer.shape);
    }
    report
}

fn with_names(mut graph: Graph, names: &[&str]) -> Graph {
    graph.metadata.class_names = names.iter().map(|name| (*name).to_string()).collect();
    optimised(&graph).0
}

#[test]
fn decoded_heads_are_cut_in_weights_and_output() {
    for with_raw in [false, true] {
        let graph = with_names(detector(Spelling::GridMinusHalf, with_raw), &["cat", "dog"]);
        let report = check(&graph, &["dog"], &[1]);
        // Of three anchors one channel each, on maps of 4x4 and 2x2 with their three inputs.
        assert_eq!(report.class_macs, 3 * 3 * (16 + 4));
        let (narrow, _) = narrowed(&graph, &["dog"]).expect("the head is known");
        assert_eq!(narrow.metadata.class_names, ["dog"]);
        let head = narrow.nodes.iter().find_map(|n| if let Op::DetectHead(head) = &n.op { Some(head) } else { None });
        assert_eq!(head.expect("the decode stays").outputs, 6);
    }
}

#[test]
fn raw_heads_are_cut_through_reshape_and_transpose() {
    let mut b = Build::new(2);
    let x = b.input(DType::F32, [1, 3, 32, 32]);
    let raws: Vec<_> = [4, 2, 1].iter().map(|&h| crate::detect::raw_level(&mut b, x, h)).collect();
    let graph = optimised(&b.finish(&raws)).0;
    check(&graph, &["0"], &[0]);
    let (narrow, _) = narrowed(&graph, &["1"]).expect("the head is known");
    assert_eq!(narrow.metadata.class_names, ["1"], "without names a class keeps its number as its name");
}

/// A head whose convolution stores bytes that are dequantised behind it.
#[test]
fn heads_that_store_bytes_are_cut_with_their_scales() {
    let mut b = Build::new(3);
    let x = b.input(DType::F32, [1, 3, 16, 16]);
    let raws: Vec<_> = [4, 2, 1]
        .iter()
        .map(|&h| {
            let weight = b.random(DType::F32, &[24, 3, 1, 1]);
            let bias = b.random(DType::F32, &[24]);
            let raw = b.conv_of(x, weight, bias, window(1, 16 / h, 0));
            let bytes = b.quantize(raw, 0.05, 128, DType::U8);
            let raw = b.dequantize(bytes, 0.05, 128);
            let split = b.node("reshape", Op::Reshape, vec![raw], DType::F32, &[1, 3, 8, h, h]);
            let perm = vec![0, 1, 3, 4, 2];
            b.node("transpose", Op::Transpose { perm }, vec![split], DType::F32, &[1, 3, h, h, 8])
        })
        .collect();
    let graph = with_names(b.finish(&raws), &["a", "b", "c"]);
    assert!(ops(&graph).contains(&"dequantize"), "{:?}", ops(&graph));
    check(&graph, &["c", "a"], &[0, 2]);
}

#[test]
fn keeping_every_class_changes_nothing() {
    let graph = with_names(detector(Spelling::GridMinusHalf, false), &["cat", "dog"]);
    assert_eq!(check(&graph, &["dog", "cat", "dog"], &[0, 1]).class_macs, 0);
}

#[test]
fn what_is_no_class_is_refused_with_what_there_is() {
    let graph = with_names(detector(Spelling::GridMinusHalf, false), &["traffic light", "dog"]);
    let refusal = |graph: &Graph, names: &[&str]| narrowed(graph, names).expect_err("refused").to_string();
    insta::assert_snapshot!(
        [
            refusal(&graph, &["dog", "trafic light"]),
            refusal(&graph, &["zebra"]),
            refusal(&graph, &[" "]),
            refusal(&with_names(detector(Spelling::WrongOffset, false), &["cat", "dog"]), &["dog"]),
        ]
        .join("\n"),
        @r"
    the model has no class `trafic light`; near ones are `traffic light`
    the model has no class `zebra`; it has `traffic light`, `dog`
    no class is named; name at least one, or leave the choice out
    the model has no detection head with classes that is known here (rows of x, y, w, h, objectness and one score per class), so no class can be left out
    "
    );
    assert!(narrowed(&graph, &["Dog"]).is_ok(), "case does not matter where nothing else fits");
}

fn compiled(path: &Path) -> Graph {
    let bytes = std::fs::read(path).expect("the model is readable");
    let model = onnx::decode(&bytes).expect("the model decodes");
    let mut graph = onnx::import(&model, &ImportOptions::default()).expect("the model imports");
    passes::run(&mut graph).expect("the passes succeed");
    graph
}

#[test]
fn the_bundled_example_and_the_corpus_can_be_narrowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shapes = compiled(&root.join("example/shapes.onnx"));
    let input = Tensor::new([1, 3, 320, 320], Noise::new(4).tensor(&Type::new(DType::F32, [1, 3, 320, 320])).data);
    let (narrow, report) = narrowed(&shapes, &["leaf", "cube"]).expect("the head is known");
    let whole = interp::run(&shapes, std::slice::from_ref(&input)).expect("it runs").remove(0);
    let fewer = interp::run(&narrow, &[input]).expect("it runs").remove(0);
    assert!(columns(&whole, 6, &[1, 5]) == fewer && report.class_macs > 0);
    for case in ["detector_decoded", "detector_raw_heads", "detector_scatter"] {
        let mut graph = compiled(&root.join("tests/corpus").join(case).join("model.onnx"));
        // The raw heads of the corpus leave their anchors to whoever reads them.
        let anchors = "[[1,2, 3,4, 5,6], [7,8, 9,10, 11,12]]".to_string();
        graph.metadata.properties.insert("anchors".to_string(), anchors);
        let classes = graph.ty(graph.outputs[0]).shape.last().expect("a row") - 5;
        let last = (graph.metadata.class_names.last().cloned()).unwrap_or_else(|| (classes - 1).to_string());
        check(&graph, &[&last], &[classes - 1]);
    }
}

/// The forms of real exports: `ConvInteger`, QDQ, float.
#[test]
fn real_models_can_be_narrowed() {
    let data = std::env::var_os("PERISTYLE_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    if !data.join("models").is_dir() {
        eprintln!("SKIPPED: no test models; set PERISTYLE_TEST_DATA");
        return;
    }
    for name in ["yolov5n-pruned65_quant", "yolov5n-pruned65_quant.qdq", "yolov5n-pruned65"] {
        let graph = compiled(&data.join("models").join(name).with_extension("onnx"));
        let (narrow, report) = narrowed(&graph, &["person", "car"]).expect("the head is known");
        assert_eq!(narrow.ty(narrow.outputs[0]).shape, [1, 25200, 7], "{name}");
        assert_eq!((report.removed_classes, narrow.metadata.class_names.len()), (78, 2), "{name}");
        // Three heads of 255 channels over 64, 128 and 256 inputs keep 21 channels each.
        assert_eq!(report.class_macs, 234 * (6400 * 64 + 1600 * 128 + 400 * 256), "{name}");
    }
}
