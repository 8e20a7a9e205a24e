//! What is linked into a program: crates with versions, checksums and licences, the standard library, the C library.

use super::cargo::cargo_path;
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

/// The variable that hands the list to the runtime, which bakes it into the program.
pub const VARIABLE: &str = "PERISTYLE_LINKED";

/// A line for each: name, version, SHA-256 of the package, licence as an SPDX expression; `-` where there is none. The
/// crate in `dir` itself is left out, so that all programs of one build folder share the list.
///
/// `feature` is the only one of the crate that is on; without it the default ones are.
pub fn list(dir: &Path, target: &str, target_dir: &Path, feature: Option<&str>) -> anyhow::Result<String> {
    // What the build needs is usually there; where it is not, this downloads what the build would.
    let metadata = metadata(dir, target, target_dir, feature, true)
        .or_else(|_| metadata(dir, target, target_dir, feature, false))?;
    let checksums = checksums(&std::fs::read_to_string(dir.join("Cargo.lock")).unwrap_or_default());
    let mut lines = crates(&metadata, &checksums)?;
    if let Some(version) = told(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()).as_ref(), &["--version"], 1)
    {
        lines.insert(format!("std {version} - MIT OR Apache-2.0"));
    }
    // A library takes the C library of the program that it gets into.
    if target.ends_with("-gnu") && feature.is_none() {
        let version = told("getconf".as_ref(), &["GNU_LIBC_VERSION"], 1).unwrap_or_else(|| "-".to_string());
        lines.insert(format!("glibc {version} - LGPL-2.1-or-later"));
    }
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}

fn metadata(
    dir: &Path,
    target: &str,
    target_dir: &Path,
    feature: Option<&str>,
    offline: bool,
) -> anyhow::Result<Value> {
    let mut cargo = Command::new(cargo_path());
    cargo.args(["metadata", "--format-version", "1", "--filter-platform", target]);
    if let Some(feature) = feature {
        cargo.args(["--no-default-features", "--features", feature]);
    }
    if offline {
        cargo.arg("--offline");
    }
    cargo.current_dir(dir).env("CARGO_TARGET_DIR", target_dir).stdin(Stdio::null());
    let output = cargo.output().context("cannot start `cargo`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")
}

/// Checksum of every package of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let field = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.and_then(|value| value.strip_suffix('"')).map(str::to_string)
        };
        if let (Some(name), Some(version), Some(checksum)) = (field("name"), field("version"), field("checksum")) {
            checksums.insert((name, version), checksum);
        }
    }
    checksums
}

/// The lines of all crates that the root links, directly or not; macros run in the compiler and are not linked.
fn crates(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> anyhow::Result<BTreeSet<String>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let is_macro = |package: &Value| {
        list(&package["targets"]).iter().any(|target| list(&target["kind"]).iter().any(|kind| kind == "proc-macro"))
    };
    let root = metadata["resolve"]["root"].as_str().context("`cargo metadata` names no root")?.to_string();
    let (mut seen, mut pending, mut lines) = (BTreeSet::new(), vec![root.clone()], BTreeSet::new());
    while let Some(id) = pending.pop() {
        let package = packages.get(&id).with_context(|| format!("`cargo metadata` has no package `{id}`"))?;
        if is_macro(package) || !seen.insert(id.clone()) {
            continue;
        }
        if id != root {
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            let checksum = checksums.get(&(name.clone(), version.clone())).map_or("-", String::as_str);
            let licence = package["license"].as_str().unwrap_or("-").replace('/', " OR ");
            lines.insert(format!("{name} {version} {checksum} {licence}"));
        }
        for dependency in nodes.get(&id).map(|node| list(&node["deps"])).unwrap_or_default() {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                pending.push(text(&dependency["pkg"]));
            }
        }
    }
    Ok(lines)
}

/// A word of what a program prints.
fn told(program: &std::ffi::OsStr, args: &[&str], word: usize) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(word).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::{checksums, crates};
    use serde_json::json;

    #[test]
    fn what_is_linked_is_what_normal_dependencies_reach_without_macros() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00ff\"\n";
        let package = |name: &str, kind: &str, license: Option<&str>| json!({ "id": name, "name": name, "version": "1.0.0", "license": license, "targets": [{ "kind": [kind] }] });
        let edge = |to: &str, kind: Option<&str>| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package("root", "lib", None), package("a", "lib", Some("MIT/Apache-2.0")), package("b", "lib", None),
                package("m", "proc-macro", Some("MIT")), package("t", "lib", Some("MIT")),
            ],
            "resolve": { "root": "root", "nodes": [
                { "id": "root", "deps": [edge("a", None), edge("m", None), edge("t", Some("build"))] },
                { "id": "a", "deps": [edge("b", None)] },
                { "id": "m", "deps": [edge("t", None)] },
            ] },
        });
        let lines: Vec<String> = crates(&metadata, &checksums(lock)).expect("a root").into_iter().collect();
        assert_eq!(lines, ["a 1.0.0 00ff MIT OR Apache-2.0", "b 1.0.0 - -"]);
    }
}
