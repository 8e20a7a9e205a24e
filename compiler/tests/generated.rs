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

/// Emitting another model into a folder removes the layers of the one before, and nobody else's files.
#[test]
fn layers_of_another_model_are_removed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let emit = |case: &str, dir: &Path| {
        let config = Config::new().module_name("net");
        config.generate(corpus.join(case).join("model.onnx"), dir).expect("the corpus compiles")
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("the folder is there").flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    };
    emit("detector_decoded", dir);
    let layers = dir.join("src/model");
    let before = files(&layers);
    let own = ["l12.rs", "l001_notes.txt", "layer.rs", "l0x1_a.rs", "notes.S"];
    own.iter().for_each(|name| std::fs::write(layers.join(name), "mine").expect("writable"));
    std::fs::create_dir(layers.join("l000_folder.rs")).expect("writable");
    let compilation = emit("silu_bottleneck", dir);
    let mut expected: Vec<String> = compilation
        .package(dir)
        .paths()
        .filter_map(|path| path.strip_prefix("src/model/"))
        .chain(own)
        .chain(["l000_folder.rs"])
        .map(str::to_string)
        .collect();
    expected.sort();
    let after = files(&layers);
    assert_eq!(after, expected);
    assert!(before.iter().any(|name| !after.contains(name)), "{before:?}");
    assert!(compilation.package(dir).stale_in(dir).is_empty());
}

/// A crate without assembly ignores the build script that one with assembly left in its folder.
#[test]
fn a_build_script_left_behind_is_not_run() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/shapes.onnx");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let emit = |budget: usize| {
        Config::new().module_name("net").code_budget(budget).generate(&model, folder.path()).expect("compiles");
        std::fs::read_to_string(folder.path().join("Cargo.toml")).expect("a manifest")
    };
    let with = emit(1 << 20);
    assert!(folder.path().join("build.rs").exists() && with.contains("cc = ") && !with.contains("build = false"));
    let without = emit(0);
    assert!(!without.contains("cc = ") && without.contains("\nbuild = false\n"), "{without}");
}

fn cargo(dir: &Path, args: &[&str]) -> String {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(args).current_dir(dir).output().expect("cargo starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A crate with a licence has what a registry wants, and nobody who uses it needs the compiler.
#[test]
fn emitted_crates_can_be_published() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/shapes.onnx");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config::new().module_name("net").selftest(false);
    let facts = |config: &Config| -> serde_json::Value {
        config.generate(&model, folder.path()).expect("compiles");
        let text = cargo(folder.path(), &["metadata", "--no-deps", "--offline", "--format-version", "1"]);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["packages"][0].take()
    };
    let private = facts(&config);
    assert!(private["license"].is_null() && private["publish"] == serde_json::json!([]), "{private}");

    let public = facts(&config.clone().license("MIT OR Apache-2.0").crate_version("1.2.3"));
    assert_eq!((&public["license"], &public["version"]), (&"MIT OR Apache-2.0".into(), &"1.2.3".into()));
    assert!(public["publish"].is_null() && public["description"].as_str().is_some_and(|text| !text.is_empty()));
    let dependencies = public["dependencies"].as_array().expect("dependencies");
    let mut names: Vec<&str> = dependencies.iter().map(|d| d["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["cc", "peristyle-runtime"]);
    // A version for the registry, beside the path of this workspace.
    assert!(dependencies.iter().all(|d| d["req"].as_str().is_some_and(|version| version.starts_with('^'))));

    let listed = cargo(folder.path(), &["package", "--list", "--allow-dirty", "--offline"]);
    let files: Vec<&str> = listed.lines().collect();
    for file in
        ["Cargo.toml", "build.rs", "src/lib.rs", "src/model/mod.rs", "src/model/l001_stem.bin", "src/model/l001_stem.S"]
    {
        assert!(files.contains(&file), "{file} is not in {files:?}");
    }
}
