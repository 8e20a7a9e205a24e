//! The C interface, from C and C++ programs that are compiled and linked as a user does it.
#![cfg(target_os = "linux")]

mod detector;

use detector::{boxes, build, example, folder};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Every function that the header declares is exported, and none besides; every name carries the model's.
#[test]
fn header_and_exports_name_the_same_functions() {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src/ffi");
    let read = |file: &str| std::fs::read_to_string(runtime.join(file)).expect("the room of the C interface");
    let (header, exports) = (read("header.h"), read("export.rs"));
    let declared: BTreeSet<&str> = header
        .lines()
        .filter(|line| !line.trim_start().starts_with(['*', '/']) && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next()?.strip_prefix("@name@_"))
        .collect();
    let exported: BTreeSet<&str> =
        exports.lines().filter_map(|line| line.split_once("concat!($name, \"_")?.1.split('"').next()).collect();
    assert!(declared.len() > 10);
    assert_eq!(declared, exported);
    let version = format!("#define @NAME@_ABI_VERSION {}u", peristyle_runtime::ffi::ABI_VERSION);
    assert!(header.contains(&version), "{version}");
}

fn compile(compiler: &str, source: &str, flags: &[&str], libraries: &[&Path], program: &Path) -> Option<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c_api").join(source);
    let mut command = Command::new(compiler);
    command.args(flags).args(["-Wall", "-Wextra", "-Werror", "-g"]).arg("-I").arg(folder()).arg(source);
    let output = match command.args(libraries).args(["-lm", "-lpthread", "-ldl"]).arg("-o").arg(program).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: no `{compiler}`: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// The lines of a program that start with `how`: box and score, rounded as JSON has them, class and label.
fn found(text: &str, how: &str) -> Vec<(Vec<f64>, usize, String)> {
    let rounded = |word: &str, unit: f64| (word.parse::<f64>().expect("a number") * unit).round() / unit;
    text.lines()
        .filter_map(|line| line.strip_prefix(how)?.strip_prefix(' '))
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let mut numbers: Vec<f64> = words[..4].iter().map(|word| rounded(word, 1e2)).collect();
            numbers.push(rounded(words[4], 1e6));
            (numbers, words[5].parse().expect("a class"), words[6].to_string())
        })
        .collect()
}

/// The picture's pixels with rows that are longer than they need to be.
fn pixels(file: &Path) -> (PathBuf, Vec<String>) {
    let picture = peristyle_runtime::picture::Picture::open(file, &Default::default()).expect("the example's picture");
    let (width, height) = (picture.width(), picture.height());
    let stride = 3 * width + 5;
    let mut rows: Vec<u8> = picture.pixels().chunks(3 * width).flat_map(|row| [row, &[7; 5]].concat()).collect();
    rows.truncate(rows.len() - 5);
    let path = folder().join("example.rgb");
    std::fs::write(&path, rows).expect("writable");
    (path, [width, height, stride].map(|n| n.to_string()).to_vec())
}

#[test]
#[ignore = "builds libraries"]
fn programs_in_c_and_cpp_find_what_the_binary_finds() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    let expected = boxes();
    assert!(expected.len() > 3);
    let image = example("example.jpg");
    let library = build("shapes", &["--emit", "staticlib"], "libshapes.a");
    let (rgb, size) = pixels(&image);
    let program = folder().join("detect-c");
    if compile("cc", "detect.c", &["-std=c11", "-pedantic"], &[&library], &program).is_some() {
        let call = |before: &[&str]| {
            let mut words: Vec<&std::ffi::OsStr> = before.iter().map(std::ffi::OsStr::new).collect();
            words.push(program.as_os_str());
            Command::new(words[0]).args(&words[1..]).arg(&image).arg(&rgb).args(&size).output()
        };
        let told = text(&call(&[]).expect("the program starts"));
        for how in ["file", "pixels", "kept"] {
            assert_eq!(found(&told, how), expected, "{how}");
        }
        // Memory that is read before it is written, behind its end, or never freed is an error.
        let valgrind =
            ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
        match call(&valgrind) {
            Ok(output) => assert_eq!(found(&text(&output), "pixels"), found(&told, "pixels"), "under valgrind"),
            Err(error) => eprintln!("SKIPPED: no valgrind: {error}"),
        }
    }

    let pair = build("pair", &["--emit", "staticlib", "--classes", "cube,star"], "libpair.a");
    let program = folder().join("two-cpp");
    if compile("c++", "two.cpp", &["-std=c++17"], &[&library, &pair], &program).is_some() {
        let told = text(&Command::new(&program).arg(&image).output().expect("the program starts"));
        assert_eq!(found(&told, "all"), expected);
        // The picture shows each of them clearly, so that the best of two classes is the best of six.
        let kept = expected.iter().filter(|(_, class, _)| [1, 2].contains(class));
        let kept: Vec<_> = kept.map(|(numbers, class, label)| (numbers.clone(), class - 1, label.clone())).collect();
        assert!(!kept.is_empty());
        assert_eq!(found(&told, "two"), kept);
    }
}

#[test]
#[ignore = "builds libraries"]
fn a_shared_library_shows_nothing_but_its_functions_and_has_a_bill() {
    if !detector::slow_tests_are_wanted() {
        return;
    }
    let library = build("shapes", &["--emit", "cdylib"], "libshapes.so");
    let bill = std::fs::read(library.with_file_name("shapes.cdx.json")).expect("a bill of materials");
    let told: serde_json::Value = serde_json::from_slice(&bill).expect("JSON");
    let names: Vec<_> = told["components"].as_array().expect("components").iter().map(|c| c["name"].clone()).collect();
    // The bill is that of the library: what reads pictures is in it, what the program alone needs is not.
    assert!(names.contains(&"shapes.onnx".into()) && names.contains(&"mozjpeg".into()), "{names:?}");
    assert!(!names.contains(&"clap".into()), "{names:?}");
    detector::expect_valid_bill(&bill);
    let Ok(symbols) = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output() else {
        eprintln!("SKIPPED: no nm on this machine");
        return;
    };
    let text = text(&symbols);
    let foreign: Vec<&str> = text.lines().filter(|line| !line.contains(" shapes_")).collect();
    assert!(text.contains(" shapes_create") && foreign.is_empty(), "{foreign:?}");
}
