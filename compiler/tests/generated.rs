//! The committed example crate is what the compiler emits today, and emission is deterministic.

use peristyle_compiler::Config;
use std::path::Path;

/// `PERISTYLE_BLESS=1` rewrites the crate; the test still fails once, so that nobody blesses unawares.
#[test]
fn committed_example_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = root.join("generated/shapes");
    let compilation = Config::new().analyze(root.join("compiler/example/shapes.onnx")).expect("the example compiles");
    let stale = compilation.package(&dir).stale_in(&dir);
    if !stale.is_empty() && std::env::var_os("PERISTYLE_BLESS").is_some() {
        compilation.write_crate(&dir).expect("writable");
    }
    assert!(stale.is_empty(), "stale: {stale:?}; run this test with PERISTYLE_BLESS=1");
}

#[test]
fn emitting_twice_gives_the_same_bytes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = || {
        let compilation =
            Config::new().analyze(root.join("tests/corpus/detector_decoded/model.onnx")).expect("compiles");
        compilation.package(Path::new("generated/detector"))
    };
    assert_eq!(package(), package());
}
