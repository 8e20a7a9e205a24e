//! Stubs and folders to places.

use super::lookup::Root;
use super::{Place, name};
use crate::{Config, Error};
use flate2::{Compression, write::GzEncoder};
use peristyle_runtime::tensor_io::{Array, write_npz};
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn corpus(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(case).join("model.onnx")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Puts a model where folders are made as needed.
fn put(root: &Path, file: &str) -> PathBuf {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    std::fs::copy(corpus("silu_bottleneck"), &path).expect("copied");
    path
}

fn pack(archive: &Path, files: &[(&str, &Path)]) {
    std::fs::create_dir_all(archive.parent().expect("a folder")).expect("writable");
    let encoder = GzEncoder::new(File::create(archive).expect("writable"), Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    files.iter().for_each(|(name, path)| builder.append_path_with_name(path, name).expect("readable"));
    builder.into_inner().and_then(GzEncoder::finish).expect("writable");
}

fn find(model: &str, base: &Path, roots: &[(&Path, bool)]) -> Result<Place, String> {
    let roots: Vec<Root> = roots.iter().map(|(f, told)| Root { folder: f.to_path_buf(), told: *told }).collect();
    Place::find_in(Path::new(model), base, &roots).map_err(|e| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}"));
        format!("{e}{}", source.unwrap_or_default())
    })
}

#[test]
fn stubs_are_found_where_people_and_the_zoo_keep_them() {
    let stub = "zoo:cv/detection/yolov5-s/pytorch/ultralytics/coco/pruned65_quant-none";
    for (stub, kept) in [
        (stub, "cv/detection/yolov5-s/pytorch/ultralytics/coco/pruned65_quant-none/model.onnx"),
        (stub.trim_start_matches("zoo:"), "neuralmagic/yolov5-s-coco-pruned65_quantized/model.onnx"),
        (stub, "yolov5-s-coco-pruned65_quantized/deployment/model.onnx"),
        (stub, "yolov5-s-pruned65_quant-none.onnx"),
        ("zoo:yolov5-s-coco-pruned75_quantized", "yolov5-s-coco-pruned75_quantized/model.onnx"),
        ("yolov5-s-coco-pruned75_quantized", "neuralmagic/yolov5-s-coco-pruned75_quantized/model.onnx"),
        ("yolov5-x-coco-pruned70.4block_quantized?deployment=default", "yolov5-x-coco-pruned70.4block_quantized.onnx"),
    ] {
        let (empty, root) = (folder(), folder());
        let expected = put(root.path(), kept);
        let place = find(stub, empty.path(), &[(empty.path(), true), (root.path(), false)]).expect(stub);
        assert_eq!(place.file, expected);
        assert!(place.source.starts_with("zoo:") && place.name.starts_with("yolov5-"), "{place:?}");
    }
}

#[test]
fn a_path_that_exists_is_no_stub() {
    let (base, root) = (folder(), folder());
    put(root.path(), "yolov5-s-coco-base/model.onnx");
    let file = base.path().join("yolov5-s-coco-base");
    std::fs::copy(corpus("silu_bottleneck"), &file).expect("copied");
    assert_eq!(find("yolov5-s-coco-base", base.path(), &[(root.path(), true)]).expect("a file").file, file);
}

