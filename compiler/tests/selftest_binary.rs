//! `selftest` of a real static binary, and of one whose crate had a weight changed after it was emitted. Slow: builds
//! binaries; `cargo test --workspace -- --include-ignored` runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

fn build(crate_dir: &Path, target_dir: &Path) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--manifest-path"])
        .arg(crate_dir.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target_dir)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target_dir.join("release/selftested")
}

fn selftest(binary: &Path, isa: Option<&str>, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary);
    command.arg("selftest").args(args).env_remove("PERISTYLE_ISA");
    if let Some(isa) = isa {
        command.env("PERISTYLE_ISA", isa);
    }
    let Output { status, stdout, .. } = command.output().expect("the detector starts");
    (status.code(), String::from_utf8(stdout).expect("UTF-8"))
}

/// Flips bit 6 of the first weight in every table of a layer, in the files of the emitted crate.
fn corrupt(model: &Path, layer: &str) {
    let source = std::fs::read_to_string(model.join(format!("{layer}.rs"))).expect("the layer's source");
    let table = model.join(format!("{layer}.bin"));
    let mut bytes = std::fs::read(&table).expect("the layer's tables");
    let starts: Vec<usize> = (source.split("TABLE.words(").skip(1))
        .map(|rest| rest.split(',').next().expect("a start").trim().parse().expect("a number"))
        .collect();
    assert!(!starts.is_empty(), "{source}");
    for start in starts {
        bytes[start] ^= 0x40;
        bytes[start + 2] ^= 0x40;
    }
    std::fs::write(table, bytes).expect("writable");
}

#[test]
#[ignore = "builds a static binary twice"]
fn a_changed_weight_is_named_by_the_binary() {
    let root = workspace();
    let target = root.join("target/emitted/target");
    let crate_dir = root.join("target/emitted/selftested");
    let config = peristyle_compiler::Config::new().module_name("selftested");
    config.generate(root.join("compiler/example/shapes.onnx"), &crate_dir).expect("compiles");
    let sound = build(&crate_dir, &target);
    let (code, out) = selftest(&sound, None, &["--all"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.lines().count() >= 1 && out.lines().all(|line| line.starts_with("OK (")), "{out}");
    assert!(out.contains("OK (portable, ") && out.contains("61 layers bit for bit"), "{out}");

    corrupt(&crate_dir.join("src/model"), "l023_stage32_m_cv2");
    let corrupted = build(&crate_dir, &target);
    for isa in [None, Some("portable"), Some("avx2"), Some("avxvnni")] {
        let (code, out) = selftest(&corrupted, isa, &["--threads", "1"]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.starts_with("FAILED (") && out.contains(": layer l023 `/stage32.m.cv2/Conv`"), "{out}");
    }
}
