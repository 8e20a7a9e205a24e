use peristyle_compiler::ir::{self, DType};
use peristyle_compiler::onnx::{self, ImportOptions};
use std::path::{Path, PathBuf};

/// The folder of real models, which are not part of the repository.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map_or(beside, PathBuf::from);
    Some(data.join("models")).filter(|models| models.is_dir())
}

/// Every real model imports to a valid graph of the shape that it declares.
#[test]
fn real_models_import() {
    let Some(folder) = folder() else {
        eprintln!("skipped: no real models; set PERISTYLE_TEST_DATA to a folder with models/*.onnx");
        return;
    };
    let entries = std::fs::read_dir(&folder).expect("the folder is readable");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    assert!(!files.is_empty(), "no models in {}", folder.display());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let model = onnx::decode(&std::fs::read(&file).expect("the model is readable")).expect("the model decodes");
        let mut options = ImportOptions { imgsz: None, base_dir: Some(folder.clone()) };
        if name.contains("-dynamic") {
            let error = onnx::import(&model, &options).expect_err("a symbolic size needs --imgsz").to_string();
            assert!(error.contains("--imgsz"), "{error}");
            options.imgsz = Some([640, 640]);
        }
        let graph = onnx::import(&model, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = graph.ty(graph.outputs[0]);
        assert_eq!((output.dtype, &output.shape[..]), (DType::F32, &[1, 25200, 85][..]), "{name}");
        assert_eq!(graph.ty(graph.inputs[0]).shape, [1, 3, 640, 640], "{name}");
        assert_eq!(graph.metadata.class_names.len(), 80, "{name}");
        assert_eq!(graph.metadata.class_names[79], "toothbrush", "{name}");
        assert_eq!(graph.metadata.stride, Some(32), "{name}");
        if name.contains("-dynamic") {
            options.imgsz = Some([384, 672]);
            let graph = onnx::import(&model, &options).expect("another size imports");
            assert_eq!(graph.ty(graph.outputs[0]).shape, [1, 3 * (48 * 84 + 24 * 42 + 12 * 21), 85]);
        } else {
            options.imgsz = Some([320, 320]);
            let error = onnx::import(&model, &options).expect_err("the size is baked in").to_string();
            assert!(error.contains("exported at 640x640"), "{name}: {error}");
        }
        eprintln!("{name}: {} nodes", graph.nodes.len());
    }
}
