//! Commands about the program and the machine, and what `benchmark` adds to the network alone.
#![cfg(feature = "app")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use peristyle_runtime::app::{self, Compiled, Console};
use peristyle_runtime::engine::Infer;
use serde_json::Value;
use support::{DETECTOR, Fake, bright_box, picture};

struct Ended {
    code: u8,
    out: String,
    err: String,
}

fn run(args: &[&str]) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once(&"/usr/bin/fake-detector").chain(args).map(Into::into);
    let new = |_| -> std::io::Result<Box<dyn Infer>> { Ok(Box::new(Fake::new(&DETECTOR, bright_box))) };
    let code = app::run(
        args,
        &[Compiled { new, spec: &DETECTOR }],
        &mut Console { out: &mut out, err: &mut err, color: false },
    );
    Ended { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const SHORT: [&str; 6] = ["-t", "0.02", "-w", "0", "-ncores", "1"];

#[test]
fn the_pipeline_benchmark_ends_with_two_breakdowns() {
    let directory = folder("pipeline");
    image::RgbImage::from_raw(64, 64, picture(64, 64, [8, 16, 24, 48])).unwrap().save(directory.join("a.png")).unwrap();
    let export = directory.join("result.json");
    for data in [&["--data", text(&directory)][..], &["--image-size", "90", "40"], &["-b", "3"]] {
        let args = [&["benchmark", "--pipeline", "-x", text(&export)], &SHORT[..], data].concat();
        let ended = run(&args);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let lines: Vec<&str> = ended.out.lines().collect();
        assert!(lines[0] == "Original Model Path: fake.onnx" && lines[7].starts_with("Iterations: "), "{}", ended.out);
        assert_eq!(
            (lines[8], lines[13], lines.len()),
            ("Processing Time Breakdown: ", "Mean Latency Breakdown (ms/batch): ", 18)
        );
        let number = |line: &str, name: &str, unit: &str| -> f64 {
            line.strip_prefix(&format!("     {name}: ")).and_then(|n| n.strip_suffix(unit)).unwrap().parse().unwrap()
        };
        assert_eq!(number(lines[9], "total_inference", "%"), 100.0);
        let parts = ["pre_process", "engine_forward", "post_process"];
        let shares: f64 = parts.iter().enumerate().map(|(i, name)| number(lines[10 + i], name, "%")).sum();
        assert!((20.0..=100.1).contains(&shares), "{}", ended.out);
        let means: f64 = parts.iter().enumerate().map(|(i, name)| number(lines[15 + i], name, "")).sum();
        assert!(means <= number(lines[14], "total_inference", "") + 1e-3, "{}", ended.out);
        let result: Value = serde_json::from_slice(&fs::read(&export).unwrap()).unwrap();
        assert!(result["stages_ms_per_batch"]["pre_process"].as_f64().unwrap() > 0.0);
    }
    let none = run(&["benchmark", "--data", "x"]);
    assert!(none.code == 2 && none.err.contains("--pipeline"), "{}", none.err);
}

#[test]
fn benchmark_takes_the_flags_of_deepsparse() {
    let benchmark = |extra: &[&str]| run(&[&["benchmark"], &SHORT[..], extra].concat());
    let ended = benchmark(&["model.onnx", "-i", "[5,3,64,64]", "-pin", "core", "-e", "deepsparse", "-s", "elastic"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("Batch Size: 5\nScenario: elastic\n"), "{}", ended.out);
    assert!(ended.err.starts_with("notice: the model is compiled in (fake.onnx); model.onnx is not read\n"));
    assert_eq!(benchmark(&["-shapes", "[1, 3, 64, 64]", "-b", "2", "-pin=numa", "-q"]).code, 0);
    assert_eq!(benchmark(&["-e", "reference", "-s", "async", "-nstreams", "2"]).code, 0);
    for (extra, message) in [
        (["-shapes", "[1,3,640,640]"], "compile it again with --imgsz"),
        (["-e", "onnxruntime"], "this program holds one engine"),
        (["-pin", "socket"], "none, core, numa"),
    ] {
        let ended = benchmark(&extra);
        assert!(ended.code == 2 && ended.err.contains(message), "{extra:?}: {}", ended.err);
    }
    assert_eq!(benchmark(&["--hard-fail", "0.001"]).code, 0);
    let slow = benchmark(&["--hard-fail", "1e12"]);
    assert!(slow.code == 1 && slow.err.ends_with("items/sec, below --hard-fail 1000000000000\n"), "{}", slow.err);
    assert!(slow.out.contains("Iterations: "), "the result is printed first");
}

#[test]
fn a_sweep_writes_every_point_and_a_figure() {
    let directory = folder("sweep").join("results");
    let args = ["sweep", "--num-cores", "1,2,max", "--batch-sizes", "1,4", "-t", "0.01", "-w", "0"];
    let ended = run(&[&args[..], &["--save-dir", text(&directory), "--scenarios", "sync,async"]].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.err);
    let csv = fs::read_to_string(directory.join("sweep.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "Model,Engine,Batch Size,Num Cores,Scenario,Num Streams,Items per second,Mean Latency,Median Latency,\
         Std Latency,Input Shape,Command"
    );
    assert_eq!(lines.len(), 1 + 2 * 2 * 3);
    assert!(lines[1].starts_with("fake.onnx,peristyle,1,1,sync,1,"), "{}", lines[1]);
    assert!(lines[1].contains(",\"[1, 3, 64, 64]\",fake-detector benchmark -b 1 -ncores 1 -s sync "), "{}", lines[1]);
    let figure = image::open(directory.join("sweep.png")).unwrap().into_rgb8();
    assert!(figure.pixels().filter(|p| p.0 != [255; 3]).count() > 5000);
    assert_eq!(run(&["sweep", "--num-cores", "0"]).code, 2);
}

#[test]
fn check_says_which_kernels_run() {
    let ended = run(&["check"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.lines().next().unwrap().contains(" CPU detected with "), "{}", ended.out);
    assert_eq!(ended.out.matches("runs here: ").count(), 1, "{}", ended.out);
    let json: Value = serde_json::from_str(&run(&["check", "--json"]).out).unwrap();
    let isa = json["isa"].as_str().unwrap();
    assert_eq!(json["kernels"][isa]["runs"], true);
    assert_eq!(json["kernels"]["portable"]["available"], true);
    assert!(json["usable_cores"].as_u64().unwrap() >= 1 && json["advice"].is_array());
}

#[test]
fn about_says_what_is_in_the_program() {
    let ended = run(&["about"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    for line in [
        "model:     fake.onnx",
        "sha256:    5eed",
        "input:     images u8[N x 3 x 64 x 64]",
        "output:    output0 f32[N x 12 x 8]",
        "classes:   3: person, bus, tie",
        "weights:   100, 65.0 % of them zero",
        "selftest:  no golden values",
        "licence:   MIT OR Apache-2.0 for the program; the model's is its owner's",
    ] {
        assert!(ended.out.lines().any(|l| l == line), "{line}: {}", ended.out);
    }
    let json: Value = serde_json::from_str(&run(&["about", "--json"]).out).unwrap();
    assert_eq!(json["model"]["class_names"][1], "bus");
    let image = json["linked"].as_array().unwrap().iter().find(|c| c["name"] == "image").unwrap();
    assert_eq!(image["licence"], "MIT OR Apache-2.0");
    let licences = run(&["about", "--licences"]).out;
    assert!(licences.contains("mozjpeg") && licences.contains("Bitstream Vera"), "{licences}");
    let sbom: Value = serde_json::from_str(&run(&["about", "--sbom"]).out).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = sbom["components"].as_array().unwrap();
    assert_eq!(components[0]["hashes"][0]["content"], "5eed");
    assert!(components.iter().any(|c| c["name"] == "clap" && c["licenses"][0]["expression"] == "MIT OR Apache-2.0"));
    assert_eq!(run(&["about", "--sbom", "--json"]).code, 2);
}

#[test]
fn a_program_without_golden_values_says_so() {
    let ended = run(&["selftest"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("no golden values") && ended.err.contains("--no-selftest"), "{}", ended.err);
}

#[test]
fn shells_are_completed_and_help_ends_with_examples() {
    for (shell, mark) in
        [("bash", "complete "), ("zsh", "#compdef fake-detector"), ("fish", "complete -c fake-detector")]
    {
        let ended = run(&["completions", shell]);
        assert!(ended.code == 0 && ended.out.contains(mark) && ended.out.contains("selftest"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"]).code, 2);
    for command in ["eval", "benchmark", "sweep", "check", "selftest", "about", "completions"] {
        for flag in ["-h", "--help"] {
            let help = run(&[command, flag]).out;
            let tail = help.split_once("Examples:\n  ").unwrap_or_else(|| panic!("{command}: {help}")).1;
            assert!(tail.contains(&format!("fake-detector {command}")) && !help.contains("DETECTOR"), "{help}");
            assert!(tail.contains("\nExit code"), "{command}: {help}");
        }
    }
    assert!(run(&["--help"]).out.contains("Exit codes:\n  0 "));
}
