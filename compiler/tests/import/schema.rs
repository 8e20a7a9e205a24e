use std::fs;
use std::path::Path;

/// The checked-in prost output is what `proto/onnx.proto` generates; `PERISTYLE_BLESS=1` rewrites it.
#[test]
fn checked_in_prost_output_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["onnx.proto"], [root.join("proto")]).expect("the schema compiles");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).expect("prost generates code");
    let fresh = fs::read_to_string(out.path().join("onnx.rs")).expect("prost wrote the package's file");
    let checked_in = root.join("src/onnx/proto.rs");
    if std::env::var_os("PERISTYLE_BLESS").is_some_and(|v| v == "1") {
        fs::write(&checked_in, &fresh).expect("the source tree is writable");
    }
    let current = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(current == fresh, "src/onnx/proto.rs is stale: rerun with PERISTYLE_BLESS=1");
}
