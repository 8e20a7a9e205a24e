//! `peristyle run` on the corpus: files in, files out, and the texts of its errors.

use peristyle_runtime::tensor_io::{Array, read_tensors, write_npz, write_tensor};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn peristyle(model: &Path, input: &Path, output: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peristyle"));
    command.arg("run").arg(model).arg("--input").arg(input).arg("--output").arg(output).args(flags);
    command.output().expect("the program starts")
}

/// The one line on standard error of a run that fails with exit code 1.
fn error(model: &Path, input: &Path, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = peristyle(model, input, folder.path(), flags);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder is there").count(), 0);
    text
}

fn f32s(array: &Array) -> &[f32] {
    match array {
        Array::F32 { data, .. } => data,
        other => panic!("{}", other.type_name()),
    }
}

fn only(path: &Path) -> Array {
    read_tensors(path).expect("the file was written").remove(0).1
}

#[test]
fn outputs_are_those_of_onnx_runtime_with_and_without_passes() {
    let case = case("detector_decoded");
    let expected = only(&case.join("out.npz"));
    for flags in [&[][..], &["--no-passes"]] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The folder of the outputs does not exist yet.
        let out = folder.path().join("a/b");
        let output = peristyle(&case.join("model.onnx"), &case.join("in.npz"), &out, flags);
        assert!(output.status.success(), "{output:?}");
        let got = only(&out.join("output0.npy"));
        assert_eq!(got.shape(), expected.shape());
        for (a, b) in f32s(&got).iter().zip(f32s(&expected)) {
            assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} is not {b}");
        }
        let told = String::from_utf8(output.stdout).expect("text");
        assert!(told.contains("output0.npy: f32[1x"), "{told}");
    }
}

#[test]
fn a_batch_runs_image_by_image() {
    let case = case("detector_decoded");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = only(&case.join("in.npz"));
    let mut shape = image.shape().to_vec();
    shape[0] = 2;
    let darker = f32s(&image).iter().map(|x| x * 0.5);
    let data = f32s(&image).iter().copied().chain(darker).collect();
    let input = folder.path().join("two.npy");
    write_tensor(&input, &Array::F32 { shape, data }).expect("the folder is writable");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    assert!(peristyle(&case.join("model.onnx"), &case.join("in.npz"), &one, &[]).status.success());
    assert!(peristyle(&case.join("model.onnx"), &input, &two, &[]).status.success());
    let (one, two) = (only(&one.join("output0.npy")), only(&two.join("output0.npy")));
    assert_eq!((one.shape()[0], two.shape()[0]), (1, 2));
    assert_eq!(f32s(&one), &f32s(&two)[..f32s(&one).len()]);
    assert_ne!(f32s(&one), &f32s(&two)[f32s(&one).len()..]);
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let case = case("detector_decoded");
    let model = case.join("model.onnx");
    let given = |name: &str, array: Array| {
        let path = folder.path().join("given.npz");
        write_npz(&path, &[(name.to_owned(), array)]).expect("the folder is writable");
        path
    };
    let (name, image) = read_tensors(&case.join("in.npz")).expect("the corpus is sound").remove(0);
    let shape = image.shape().to_vec();

    let e = error(&model, &given("pictures", image), &[]);
    assert!(e.contains("member `pictures` is no input of the model, whose inputs are `"), "{e}");
    let bytes = Array::U8 { shape: shape.clone(), data: vec![0; shape.iter().product()] };
    let e = error(&model, &given(&name, bytes), &[]);
    assert!(e.contains("; the model takes pixels as floats from 0 to 1"), "{e}");
    let e = error(&model, &given(&name, Array::F32 { shape: vec![1, 3, 2, 2], data: vec![0.0; 12] }), &[]);
    assert!(e.contains("per image, the array is f32[1x3x2x2]"), "{e}");
    let e = error(&model, &given(&name, Array::F32 { shape: vec![], data: vec![0.0] }), &[]);
    assert!(e.contains("per image, the array is f32[]"), "{e}");

    let cut = folder.path().join("cut.npz");
    let whole = std::fs::read(case.join("in.npz")).expect("readable");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("the folder is writable");
    let e = error(&model, &cut, &[]);
    assert!(e.starts_with("error: ") && e.contains("cut.npz: damaged .npz file"), "{e}");
    let e = error(&model, &folder.path().join("none.npy"), &[]);
    assert!(e.contains("none.npy: No such file"), "{e}");
    let e = error(&folder.path().join("none.onnx"), &cut, &[]);
    assert!(e.contains("cannot read model"), "{e}");
    let e = error(&cut, &cut, &[]);
    assert!(e.contains("model `") && e.contains("cut.npz`: not an ONNX model, or cut short: check"), "{e}");
    assert!(e.contains("LFS pointer: failed to decode Protobuf message"), "{e}");
    if cfg!(target_os = "linux") {
        let zero = Path::new("/dev/zero");
        let e = error(zero, &cut, &[]);
        assert!(e.contains("cannot read model `/dev/zero`") && e.contains("not a file"), "{e}");
        let e = error(&model, zero, &[]);
        assert!(e.contains("/dev/zero: neither an .npy nor an .npz file"), "{e}");
    }
}

