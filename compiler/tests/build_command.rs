//! `peristyle build` up to and after cargo, for which a script stands in.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Tells how it was called, and leaves a binary where cargo would.
const CARGO: &str = r#"#!/bin/sh
{
    echo "target folder $CARGO_TARGET_DIR"
    echo "flags $CARGO_ENCODED_RUSTFLAGS" | tr '\037' ' '
    echo "RUSTFLAGS ${RUSTFLAGS-not set}"
} > "$RECORD"
mkdir -p "$CARGO_TARGET_DIR/$4/release"
echo binary > "$CARGO_TARGET_DIR/$4/release/$6"
"#;

/// Builds a small model in `folder` with these variables set; returns what cargo was told.
fn build(folder: &Path, variables: &[(&str, &str)]) -> (Output, Vec<String>) {
    let (cargo, record) = (folder.join("cargo.sh"), folder.join("record"));
    std::fs::write(&cargo, CARGO).expect("the folder is writable");
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/silu_bottleneck/model.onnx");
    let mut command = Command::new(env!("CARGO_BIN_EXE_peristyle"));
    command.current_dir(folder).arg("build").arg(model).args(["--name", "net", "-o", "out/net"]);
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command
        .env("CARGO", &cargo)
        .env("RECORD", &record)
        .env("CARGO_HOME", "/home/me/.cargo")
        .envs(variables.iter().copied());
    let output = command.output().expect("the program starts");
    let told = std::fs::read_to_string(&record).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    (output, told.lines().map(str::to_string).collect())
}

#[test]
fn binaries_are_static_whatever_flags_and_folders_the_user_has() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().canonicalize().expect("the folder is there");
    let path = |name: &str| folder.join(name).display().to_string();
    let elsewhere = path("elsewhere");
    for (variables, target, flags) in [
        (&[][..], path("generated/target"), "-Ctarget-feature=+crt-static"),
        (
            &[("RUSTFLAGS", "-Copt-level=2  --cfg x"), ("CARGO_TARGET_DIR", &elsewhere)],
            elsewhere.clone(),
            "-Copt-level=2 --cfg x -Ctarget-feature=+crt-static",
        ),
        (
            &[("CARGO_ENCODED_RUSTFLAGS", "--cfg\u{1f}a=\"b\""), ("RUSTFLAGS", "-g"), ("CARGO_TARGET_DIR", "here")],
            path("here"),
            "--cfg a=\"b\" -Ctarget-feature=+crt-static",
        ),
    ] {
        let (output, told) = build(&folder, variables);
        assert!(output.status.success(), "{output:?}");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("it is there");
        let remapped =
            [(workspace.to_str().expect("UTF-8"), "/peristyle"), ("/home/me/.cargo", "/cargo"), (&target, "/target")];
        let remapped = remapped.map(|(folder, name)| format!("--remap-path-prefix={folder}={name}")).join(" ");
        let flags = format!("flags {flags} {remapped}");
        let expected = [format!("target folder {target}"), flags, "RUSTFLAGS not set".to_string()];
        assert_eq!(told, expected);
        assert_eq!(std::fs::read_to_string(folder.join("out/net")).expect("the binary is there"), "binary\n");
    }
}
