//! Compiling twice, for a target, and what is told to cargo.

use super::environment::Environment;
use super::stamp::Stamp;
use crate::config::Config;
use crate::onnx::proto::ModelProto;
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;

/// A package with a model in it, and cargo's output folder.
struct Package {
    folder: TempDir,
    arch: &'static str,
}

impl Package {
    /// With the bundled example, as `net.onnx`.
    fn new() -> Package {
        let package = Package { folder: tempfile::tempdir().expect("a temporary folder"), arch: "x86_64" };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("example/shapes.onnx");
        std::fs::copy(example, package.model()).expect("copied");
        package
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("net.onnx")
    }

    fn environment(&self) -> Environment {
        let target = format!("{}-unknown-linux-gnu", self.arch);
        Environment {
            package: self.folder.path().to_path_buf(),
            out_dir: self.folder.path().join("out"),
            arch: self.arch.to_string(),
            os: "linux".to_string(),
            target,
            host: "x86_64-unknown-linux-gnu".to_string(),
            tools: vec![("CC".to_string(), None)],
        }
    }

    /// Whether anything was done, and what cargo was told.
    fn try_compile(&self, config: &Config, model: &str) -> Result<(bool, Vec<String>), String> {
        let mut told = Vec::new();
        let done = config
            .compile_in(Path::new(model), &self.environment(), &mut |line| told.push(line.to_string()))
            .map_err(|e| format!("{e:?}"))?;
        Ok((done, told))
    }

    fn compile(&self, config: &Config) -> (bool, Vec<String>) {
        self.try_compile(config, "net.onnx").expect("the example compiles")
    }

    /// Every file of the model with its time, the stamp left out.
    fn files(&self) -> BTreeMap<String, SystemTime> {
        let root = self.folder.path().join("out/peristyle/net");
        let mut files = BTreeMap::new();
        for folder in [root.clone(), root.join("objects")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let metadata = entry.metadata().expect("readable");
                let name = entry.file_name().into_string().expect("UTF-8");
                if metadata.is_file() && name != "stamp" {
                    files.insert(name, metadata.modified().expect("a time"));
                }
            }
        }
        files
    }

    /// Changes the model through its protobuf.
    fn edit(&self, edit: impl FnOnce(&mut ModelProto)) {
        let mut proto = ModelProto::decode(&std::fs::read(self.model()).expect("readable")[..]).expect("a model");
        edit(&mut proto);
        std::fs::write(self.model(), proto.encode_to_vec()).expect("writable");
    }
}

/// As fast as it goes: no golden values.
fn fast() -> Config {
    Config::new().selftest(false)
}

fn has_assembler() -> bool {
    let there = cfg!(all(target_arch = "x86_64", target_os = "linux"));
    if !there {
        eprintln!("SKIPPED: the kernels are not assembled on this machine");
    }
    there
}

#[test]
fn a_second_time_nothing_is_done() {
    if !has_assembler() {
        return;
    }
    let package = Package::new();
    let (done, told) = package.compile(&fast());
    let first = package.files();
    assert!(done && first.contains_key("mod.rs") && first.contains_key("libnet_kernels.a"), "{first:?}");
    let (done, again) = package.compile(&fast());
    assert!(!done && package.files() == first);
    // Cargo forgets what it was told before.
    assert_eq!(told, again);
    let dir = package.folder.path().join("out/peristyle/net");
    let expected = [
        "cargo::rerun-if-env-changed=CC".to_string(),
        "cargo::rerun-if-changed=net.onnx".to_string(),
        "cargo::rustc-link-lib=static=net_kernels".to_string(),
        format!("cargo::rustc-link-search=native={}", dir.display()),
    ];
    assert_eq!(told, expected);
}

#[test]
fn options_tools_and_lost_files_make_it_do_more() {
    let package = Package { arch: "aarch64", ..Package::new() };
    assert!(package.compile(&fast()).0);
    assert!(!package.compile(&fast()).0);
    assert!(package.compile(&fast().batch(4)).0);
    assert!(package.compile(&fast()).0, "the last compilation had another batch");
    let layer = package.files().into_keys().find(|name| name.starts_with("l001")).expect("a layer");
    let layer = package.folder.path().join("out/peristyle/net").join(layer);
    std::fs::remove_file(&layer).expect("it is there");
    assert!(package.compile(&fast()).0 && layer.is_file());
    std::fs::write(&layer, "edited").expect("writable");
    assert!(package.compile(&fast()).0);
    assert_ne!(std::fs::read(&layer).expect("readable"), b"edited");
    let mut environment = package.environment();
    environment.tools[0].1 = Some("clang".to_string());
    assert!(fast().compile_in(Path::new("net.onnx"), &environment, &mut |_| ()).expect("compiles"));
    let silent = fast().emit_rerun_if_changed(false);
    assert_eq!(package.try_compile(&silent, "net.onnx").expect("compiles").1, Vec::<String>::new());
}

