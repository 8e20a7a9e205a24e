//! The Python package: built, installed into a fresh environment, and used as DeepSparse is.
#![cfg(target_os = "linux")]

mod detector;

use detector::{boxes, example, folder, peristyle};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The Python of an environment in which the wheel is installed, with NumPy and Pillow where pip can get them.
fn environment(wheel: &Path, home: &Path) -> Option<PathBuf> {
    let python = std::env::var_os("PERISTYLE_PYTHON").unwrap_or_else(|| "python3".into());
    let made = Command::new(python).args(["-m", "venv"]).arg(home).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no Python with venv: {made:?}");
        return None;
    }
    let pip = |args: &[&str]| {
        let mut command = Command::new(home.join("bin/python"));
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(args);
        command.output().expect("pip starts")
    };
    let installed = pip(&["--no-index", wheel.to_str().expect("UTF-8")]);
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    if !pip(&["numpy", "pillow"]).status.success() {
        eprintln!("SKIPPED: pip cannot get NumPy and Pillow, arrays and Pillow images are not tried");
    }
    Some(home.join("bin/python"))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// The newest version of the C library that the symbols of a shared library name.
fn newest_glibc(library: &Path) -> Option<u32> {
    let output = Command::new("objdump").arg("-T").arg(library).output().ok()?;
    let told = text(&output);
    let minor = |word: &str| word.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok();
    told.split("GLIBC_2.").skip(1).filter_map(minor).max()
}

#[test]
#[ignore = "builds a Python wheel"]
fn a_wheel_installs_and_finds_what_the_binary_finds() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    let home = tempfile::tempdir().expect("a temporary folder");
    let crate_dir = detector::crate_dir("shapes");
    let (model, out) = (example("shapes.onnx"), home.path().join("wheels"));
    let build = || {
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let told = peristyle(&[
            "build",
            &path(&model),
            "--emit",
            "wheel",
            "-o",
            &path(&out),
            "--crate-dir",
            &path(&crate_dir),
        ]);
        text(&told);
        let files: Vec<PathBuf> = std::fs::read_dir(&out).expect("the folder").flatten().map(|e| e.path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    };
    let wheel = build();
    let bytes = std::fs::read(&wheel).expect("the wheel");
    assert!(bytes == std::fs::read(build()).expect("the wheel"), "the same wheel every time");

    let archive = std::fs::File::open(&wheel).expect("the wheel");
    let mut archive = zip::ZipArchive::new(archive).expect("a zip archive");
    let bill = archive.file_names().find(|name| name.ends_with(".dist-info/sboms/shapes.cdx.json")).map(str::to_owned);
    let mut bytes = Vec::new();
    std::io::copy(&mut archive.by_name(&bill.expect("a bill")).expect("it opens"), &mut bytes).expect("it unpacks");
    detector::expect_valid_bill(&bytes);

    let Some(python) = environment(&wheel, &home.path().join("venv")) else { return };
    let name = wheel.file_name().expect("a name").to_string_lossy().into_owned();
    let tag: u32 = (name.split("manylinux_2_").nth(1).and_then(|rest| rest.split('_').next()))
        .expect("a tag")
        .parse()
        .expect("a number");
    match newest_glibc(&folder().join("../target/x86_64-unknown-linux-gnu/release/libshapes.so")) {
        Some(minor) => assert_eq!(tag, minor.max(17), "{name}"),
        None => eprintln!("SKIPPED: no objdump, the tag of the wheel is not compared"),
    }

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wheel/use.py");
    let output = Command::new(&python)
        .current_dir(home.path())
        .arg(&script)
        .args([&example("example.jpg"), &model])
        .output()
        .expect("python starts");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_str(&text(&output)).expect("JSON");
    let expected = boxes();
    let rounded = |value: &serde_json::Value, unit: f64| (value.as_f64().expect("a number") * unit).round() / unit;
    for (how, found) in found.as_object().expect("an object per way") {
        let [boxes, scores, labels] = ["boxes", "scores", "labels"].map(|key| found[key].as_array().expect(key));
        assert_eq!(boxes.len(), expected.len(), "{how}");
        for (at, (numbers, _, label)) in expected.iter().enumerate() {
            let mut got: Vec<f64> = boxes[at].as_array().expect("a box").iter().map(|v| rounded(v, 1e2)).collect();
            got.push(rounded(&scores[at], 1e6));
            assert_eq!((&got, labels[at].as_str()), (numbers, Some(label.as_str())), "{how}");
        }
    }
    assert!(found["path"].is_object());
}
