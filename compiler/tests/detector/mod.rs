//! The bundled example, built in every form, and what its binary finds.

// Every test file compiles this module and uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether tests are wanted that take minutes each; says aloud when they are not.
pub fn slow_tests_are_wanted() -> bool {
    let wanted = std::env::var_os("PERISTYLE_SLOW_TESTS").is_some();
    if !wanted {
        eprintln!("SKIPPED: takes minutes; set PERISTYLE_SLOW_TESTS=1");
    }
    wanted
}

/// A file of the bundled example.
pub fn example(file: &str) -> PathBuf {
    workspace().join("compiler/example").join(file)
}

/// Where everything is built; all tests that build share it.
pub fn folder() -> PathBuf {
    workspace().join("target/emitted/bin")
}

/// Runs the compiler.
pub fn peristyle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peristyle")).current_dir(workspace()).args(args).output().expect("it starts")
}

/// Folder of an emitted crate.
pub fn crate_dir(name: &str) -> PathBuf {
    workspace().join("target/emitted").join(name)
}

/// Builds the example under a name and returns the path of what that makes.
pub fn build(name: &str, extra: &[&str], file: &str) -> PathBuf {
    let crate_dir = crate_dir(name);
    let (model, output) = (example("shapes.onnx"), folder().join(name));
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (model, output, crate_dir) = (path(&model), path(&output), path(&crate_dir));
    let mut args = vec!["build", &model, "-o", &output, "--name", name, "--crate-dir", &crate_dir];
    args.extend(extra);
    let told = peristyle(&args);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    folder().join(file)
}

/// What the static binary finds in the example's picture: box and score, class, label.
pub fn boxes() -> Vec<(Vec<f64>, usize, String)> {
    let binary = build("shapes", &[], "shapes");
    let output = Command::new(binary).args(["detect", "--json", "--source"]).arg(example("example.jpg")).output();
    let output = output.expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let list = |key: &str| found[key].as_array().expect(key).clone();
    let (boxes, scores, labels, classes) = (list("boxes"), list("scores"), list("labels"), list("class_ids"));
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    (0..boxes.len())
        .map(|i| {
            let mut numbers: Vec<f64> = boxes[i].as_array().expect("a box").iter().map(number).collect();
            numbers.push(number(&scores[i]));
            let class = classes[i].as_u64().expect("a class") as usize;
            (numbers, class, labels[i].as_str().expect("a label").to_string())
        })
        .collect()
}

/// Fails when a bill of materials is none in the eyes of CycloneDX 1.5; says aloud when it cannot ask.
pub fn expect_valid_bill(bill: &[u8]) {
    let python = std::env::var("PERISTYLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = "import sys; from cyclonedx.schema import SchemaVersion; \
                  from cyclonedx.validation.json import JsonStrictValidator; \
                  fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()); \
                  sys.exit(fault and str(fault))";
    let available = Command::new(&python).args(["-c", "import cyclonedx.validation.json, jsonschema"]).output();
    if !available.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no validator of CycloneDX; pip install 'cyclonedx-python-lib[json-validation]'");
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bill).expect("writable");
    let output = Command::new(&python).args(["-c", script]).arg(file.path()).output().expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