#[test]
fn other_values_of_one_layer_rewrite_its_files_only() {
    if !has_assembler() {
        return;
    }
    let package = Package::new();
    package.compile(&fast());
    let before = package.files();
    package.edit(|model| {
        let graph = model.graph.as_mut().expect("a graph");
        let weights = graph.initializer.iter_mut().find(|t| t.name().contains("down8") && t.data_type() == 3);
        let data = weights.and_then(|t| t.raw_data.as_mut()).expect("its weights are bytes");
        // The same zeros, other values.
        data.iter_mut().filter(|b| **b != 0).for_each(|b| *b = (*b).wrapping_neg());
    });
    assert!(package.compile(&fast()).0);
    let after = package.files();
    let changed = |name: &&String| before.get(*name) != after.get(*name);
    let changed: Vec<&str> = after.keys().filter(changed).map(String::as_str).collect();
    let stems = |name: &str| name.starts_with("l008_down8.") || name.starts_with("l008_down8-");
    assert!(changed.contains(&"l008_down8.bin") && changed.contains(&"mod.rs"), "{changed:?}");
    let strangers: Vec<_> =
        changed.iter().filter(|name| !stems(name) && !["mod.rs", "libnet_kernels.a"].contains(name)).collect();
    assert!(strangers.is_empty(), "{strangers:?} of {changed:?}");
    assert!(after.len() > 100 && changed.len() <= 6, "{changed:?}");
}

#[test]
fn other_targets_get_no_assembly() {
    let package = Package { arch: "aarch64", ..Package::new() };
    let (_, told) = package.compile(&fast());
    assert_eq!(told, ["cargo::rerun-if-changed=net.onnx"]);
    let files = package.files();
    let assembly: Vec<_> = files.keys().filter(|f| [".S", ".o", ".a"].iter().any(|e| f.ends_with(e))).collect();
    assert!(assembly.is_empty(), "{assembly:?}");
    let dir = package.folder.path().join("out/peristyle/net");
    let sources = files.keys().filter(|f| f.ends_with(".rs"));
    let text: String = sources.map(|f| std::fs::read_to_string(dir.join(f)).expect("readable")).collect();
    assert!(text.contains("quads: None") && !text.contains("quads: Some") && !text.contains("unrolled!"));
    // The tables for other machines are left out, not only unused.
    let wide = Package::new();
    fast().code_budget(0).generate(wide.model(), wide.folder.path().join("crate")).expect("compiles");
    let size = |dir: &Path| -> u64 {
        let entries = std::fs::read_dir(dir).expect("readable").flatten();
        entries.filter(|e| e.path().extension().is_some_and(|e| e == "bin")).map(|e| e.metadata().unwrap().len()).sum()
    };
    assert!(size(&dir) < size(&wide.folder.path().join("crate/src/model")));
}

#[test]
fn errors_name_the_file_and_what_it_is_relative_to() {
    let package = Package::new();
    let error = package.try_compile(&fast(), "nets/net.onnx").expect_err("there is none");
    let folder = package.folder.path().display();
    assert_eq!(
        error,
        format!(
            "there is no model `nets/net.onnx`: paths in a build script are relative to the folder of the package's \
             Cargo.toml, `{folder}`"
        )
    );
    std::fs::write(package.model(), b"no model").expect("writable");
    let error = package.try_compile(&fast(), "net.onnx").expect_err("no model");
    assert!(error.starts_with(&format!("model `{folder}/net.onnx`: ")), "{error}");
    // A failure leaves no stamp that says otherwise.
    assert!(Stamp::read(&package.folder.path().join("out/peristyle/net")).is_none());
}

#[test]
fn two_models_of_one_name_are_told_apart() {
    let folder = Path::new("/nowhere/peristyle/net");
    assert!(super::claim(folder, "`a/net.onnx`").is_ok());
    let error = super::claim(folder, "`b/net.onnx`").expect_err("the name is taken");
    assert!(error.to_string().contains("two models are called `net`: `a/net.onnx` and `b/net.onnx`"), "{error}");
}

#[test]
fn modules_of_all_models_are_listed() {
    let package = Package::new();
    let environment = package.environment();
    super::write_modules(&environment, &["a".to_string(), "yolov5n-quant".to_string()]).expect("writable");
    let text = std::fs::read_to_string(environment.root().join("models.rs")).expect("written");
    assert!(text.contains("pub mod a {\n    include!(\"a/mod.rs\");\n}"), "{text}");
    assert!(text.contains("pub mod yolov5n_quant {\n    include!(\"yolov5n-quant/mod.rs\");\n}"), "{text}");
}

#[test]
fn a_report_says_what_was_made_of_every_layer() {
    let package = Package { arch: "aarch64", ..Package::new() };
    package.compile(&fast().report("report.json"));
    let file = package.folder.path().join("out/peristyle/net/report.json");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).expect("written")).expect("JSON");
    let layers = report["layers"].as_array().expect("layers");
    let total: u64 = layers.iter().map(|layer| layer["nonzero_macs"].as_u64().expect("a number")).sum();
    assert_eq!((layers.len(), Some(total)), (61, report["nonzero_macs"].as_u64()));
    assert!(layers.iter().any(|layer| layer["kernel"]["portable"] == "u8s8_spconv_portable"));
}
