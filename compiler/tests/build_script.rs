//! A package whose build script compiles a model, built by cargo as users build it. Slow: it builds the compiler for the
//! build script, so it is ignored by default.

mod detector;

use peristyle_compiler::ir::Tensor;
use peristyle_compiler::onnx::{self, proto::ModelProto};
use peristyle_compiler::{Config, interp};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;
use tempfile::TempDir;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

const MAIN: &str = r#"
#![deny(warnings)]
mod net { peristyle_runtime::include_model!("net"); }

fn main() {
    let input: Vec<f32> = (0..net::INPUT_LEN).map(|i| (i % 256) as f32 / 255.0).collect();
    let mut output = vec![0.0; net::OUTPUT_LEN];
    net::Model::new(1).expect("memory").run(&input, &mut output).expect("lengths fit");
    let bits = output.iter().fold(0u64, |hash, v| hash.rotate_left(5) ^ u64::from(v.to_bits()));
    println!("{bits:016x} {} classes, the first is {}", net::N_CLASSES, net::Class::Ball);
}
"#;

/// A package of a user, outside of the workspace; what it is built from stays for the next run.
struct Package(TempDir);

impl Package {
    fn new() -> Package {
        let package = Package(tempfile::tempdir().expect("a temporary folder"));
        let root = workspace();
        let [runtime, compiler] = ["runtime", "compiler"].map(|name| root.join(name).display().to_string());
        package.write(
            "Cargo.toml",
            &format!(
                "[package]\nname = \"user\"\nedition = \"2024\"\n\n[dependencies]\nperistyle-runtime = {{ path = {runtime:?} }}\n\n\
                 [build-dependencies]\nperistyle-compiler = {{ path = {compiler:?}, default-features = false }}\n\n\
                 [workspace]\n"
            ),
        );
        package.write("build.rs", "fn main() -> Result<(), Box<dyn std::error::Error>> {\n    peristyle_compiler::Config::new().selftest(false).compile(\"net.onnx\")?;\n    Ok(())\n}\n");
        std::fs::create_dir(package.path("src")).expect("writable");
        package.write("src/main.rs", MAIN);
        // The versions that the workspace has are on this machine.
        std::fs::copy(root.join("Cargo.lock"), package.path("Cargo.lock")).expect("copied");
        std::fs::copy(root.join("compiler/example/shapes.onnx"), package.path("net.onnx")).expect("copied");
        package
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("writable");
    }

    fn cargo(&self, args: &[&str]) -> Output {
        let target = workspace().join("target/emitted/scripts");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(args).arg("--offline").current_dir(self.0.path()).env("CARGO_TARGET_DIR", target);
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(variable);
        }
        cargo.output().expect("cargo starts")
    }

    fn succeed(&self, args: &[&str]) -> (String, String) {
        let output = self.cargo(args);
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{args:?}: {err}");
        (out, err)
    }

    /// Every emitted file with its time, from the folder that this package's build script wrote last.
    fn files(&self, below: &str) -> BTreeMap<String, SystemTime> {
        let builds = workspace().join("target/emitted/scripts").join(below);
        let newest = std::fs::read_dir(builds)
            .expect("built")
            .flatten()
            .map(|e| e.path().join("out/peristyle/net"))
            .filter(|dir| dir.is_dir())
            .max_by_key(|dir| dir.join("stamp").metadata().and_then(|m| m.modified()).ok())
            .expect("a build script wrote a model");
        let mut files = BTreeMap::new();
        for folder in [newest.clone(), newest.join("objects")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|e| e.path().is_file()) {
                let time = entry.metadata().and_then(|m| m.modified()).expect("a time");
                files.insert(entry.file_name().into_string().expect("UTF-8"), time);
            }
        }
        files
    }

    /// Negates the weights of one layer.
    fn change_a_layer(&self) {
        let path = self.path("net.onnx");
        let mut model: ModelProto = onnx::decode(&std::fs::read(&path).expect("readable")).expect("a model");
        let graph = model.graph.as_mut().expect("a graph");
        let weights = graph.initializer.iter_mut().find(|t| t.name() == "down8.weight.q").expect("the layer");
        let data = weights.raw_data.as_mut().expect("bytes");
        data.iter_mut().for_each(|b| *b = b.wrapping_neg());
        std::fs::write(path, model.encode_to_vec()).expect("writable");
    }
}

