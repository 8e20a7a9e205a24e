//! The list of linked crates and their licences is that of the workspace's lock file.
#![cfg(feature = "app")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Name and licence of every crate that a detector links, sorted.
fn linked() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "-p", "peristyle-runtime", "--features", "app", "--edges", "normal,no-proc-macro"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}|{l}", "--offline"])
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let entry = |line: &str| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
        let name = package.split(' ').next()?;
        (name != "peristyle-runtime").then(|| format!("{name} {licence}\n"))
    };
    text.lines().filter_map(entry).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn the_list_of_linked_crates_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app/cli/about/crates.txt");
    let linked = linked();
    let listed = std::fs::read_to_string(&path).unwrap_or_default();
    if linked != listed && std::env::var_os("PERISTYLE_BLESS").is_some() {
        std::fs::write(&path, &linked).expect("writable");
    }
    assert_eq!(listed, linked, "stale; run this test with PERISTYLE_BLESS=1");
    let without = linked.lines().find(|line| line.split_once(' ').is_none_or(|(_, licence)| licence.is_empty()));
    assert_eq!(without, None, "a crate without a licence");
}
