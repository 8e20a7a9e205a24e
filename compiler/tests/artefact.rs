//! What can be trusted in what is built: the bill of materials, and the same bytes from another folder.
#![cfg(target_os = "linux")]

mod detector;

use detector::{build, example, peristyle};
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "builds a static binary"]
fn the_bill_of_materials_names_everything_with_its_version() {
    let binary = build("shapes", &[], "shapes");
    let output = Command::new(&binary).args(["about", "--sbom"]).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sbom: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = sbom["components"].as_array().expect("components");
    let model = components.iter().find(|c| c["type"] == "machine-learning-model").expect("the model");
    assert_eq!(model["name"], "shapes.onnx");
    let libraries: Vec<_> = components.iter().filter(|c| c["type"] == "library").collect();
    let named = |name: &str| libraries.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    for library in &libraries {
        assert!(library["version"].is_string() && library["licenses"][0]["expression"].is_string(), "{library}");
    }
    assert!(libraries.len() > 100, "{}", libraries.len());
    assert_eq!(named("clap")["hashes"][0]["alg"], "SHA-256");
    assert!(named("clap")["purl"].as_str().expect("a purl").starts_with("pkg:cargo/clap@4."));
    assert_eq!(named("glibc")["licenses"][0]["expression"], "LGPL-2.1-or-later");
    let macros: Vec<_> = libraries.iter().filter(|c| c["name"] == "clap_derive" || c["name"] == "cc").collect();
    assert!(macros.is_empty(), "{macros:?}");

    detector::expect_valid_bill(&output.stdout);
}

/// Two crates in two folders, each with a build folder of its own, and no path of either in what they give.
#[test]
#[ignore = "builds libraries"]
fn another_folder_gives_the_same_bytes() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    let build = |folder: &Path| {
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let args = ["--emit", "cdylib", "--no-image-files", "--code-budget", "0", "--no-selftest"];
        let (model, output, crate_dir) =
            (path(&example("shapes.onnx")), path(&folder.join("net")), path(&folder.join("net")));
        let mut all = vec!["build", &model, "--name", "net", "-o", &output, "--crate-dir", &crate_dir];
        all.extend(args);
        let told = peristyle(&all);
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        std::fs::read(folder.join("libnet.so")).expect("the library")
    };
    let homes =
        [(); 2].map(|()| tempfile::Builder::new().prefix("reproducible").tempdir().expect("a temporary folder"));
    let [first, second] = homes.each_ref().map(|home| build(home.path()));
    assert!(first == second, "{} and {} bytes that differ", first.len(), second.len());
    let text = String::from_utf8_lossy(&first);
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_str().expect("UTF-8").to_owned();
    for folder in [homes[0].path().to_str().expect("UTF-8"), &workspace] {
        assert!(!text.contains(folder), "{folder} is in what was built");
    }
}