#[test]
#[ignore = "builds the compiler for a build script"]
fn cargo_builds_what_changed_and_nothing_else() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    let package = Package::new();
    let (first, _) = package.succeed(&["run"]);
    assert!(first.ends_with(" 6 classes, the first is ball\n"), "{first}");
    let files = package.files("debug/build");
    let (again, log) = package.succeed(&["run"]);
    assert!(again == first && !log.contains("Compiling"), "{log}");

    // A model that is written again without a change is looked at, and that is all.
    std::fs::write(package.path("net.onnx"), std::fs::read(package.path("net.onnx")).expect("readable"))
        .expect("writable");
    assert_eq!(package.succeed(&["run"]).0, first);
    assert_eq!(package.files("debug/build"), files);

    package.change_a_layer();
    let (other, _) = package.succeed(&["run"]);
    assert_ne!(other, first);
    let after = package.files("debug/build");
    let changed: Vec<&str> = after.keys().filter(|n| files.get(*n) != after.get(*n)).map(String::as_str).collect();
    let expected = |n: &&str| n.starts_with("l008_down8") || ["mod.rs", "stamp", "libnet_kernels.a"].contains(n);
    assert!(changed.contains(&"l008_down8.bin") && changed.iter().all(expected), "{changed:?}");

    std::fs::remove_file(package.path("net.onnx")).expect("ours");
    let output = package.cargo(&["build"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let folder = package.0.path().canonicalize().expect("there");
    let message = format!(
        "Error: there is no model `net.onnx`: paths in a build script are relative to the folder of the package's \
         Cargo.toml, `{}`",
        folder.display()
    );
    assert!(!output.status.success() && log.contains(&message), "{log}");
}

/// Whether the standard library of a target, or what it has instead of one, is on this machine; says so when it is not.
fn has_target(target: &str) -> bool {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let has = installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(target));
    if !has {
        eprintln!("SKIPPED: `rustup target add {target}` would let this be tried");
    }
    has
}

#[test]
#[ignore = "builds the compiler for a build script"]
fn another_target_gets_portable_code() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    if !has_target(TARGET) {
        return;
    }
    let package = Package::new();
    package.succeed(&["check", "--target", TARGET]);
    let files = package.files(&format!("{TARGET}/debug/build"));
    let foreign: Vec<&String> = files.keys().filter(|n| [".S", ".o", ".a"].iter().any(|e| n.ends_with(e))).collect();
    assert!(files.len() > 100 && foreign.is_empty(), "{foreign:?}");
}

const ALONE: &str = r#"
fn main() {
    let input: Vec<f32> = (0..net::INPUT_LEN).map(|i| (i % 256) as f32 / 255.0).collect();
    let mut output = vec![0.0; net::OUTPUT_LEN];
    assert!(net::Model::new(2).is_err(), "there are no threads");
    net::Model::start().expect("memory").run(&input, &mut output).expect("lengths fit");
    let bits = output.iter().fold(0u64, |hash, v| hash.rotate_left(5) ^ u64::from(v.to_bits()));
    println!("{bits:016x}");
}
"#;

#[test]
#[ignore = "builds a crate without std"]
fn without_std_the_bits_are_the_same() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    const BARE: &str = "thumbv7em-none-eabi";
    let package = Package::new();
    let config = Config::new().module_name("net").selftest(false);
    let compilation = config.generate(package.path("net.onnx"), package.path("net")).expect("the example compiles");
    std::fs::remove_file(package.path("build.rs")).expect("ours");
    package.write("src/main.rs", ALONE);
    package.write(
        "Cargo.toml",
        "[package]\nname = \"user\"\nedition = \"2024\"\n\n\
         [dependencies]\nnet = { path = \"net\", default-features = false }\n\n\
         [profile.dev]\nopt-level = 2\n\n[workspace]\n",
    );
    // The emitted crate is a workspace of its own, which cannot lie in another.
    let manifest = std::fs::read_to_string(package.path("net/Cargo.toml")).expect("written");
    package.write("net/Cargo.toml", &manifest.replace("[workspace]", ""));

    let (alone, _) = package.succeed(&["run"]);
    let shape = compilation.plan.inputs[0].shape.clone();
    let input = (0..shape.iter().product::<usize>()).map(|i| (i % 256) as f32 / 255.0).collect();
    let outputs = interp::run(&compilation.graph, &[Tensor::f32(shape, input)]).expect("a result");
    let numbers = outputs[0].as_f32().expect("floats");
    let bits = numbers.iter().fold(0u64, |hash, v| hash.rotate_left(5) ^ u64::from(v.to_bits()));
    assert_eq!(alone.trim(), format!("{bits:016x}"));

    if has_target(BARE) {
        package.succeed(&["check", "-p", "net", "--lib", "--no-default-features", "--target", BARE]);
    }
}