#[test]
fn a_stub_that_is_not_here_says_what_to_put_where() {
    let (told, cache) = (Path::new("/models"), Path::new("/home/me/.cache/sparsezoo"));
    let error = find("zoo:yolov5-s-coco-base", Path::new(""), &[(told, true), (cache, false)]).expect_err("nothing");
    assert_eq!(
        error,
        "no model of the stub `zoo:yolov5-s-coco-base` is on this machine: SparseZoo's service ended on 2025-06-02, so \
         nothing can be downloaded. Put its folder, the one with `model.onnx` in it, or its ONNX file to one of these \
         places:\n  /models/yolov5-s-coco-base\n  /home/me/.cache/sparsezoo/neuralmagic/yolov5-s-coco-base"
    );
    let error = find("cv/detection/yolov5-s/pytorch/ultralytics/coco/base-none", Path::new(""), &[(cache, false)]);
    let error = error.expect_err("nothing");
    assert!(error.contains("PERISTYLE_MODELS, a folder of models, is not set"), "{error}");
    assert!(error.ends_with("/home/me/.cache/sparsezoo/neuralmagic/yolov5-s-coco-base"), "{error}");
    let error = find("zoo:cv/detection", Path::new(""), &[]).expect_err("no stub");
    assert!(error.starts_with("`zoo:cv/detection` is no stub of SparseZoo: expected `DOMAIN/"), "{error}");
    let error = find("zoo:yolov5-s-coco-base?checkpoint=postqat", Path::new(""), &[]).expect_err("weights");
    assert!(error.contains("asks for `checkpoint=postqat`, weights for training"), "{error}");
    let error = find("detector.onnx", Path::new("/crate"), &[]).expect_err("nothing");
    assert_eq!(error, "there is no model `detector.onnx` in `/crate`");
}

#[test]
fn folders_hold_their_model_in_any_of_the_layouts() {
    let model = corpus("silu_bottleneck");
    let files: &[&[&str]] = &[
        &["model.onnx", "recipe_original.md", "deployment/model.onnx"],
        &["model.onnx.tar.gz", "model.md"],
        &["deployment/model.onnx", "training/other.onnx"],
        &["deployment.tar.gz"],
        &["best.onnx", "notes.txt"],
        &["deployment/best.onnx"],
    ];
    let expected = std::fs::read(&model).expect("readable");
    for layout in files {
        let outer = folder();
        let dir = outer.path().join("my-yolo");
        for file in *layout {
            let path = dir.join(file);
            match *file {
                "deployment.tar.gz" => {
                    pack(&path, &[("deployment/model.onnx", &model), ("deployment/config.yaml", &model)])
                }
                "model.onnx.tar.gz" => pack(&path, &[("model.onnx", &model)]),
                _ => drop(put(&dir, file)),
            }
        }
        let place = find("my-yolo", outer.path(), &[]).expect(layout[0]);
        assert_eq!((place.file.strip_prefix(&dir).unwrap(), &*place.name), (Path::new(layout[0]), "my-yolo"));
        let opened = place.open().expect("a model");
        assert_eq!(std::fs::read(&opened.model).expect("readable"), expected, "{layout:?}");
        assert_eq!(opened.unpacked.is_some(), layout[0].ends_with(".tar.gz"));
        Config::new().selftest(false).analyze(&dir).expect("compiles");
    }
    let outer = folder();
    let root = outer.path();
    put(root, "yolov5-s-coco-base/model.onnx");
    let deployed = put(root, "yolov5-s-coco-base/deployment/model.onnx");
    let place = find("yolov5-s-coco-base?deployment=default", Path::new("/"), &[(root, true)]).expect("both");
    assert_eq!(place.file, deployed);
    assert_eq!(name(&root.join("yolov5-s-coco-base/deployment"), Path::new("")), "yolov5-s-coco-base");
}

#[test]
fn folders_without_a_model_say_what_they_hold() {
    let outer = folder();
    let dir = outer.path().join("net");
    std::fs::create_dir(&dir).expect("writable");
    let error = || find("net", outer.path(), &[]).expect_err("no model");
    assert!(error().ends_with("no other .onnx file; it holds nothing"), "{}", error());
    std::fs::write(dir.join("model.md"), "text").expect("writable");
    assert!(error().ends_with("it holds model.md"), "{}", error());
    put(&dir, "a.onnx");
    put(&dir, "b.onnx");
    assert!(error().contains("holds several models (a.onnx, b.onnx) and none is called `model.onnx`"), "{}", error());
    std::fs::remove_file(dir.join("a.onnx")).expect("ours");
    std::fs::remove_file(dir.join("b.onnx")).expect("ours");
    std::fs::write(dir.join("model.onnx.tar.gz"), "no archive").expect("writable");
    let opened = find("net", outer.path(), &[]).expect("a place").open();
    let error = opened.expect_err("no archive").to_string();
    assert!(error.contains("model.onnx.tar.gz`: it is no whole .tar.gz"), "{error}");
}

