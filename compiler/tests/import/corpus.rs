use super::npz;
use peristyle_compiler::ir::{self, Graph};
use peristyle_compiler::onnx::{self, ImportOptions};
use std::path::{Path, PathBuf};

/// The folders of the corpus, sorted.
fn cases() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(&corpus).expect("the corpus is there");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    cases
}

fn import(case: &Path) -> Graph {
    let name = case.display();
    let inputs = npz::read(&case.join("in.npz"));
    let dynamic = case.file_name().is_some_and(|n| n.to_string_lossy().starts_with("dynamic_"));
    let imgsz = dynamic.then(|| [inputs[0].1.shape[2], inputs[0].1.shape[3]]);
    let bytes = std::fs::read(case.join("model.onnx")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let model = onnx::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let options = ImportOptions { imgsz, base_dir: Some(case.to_owned()) };
    onnx::import(&model, &options).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every case imports to a valid graph whose inputs and outputs have the types that ONNX Runtime read and made.
#[test]
fn corpus_imports_with_the_types_of_onnx_runtime() {
    let mut wrong = Vec::new();
    for case in cases() {
        let graph = import(&case);
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Err(e) = ir::verify::verify(&graph) {
            wrong.push(format!("{name}: {e}"));
        }
        for (ids, file) in [(&graph.inputs, "in.npz"), (&graph.outputs, "out.npz")] {
            let arrays = npz::read(&case.join(file));
            assert_eq!(ids.len(), arrays.len(), "{name}: {file}");
            for (&id, (label, array)) in ids.iter().zip(&arrays) {
                if (&graph.value(id).name, graph.ty(id)) != (label, &array.ty()) {
                    wrong.push(format!(
                        "{name}: `{}` {} is `{label}` {}",
                        graph.value(id).name,
                        graph.ty(id),
                        array.ty()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Importing twice gives the same graph.
#[test]
fn import_is_deterministic() {
    for case in cases() {
        assert_eq!(format!("{:?}", import(&case)), format!("{:?}", import(&case)), "{}", case.display());
    }
}
