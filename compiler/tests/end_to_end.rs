//! From a model file to the answers of its static binary, as a user goes. Slow: these build binaries, so they are
//! ignored by default; `cargo test --workspace -- --include-ignored` runs them.

mod models;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn peristyle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peristyle"))
        .current_dir(workspace())
        .args(args)
        .output()
        .expect("the compiler starts")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds a model's detector; all of them share the build folder of `target/emitted`.
fn build(model: &Path, extra: &[&str]) -> PathBuf {
    let name = model.file_stem().expect("a file name").to_string_lossy().replace('.', "-");
    let crates = workspace().join("target/emitted");
    let binary = crates.join("bin").join(&name);
    let crate_dir = crates.join(&name);
    let mut args = vec!["build", model.to_str().expect("UTF-8"), "-o", binary.to_str().expect("UTF-8")];
    args.extend(["--crate-dir", crate_dir.to_str().expect("UTF-8")]);
    args.extend(extra);
    let output = peristyle(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(summary.contains("multiply-accumulates skipped") && summary.contains("binary"), "{summary}");
    binary
}

#[test]
#[ignore = "builds a static binary"]
fn two_models_share_a_binary() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let example = workspace().join("compiler/example");
    // Crates of names that no other test writes, in the folder that shares what is built.
    let [first, second] = ["squares", "forms"].map(|name| folder.path().join(name).with_extension("onnx"));
    for model in [&first, &second] {
        std::fs::copy(example.join("shapes.onnx"), model).expect("copied");
    }
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let crates = workspace().join("target/emitted");
    let binary = crates.join("bin/two");
    let args =
        ["build", &path(&first), &path(&second), "-o", &path(&binary), "--crate-dir", &path(&crates), "--name", "two"];
    let output = peristyle(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_static(&binary);
    let image = path(&example.join("example.jpg"));
    let found = |model: &[&str]| {
        let line = run(&binary, &[model, &["detect", "--source", &image, "--json"]].concat());
        let found: serde_json::Value = serde_json::from_str(line.trim()).expect("one line of JSON");
        found["boxes"].as_array().expect("boxes").clone()
    };
    let (squares, forms) = (found(&[]), found(&["--model", "forms"]));
    assert!(!squares.is_empty() && squares == forms, "{squares:?} {forms:?}");
    assert!(run(&binary, &["--model", "forms", "about"]).contains("forms.onnx"));

    let twice = peristyle(&["build", &path(&first), &path(&first)]);
    let message = String::from_utf8_lossy(&twice.stderr).into_owned();
    assert!(!twice.status.success() && message.contains("another model of this binary is called `squares` too"));
}

fn assert_static(binary: &Path) {
    let output = Command::new("ldd").arg(binary).output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: no ldd on this machine");
        return;
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("statically linked") || text.contains("not a dynamic executable"), "{text}");
}

fn run(binary: &Path, args: &[&str]) -> String {
    let output = Command::new(binary).args(args).output().expect("the detector starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A `.npy` file of pseudo-random `f32` in 0..1 or of `u8`.
fn random_npy(path: &Path, shape: &[usize], bytes: bool) {
    let count: usize = shape.iter().product();
    let descr = if bytes { "|u1" } else { "<f4" };
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape},), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).expect("a short header").to_le_bytes());
    file.extend(header.as_bytes());
    let mut state = 99u32;
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if bytes {
            file.push((state >> 9) as u8);
        } else {
            file.extend(((state >> 8) as f32 / (1 << 24) as f32).to_le_bytes());
        }
    }
    std::fs::write(path, file).expect("writable");
}