/// Inputs and outputs of the interpreter, the outputs times `factor`, as an exporter writes them.
fn put_samples(dir: &Path, factor: f32, batched: bool, packed: bool) {
    let graph = Config::new().analyze(dir.join("model.onnx")).expect("compiles").graph;
    let shape = graph.ty(graph.inputs[0]).shape.clone();
    let data: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i % 256) as f32 / 255.0).collect();
    let input = crate::ir::Tensor::f32(shape, data);
    let output = crate::interp::run(&graph, std::slice::from_ref(&input)).expect("a result").remove(0);
    for (names, tensor, factor) in
        [(["sample-inputs", "inp"], &input, 1.0), (["sample_outputs", "out"], &output, factor)]
    {
        let data = tensor.as_f32().expect("floats").iter().map(|v| v * factor).collect();
        let shape = if batched { tensor.shape.clone() } else { tensor.shape[1..].to_vec() };
        let file = dir.join(names[0]).join(format!("{}-0000.npz", names[1]));
        std::fs::create_dir_all(dir.join(names[0])).expect("writable");
        write_npz(&file, &[("arr_0".to_string(), Array::F32 { shape, data })]).expect("writable");
        if packed {
            let member = format!("{}/{}-0000.npz", names[0], names[1]);
            pack(&dir.join(format!("{}.tar.gz", names[0])), &[(&member, &file)]);
            std::fs::remove_dir_all(dir.join(names[0])).expect("ours");
        }
    }
}

#[test]
fn samples_that_agree_are_baked_and_others_refused() {
    for (batched, packed) in [(true, false), (false, true)] {
        let outer = folder();
        put(outer.path(), "model.onnx");
        let golden = |config: &Config| {
            config.analyze(outer.path()).map(|compilation| {
                assert_eq!(compilation.warnings, Vec::<String>::new());
                compilation.baked().golden
            })
        };
        let known = golden(&Config::new()).expect("compiles");
        put_samples(outer.path(), 1.0, batched, packed);
        let own = golden(&Config::new()).expect("the samples are its own");
        assert!(own.starts_with(b"PGV2") && known.starts_with(b"PGV1"));
        assert_eq!(golden(&Config::new().samples(false)).expect("compiles"), known);
        put_samples(outer.path(), 1.001, batched, packed);
        let error = golden(&Config::new()).expect_err("another model's");
        let text = format!("{error:?}");
        assert!(matches!(error, Error::Sample { .. }) && text.contains("inp-0000.npz` than its folder says"), "{text}");
        assert!(golden(&Config::new().samples(false)).is_ok());
    }
}

#[test]
fn samples_of_another_size_are_only_warned_of() {
    let outer = folder();
    put(outer.path(), "model.onnx");
    put_samples(outer.path(), 1.0, true, false);
    let array = Array::F32 { shape: vec![1, 3, 2, 2], data: vec![0.0; 12] };
    write_npz(&outer.path().join("sample-inputs/inp-0000.npz"), &[("arr_0".to_string(), array)]).expect("writable");
    let compilation = Config::new().analyze(outer.path()).expect("compiles");
    assert!(compilation.warnings[0].contains("does not fit: input"), "{:?}", compilation.warnings);
    assert!(compilation.baked().golden.starts_with(b"PGV1"));
    std::fs::copy(outer.path().join("sample-inputs/inp-0000.npz"), outer.path().join("sample-inputs/inp-0001.npz"))
        .expect("copied");
    let error = format!("{:?}", Config::new().analyze(outer.path()).expect_err("two and one"));
    assert!(error.contains("holds 2 sample inputs and 1 sample outputs"), "{error}");
}
