//! `peristyle diff` on the bundled example and changed copies of it.

use peristyle_compiler::onnx::{self, ModelProto};
use prost::Message;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example").join(file)
}

fn diff(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_peristyle")).arg("diff").args(args).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A copy of the example, changed.
fn changed(folder: &Path, change: impl FnOnce(&mut ModelProto)) -> String {
    let bytes = std::fs::read(example("shapes.onnx")).expect("the example");
    let mut model = onnx::decode(&bytes).expect("a model");
    change(&mut model);
    let path = folder.join("new.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("writable");
    path.to_str().expect("UTF-8").to_owned()
}

/// Zeroes the first half of the integer weights of the first convolution that reads `name`.
fn prune(model: &mut ModelProto, name: &str) {
    let graph = model.graph.as_mut().expect("a graph");
    let weight = graph.initializer.iter_mut().find(|tensor| tensor.name() == name).expect("the weight");
    let raw = weight.raw_data.as_mut().expect("raw weights");
    let half = raw.len() / 2;
    raw[..half].fill(0);
}

fn weights(model: &ModelProto) -> Vec<String> {
    let graph = model.graph.as_ref().expect("a graph");
    let large = graph.initializer.iter().filter(|tensor| tensor.raw_data.as_ref().is_some_and(|raw| raw.len() > 2000));
    large.map(|tensor| tensor.name().to_string()).collect()
}

fn rename(model: &mut ModelProto, from: &str, to: &str) {
    let names = model.metadata_props.iter_mut().find(|entry| entry.key() == "names").expect("class names");
    names.value = Some(names.value().replace(from, to));
}

#[test]
fn a_model_is_the_same_as_itself() {
    let shapes = example("shapes.onnx");
    let shapes = shapes.to_str().expect("UTF-8");
    let (code, text, _) = diff(&[shapes, shapes]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("The models are the same: 74 layers") && text.matches("sha256 5d73f40c").count() == 2,
        "{text}"
    );
    let image = example("example.jpg");
    let (code, text, _) = diff(&[shapes, shapes, "--json", "--image", image.to_str().expect("UTF-8")]);
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &told["same"], &told["layers"]["changed"]), (Some(0), &true.into(), &Value::Array(Vec::new())));
    let both = told["objects"]["both"].as_array().expect("objects");
    assert_eq!(both.len(), 13);
    // What the detector finds, to the bit of a float's text.
    let reference = std::fs::read_to_string(example("example.json")).expect("the reference");
    let reference: Value = serde_json::from_str(&reference).expect("JSON");
    let left = |found: &Value| found["box"][0].as_f64().expect("a number");
    for expected in reference["boxes"].as_array().expect("boxes") {
        let expected = expected[0].as_f64().expect("a number");
        assert!(both.iter().any(|pair| (left(&pair["new"]) - expected).abs() < 4.0), "{expected}");
    }
}

#[test]
fn pruned_weights_renamed_classes_and_moved_boxes_are_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut pruned = String::new();
    let new = changed(folder.path(), |model| {
        pruned = weights(model)[1].clone();
        prune(model, &pruned);
        rename(model, "'leaf'", "'tree'");
    });
    let shapes = example("shapes.onnx");
    let shapes = shapes.to_str().expect("UTF-8");
    let (code, text, err) = diff(&[shapes, &new, "--json"]);
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{err}"));
    assert_eq!((code, &told["same"]), (Some(1), &false.into()));
    assert_eq!((&told["classes"]["added"][0], &told["classes"]["removed"][0]), (&"tree".into(), &"leaf".into()));
    let layers = told["layers"]["changed"].as_array().expect("layers");
    let weights =
        |layer: &Value| layer["changes"].as_array().expect("changes").iter().find(|c| c["what"] == "weights").cloned();
    let change = layers.iter().find_map(weights).unwrap_or_else(|| panic!("{pruned}: {text}"));
    let count = |side: &str| change[side]["nonzeros"].as_u64().expect("a number");
    assert!(count("new") < count("old") && change["differ"].as_u64() == Some(count("old") - count("new")), "{change}");
    assert!(told["new"]["nonzero_macs"].as_u64() < told["old"]["nonzero_macs"].as_u64());
    assert!(told["outputs"][0]["differ"].as_u64() > Some(0), "{}", told["outputs"]);
    let predicted = |side: &str| told[side]["predicted_ms"].as_f64().expect("a number");
    assert!(0.0 < predicted("new") && predicted("new") < predicted("old"));

    let image = example("example.jpg");
    let (code, text, _) = diff(&[shapes, &new, "--image", image.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(1));
    for line in [
        "- classes: leaf",
        "+ classes: tree",
        "weights not zero ",
        "predicted milliseconds ",
        "objects in ",
        "- leaf 0.",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn errors_have_an_exit_code_of_their_own() {
    let shapes = example("shapes.onnx");
    let shapes = shapes.to_str().expect("UTF-8");
    let (code, _, error) = diff(&[shapes, "nowhere.onnx"]);
    assert!(code == Some(2) && error.contains("nowhere.onnx"), "{error}");
    let (code, _, error) = diff(&[shapes, shapes, "--image", shapes]);
    assert!(code == Some(2) && error.contains("shapes.onnx") && error.contains("not an image"), "{error}");
}
