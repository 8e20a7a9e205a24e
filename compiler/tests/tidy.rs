//! House rules that a machine can check: who may know whom, file sizes, where `unsafe` may stand.

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
                files.push((name, std::fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    files.sort();
    files
}

fn offenders(folder: &str, bad: impl Fn(&str) -> bool) -> Vec<String> {
    let hits = sources(folder).into_iter().flat_map(|(name, text)| {
        let lines: Vec<String> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//") && bad(line))
            .map(|(at, line)| format!("{name}:{}: {}", at + 1, line.trim()))
            .collect();
        lines
    });
    hits.collect()
}

/// Fails when a file of `room` mentions one of the rooms it may not know.
fn may_not_know(room: &str, rooms: &[&str]) {
    let bad = |line: &str| rooms.iter().any(|r| line.contains(&format!("crate::{r}")) && line.contains("use "));
    let offenders = offenders(room, bad);
    assert!(offenders.is_empty(), "`{room}` may not know {rooms:?}:\n{}", offenders.join("\n"));
}

#[test]
fn rooms_know_only_whom_they_may() {
    may_not_know(
        "compiler/src/store",
        &["onnx", "ir", "passes", "interp", "plan", "emit", "golden", "sample", "config", "cli"],
    );
    may_not_know("compiler/src/build_script", &["passes", "interp", "golden", "sample", "cli"]);
    may_not_know("compiler/src/config", &["build_script", "cli"]);
    may_not_know("compiler/src/diff", &["onnx", "passes", "interp", "cli"]);
    may_not_know(
        "compiler/src/ir",
        &["sparsify", "inspect", "onnx", "interp", "passes", "plan", "emit", "config", "cli"],
    );
    may_not_know("compiler/src/onnx", &["sparsify", "inspect", "interp", "passes", "plan", "emit", "config", "cli"]);
    may_not_know("compiler/src/interp", &["sparsify", "inspect", "onnx", "passes", "plan", "emit", "config", "cli"]);
    may_not_know("compiler/src/passes", &["sparsify", "inspect", "onnx", "plan", "emit", "config", "cli"]);
    may_not_know("compiler/src/plan", &["sparsify", "inspect", "onnx", "passes", "interp", "emit", "config", "cli"]);
    may_not_know("compiler/src/emit", &["sparsify", "inspect", "onnx", "passes", "interp", "ir", "config", "cli"]);
    may_not_know("compiler/src/inspect", &["onnx", "passes", "interp", "emit", "config", "cli"]);
    may_not_know("compiler/src/sparsify", &["plan", "emit", "config", "cli", "golden"]);
    may_not_know(
        "compiler/src/sparsify/network",
        &["onnx", "interp", "plan", "emit", "config", "cli", "sparsify::distill"],
    );
    may_not_know("compiler/src/sparsify/distill", &["onnx", "interp", "passes", "plan", "emit", "config", "cli"]);
    may_not_know("runtime/src/simd", &["kernels", "engine", "detect", "app", "tensor_io"]);
    may_not_know("runtime/src/kernels", &["detect", "app", "tensor_io"]);
    may_not_know("runtime/src/engine", &["detect", "app", "tensor_io"]);
    may_not_know("runtime/src/detect", &["app", "tensor_io", "kernels"]);
    may_not_know("runtime/src/ffi", &["app", "tensor_io", "kernels", "simd"]);
    may_not_know("runtime/src/tensor_io", &["app", "detect", "kernels", "engine"]);
}

#[test]
fn files_stay_small() {
    let all = ["compiler/src", "compiler/tests", "runtime/src", "runtime/tests", "benches"].map(sources).concat();
    let long: Vec<String> = all
        .into_iter()
        .filter(|(name, text)| text.lines().count() > 500 && !name.ends_with("onnx/proto.rs"))
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split these by concept:\n{}", long.join("\n"));
}

#[test]
fn unsafe_stays_where_memory_is_shared() {
    let words = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
    let rooms = ["runtime/src/simd", "runtime/src/kernels", "runtime/src/engine", "runtime/src/ffi"];
    let outside: Vec<String> = ["runtime/src", "compiler/src"]
        .map(|folder| offenders(folder, words))
        .concat()
        .into_iter()
        .filter(|line| !rooms.iter().any(|room| line.starts_with(room)))
        .collect();
    assert!(outside.is_empty(), "unsafe code belongs into {rooms:?}:\n{}", outside.join("\n"));
}

#[test]
fn no_room_is_a_drawer() {
    let drawers = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
    let all = ["compiler/src", "runtime/src"].map(sources).concat();
    let names =
        all.iter().map(|(name, _)| name).filter(|n| drawers.iter().any(|d| n.split(['/', '.']).any(|w| w == *d)));
    assert_eq!(names.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!(", "unimplemented!(", "dbg!(", concat!("TO", "DO"), concat!("FIX", "ME")];
    let left = ["compiler/src", "compiler/tests", "runtime/src", "runtime/tests", "benches"]
        .map(|folder| offenders(folder, |line| marks.iter().any(|m| line.contains(m)) && !line.contains("let marks")))
        .concat();
    assert!(left.is_empty(), "{}", left.join("\n"));
}