#[test]
fn several_inputs_need_names() {
    let case = case("binary_broadcast");
    let inputs = read_tensors(&case.join("in.npz")).expect("the corpus is sound");
    assert!(inputs.len() > 1, "the case has several inputs");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let one = folder.path().join("one.npy");
    write_tensor(&one, &inputs[0].1).expect("the folder is writable");
    let e = error(&case.join("model.onnx"), &one, &[]);
    assert!(e.contains("one array, but the model has") && e.contains("pass an .npz with their names"), "{e}");
    let some = folder.path().join("some.npz");
    write_npz(&some, &inputs[1..]).expect("the folder is writable");
    let e = error(&case.join("model.onnx"), &some, &[]);
    assert!(e.contains(&format!("no member `{}`", inputs[0].0)), "{e}");
}

/// External data is part of the model: its hash covers it, and a build script runs again when it changes.
#[test]
fn external_data_is_part_of_the_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["model.onnx", "weights.bin"] {
        std::fs::copy(case("external_data").join(file), folder.path().join(file)).expect("the corpus is readable");
    }
    let (model, weights) = (folder.path().join("model.onnx"), folder.path().join("weights.bin"));
    let analyze = || peristyle_compiler::Config::new().analyze(&model).expect("the corpus compiles");
    let before = analyze();
    assert_eq!(before.external_files, std::slice::from_ref(&weights));
    let mut bytes = std::fs::read(&weights).expect("readable");
    bytes[0] ^= 1;
    std::fs::write(&weights, bytes).expect("the folder is writable");
    assert_ne!(analyze().identity.sha256, before.identity.sha256);
    let alone =
        peristyle_compiler::Config::new().analyze(case("silu_bottleneck").join("model.onnx")).expect("compiles");
    assert!(alone.external_files.is_empty());
}

/// Runs `peristyle compile` in a folder of its own.
fn compile(args: &[&str]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_peristyle"));
    let output = command.current_dir(folder.path()).arg("compile").args(args).output().expect("the program starts");
    (folder, output)
}

#[test]
fn sizes_leave_the_model_alone() {
    let model = case("dynamic_detector").join("model.onnx");
    let model = model.to_str().expect("UTF-8");
    for size in [&["--imgsz", "64"][..], &["--imgsz", "64", "64"], &["--imgsz", "64,64"], &["--imgsz=64", "64"]] {
        for args in [[size, &[model]].concat(), [&[model], size].concat()] {
            let (folder, output) = compile(&args);
            assert!(output.status.success(), "{args:?}: {output:?}");
            let emitted = folder.path().join("generated/model/src/model/mod.rs");
            let source = std::fs::read_to_string(&emitted).expect("the crate was written");
            assert!(source.contains("shape: &[1, 3, 64, 64]"), "{args:?}");
        }
    }
    let (_, output) = compile(&["--imgsz", "64y", model]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("`416 640` or `416,640`"), "{text}");
}

#[test]
fn a_file_is_no_folder_for_outputs() {
    let model = case("silu_bottleneck").join("model.onnx");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("taken");
    std::fs::write(&file, "x").expect("the folder is writable");
    for option in ["-o", "--dump-stages"] {
        let (_, output) = compile(&[model.to_str().expect("UTF-8"), option, file.to_str().expect("UTF-8")]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("taken`: it is a file; pass a folder with {option}")), "{text}");
    }
    let output = peristyle(&model, &case("silu_bottleneck").join("in.npz"), &file, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("taken`: it is a file"), "{output:?}");
}

#[test]
fn wrong_use_exits_with_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_peristyle")).arg("run").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
}