/// `infer` of the binary and `peristyle run` on the same two images.
fn infer_both(binary: &Path, model: &Path, shape: &[usize], bytes: bool) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    random_npy(Path::new(&path("x.npy")), shape, bytes);
    run(binary, &["infer", "--input", &path("x.npy"), "--output", &path("compiled")]);
    let model = model.to_str().expect("UTF-8");
    let output = peristyle(&["run", model, "--input", &path("x.npy"), "--output", &path("interpreted")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |folder: &str| std::fs::read(dir.path().join(folder).join("output0.npy")).expect("an output");
    (read("compiled"), read("interpreted"))
}

#[test]
#[ignore = "builds a static binary"]
fn bundled_example_finds_its_objects() {
    let example = workspace().join("compiler/example");
    let model = example.join("shapes.onnx");
    let binary = build(&model, &[]);
    assert_static(&binary);

    let image = example.join("example.jpg");
    let found = run(&binary, &["detect", "--source", image.to_str().expect("UTF-8"), "--json"]);
    let found: serde_json::Value = serde_json::from_str(found.trim()).expect("one line of JSON");
    let reference = std::fs::read_to_string(example.join("example.json")).expect("the reference");
    let reference: serde_json::Value = serde_json::from_str(reference.trim()).expect("one line of JSON");
    let list = |v: &serde_json::Value, key: &str| v[key].as_array().expect(key).clone();
    let (boxes, classes) = (list(&found, "boxes"), list(&found, "class_ids"));
    let expected = list(&reference, "boxes");
    assert_eq!(boxes.len(), expected.len(), "{found}");
    for (expected, class) in expected.iter().zip(list(&reference, "class_ids")) {
        let near = |b: &serde_json::Value| {
            (0..4).all(|i| (b[i].as_f64().expect("a number") - expected[i].as_f64().expect("a number")).abs() < 4.0)
        };
        assert!(boxes.iter().zip(&classes).any(|(b, c)| near(b) && *c == class), "no {class} at {expected}: {found}");
    }

    let (compiled, interpreted) = infer_both(&binary, &model, &[2, 3, 320, 320], false);
    assert!(compiled == interpreted, "the binary is bit-exact against the interpreter");
    let table = run(&binary, &["benchmark", "-s", "sync", "-b", "2", "-t", "0.2", "-w", "0", "-ncores", "1"]);
    assert!(table.contains("Throughput (items/sec): "), "{table}");
    assert_profile(&binary);
    assert_serves_alone(&binary, &image, boxes.len());
}

/// The binary serves from a file system that holds nothing else, as an image `FROM scratch` does.
fn assert_serves_alone(binary: &Path, image: &Path, objects: usize) {
    let root = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(binary, root.path().join("detector")).expect("writable");
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--root"]).arg(root.path()).args(["--wd", "/"]);
    if !unshare.args(["/detector", "about"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: `unshare` may not change the root here");
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--root"]).arg(root.path()).args(["--wd", "/"]);
    unshare.args(["/detector", "serve", "--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut service = unshare.spawn().expect("unshare starts");
    let mut line = String::new();
    BufReader::new(service.stdout.take().expect("piped")).read_line(&mut line).expect("UTF-8");
    let answer = line.trim_end().split_once("http://").ok_or(line.clone()).and_then(|(_, address)| {
        let body = std::fs::read(image).expect("readable");
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
        Ok(answer)
    });
    service.kill().expect("it runs");
    service.wait().expect("it ends");
    let answer = answer.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let found: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(found["boxes"][0].as_array().expect("boxes").len(), objects, "{found}");
}

/// Every layer of the example has its line and its facts, and the shares of time add up.
fn assert_profile(binary: &Path) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let export = dir.path().join("profile.json");
    let table =
        run(binary, &["profile", "-ncores", "1", "-bi", "10", "-wi", "1", "-q", "-x", export.to_str().expect("UTF-8")]);
    let report = std::fs::read_to_string(export).expect("the export");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let layers = report["layer_info"].as_array().expect("layers");
    let convolutions = layers.iter().filter(|layer| layer["kernel_bits_per_ele"] == 8);
    assert_eq!((layers.len(), convolutions.count()), (61, 54), "{table}");
    for layer in layers {
        let name =
            format!("\n{} {} ", layer["name"].as_str().expect("name"), layer["canonical_name"].as_str().expect("name"));
        assert!(table.contains(&name), "{name}: {table}");
    }
    let stem = &layers[1];
    assert_eq!(stem["output_dims"]["y"], 160, "{stem}");
    assert_eq!(stem["kernel_dims"]["input_channels"], 3, "{stem}");
    assert_eq!((&stem["strides"]["x"], &stem["nonzero_macs"]), (&2.into(), &11_059_200.into()), "{stem}");
    let share: f64 = layers.iter().map(|layer| layer["share_of_total_time"].as_f64().expect("share")).sum();
    assert!((0.9..=1.0).contains(&share), "{share}: {table}");
    let last = table.lines().last().expect("lines");
    assert!(table.contains("== Layer Breakdown ==") && last.starts_with("Next to improve: l0"), "{table}");
}

#[test]
#[ignore = "builds a static binary"]
fn real_quantised_model_is_bit_exact() {
    let Some(data) = models::test_data() else {
        eprintln!("SKIPPED: no real models; set PERISTYLE_TEST_DATA");
        return;
    };
    let model = data.join("models/yolov5n-pruned65_quant.onnx");
    let binary = build(&model, &["--columns", "8"]);
    assert_static(&binary);
    let (compiled, interpreted) = infer_both(&binary, &model, &[2, 3, 640, 640], true);
    assert!(compiled == interpreted, "the binary is bit-exact against the interpreter");
}
