//! Models for tests: the corpus of this repository, and real ones where the machine has them.

// Every test file compiles this module and uses a part of it.
#![allow(dead_code)]

use peristyle_compiler::ir::Graph;
use peristyle_compiler::onnx::{ImportOptions, decode, import};
use std::path::{Path, PathBuf};

/// The folder of real models and images: what `PERISTYLE_TEST_DATA` names, else `../shared` beside the workspace.
pub fn test_data() -> Option<PathBuf> {
    let dir = match std::env::var_os("PERISTYLE_TEST_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    dir.join("models").is_dir().then_some(dir)
}

fn load(path: &Path) -> Graph {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let options = ImportOptions { imgsz: Some([640, 640]), base_dir: path.parent().map(Path::to_path_buf) };
    let model = decode(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let fixed = ImportOptions { imgsz: None, ..options.clone() };
    import(&model, &fixed).or_else(|_| import(&model, &options)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every model of the corpus, by name.
pub fn corpus() -> Vec<(String, Graph)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("a readable folder").path()).collect();
    cases.retain(|case| case.join("model.onnx").is_file());
    cases.sort();
    let name = |case: &PathBuf| case.file_name().unwrap_or_default().to_string_lossy().into_owned();
    cases.iter().map(|case| (name(case), load(&case.join("model.onnx")))).collect()
}

/// The real models with these names; says so when the machine has none.
pub fn real(names: &[&str]) -> Vec<(String, Graph)> {
    let Some(dir) = test_data() else {
        eprintln!(
            "SKIPPED: no real models; set PERISTYLE_TEST_DATA to a folder with models/{}",
            names.join(", models/")
        );
        return Vec::new();
    };
    names.iter().map(|name| (name.to_string(), load(&dir.join("models").join(name)))).collect()
}
