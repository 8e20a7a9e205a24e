//! Real models, and what ONNX Runtime makes of them, through `reference.py`.

use super::compare::read;
use peristyle_compiler::ir::{Graph, Tensor};
use peristyle_compiler::onnx::{self, ImportOptions};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a model is run on.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// Uniform noise from this seed.
    Random(u32),
    /// A photograph of the test data, by its path under `images/`.
    Image(&'static str),
}

/// Inputs and outputs of one run, by name.
pub struct Run {
    pub inputs: Vec<(String, Tensor)>,
    pub outputs: Vec<(String, Tensor)>,
}

/// The folder of models and images, or `None`, said aloud.
pub fn test_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map_or(beside, PathBuf::from);
    if data.join("models").is_dir() {
        return Some(data);
    }
    eprintln!("skipped: no real models; set PERISTYLE_TEST_DATA to a folder with models/ and images/");
    None
}

/// A Python that can run `reference.py`, or `None`, said aloud.
pub fn python() -> Option<OsString> {
    let python = std::env::var_os("PERISTYLE_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import onnxruntime, onnx, cv2"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: PERISTYLE_PYTHON names no Python with onnxruntime, onnx and opencv");
    None
}

/// Runs a model in ONNX Runtime; `all` adds every tensor between the nodes to the outputs.
pub fn run(python: &OsString, data: &Path, model: &str, input: Input, all: bool) -> Run {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo's folder for tests is writable");
    let (inputs, outputs) = (folder.path().join("in.npz"), folder.path().join("out.npz"));
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py"));
    command.arg(data.join("models").join(model)).args([&inputs, &outputs]);
    match input {
        Input::Random(seed) => command.args(["--random", &seed.to_string()]),
        Input::Image(image) => command.arg("--image").arg(data.join("images").join(image)),
    };
    if all {
        command.arg("--all");
    }
    let status = command.status().expect("the Python that was just found starts");
    assert!(status.success(), "reference.py failed on {model}");
    Run { inputs: read(&inputs), outputs: read(&outputs) }
}

/// The graph of a model, at 640 by 640 when the model leaves the size open.
pub fn import(data: &Path, model: &str) -> Graph {
    let path = data.join("models").join(model);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let proto = onnx::decode(&bytes).unwrap_or_else(|e| panic!("{model}: {e}"));
    let fixed = ImportOptions { imgsz: None, base_dir: path.parent().map(Path::to_path_buf) };
    let open = ImportOptions { imgsz: Some([640, 640]), ..fixed.clone() };
    onnx::import(&proto, &fixed).or_else(|_| onnx::import(&proto, &open)).unwrap_or_else(|e| panic!("{model}: {e}"))
}
