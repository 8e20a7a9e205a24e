//! `peristyle inspect`: its table and JSON on the example, what other weights would change, and the texts of its errors.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example/shapes.onnx")
}

fn inspect(model: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peristyle"));
    command.arg("inspect").arg(model).args(args).output().expect("the program starts")
}

fn text(args: &[&str]) -> String {
    let output = inspect(&example(), args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(&[args, &["--json"]].concat())).expect("JSON")
}

/// What a call that fails says.
fn error(model: &Path, args: &[&str], code: i32) -> String {
    let output = inspect(model, args);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("text")
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

#[test]
fn the_table_of_the_example() {
    insta::assert_snapshot!(text(&[]));
}

#[test]
fn keys_stay_as_they_are() {
    let report = json(&[]);
    assert_eq!(keys(&report), ["by_kernel", "cpu", "layers", "model", "threads", "totals"]);
    assert_eq!(keys(&report["model"]), ["bytes", "name", "sha256"]);
    assert_eq!(keys(&report["cpu"]), ["description", "gigahertz", "isa", "measured", "name"]);
    assert_eq!(keys(&report["by_kernel"][0]), ["kernel", "layers", "milliseconds"]);
    let layer = [
        "code_bytes",
        "data_bytes",
        "kernel",
        "macs",
        "milliseconds",
        "module",
        "name",
        "nonzero_macs",
        "nonzeros",
        "op",
        "output",
        "parameters",
        "pattern",
        "quantisation",
        "reason",
        "sparsity",
        "strides",
        "window",
    ];
    let totals = [
        "arena_bytes",
        "binary_bytes",
        "build_seconds",
        "code_bytes",
        "data_bytes",
        "images_per_second",
        "layers",
        "macs",
        "milliseconds",
        "nonzero_macs",
        "nonzeros",
        "parameters",
        "quantised",
        "sparsity",
    ];
    let layers = report["layers"].as_array().expect("layers");
    assert!(layers.iter().all(|l| keys(l) == layer), "{layers:?}");
    assert_eq!(keys(&report["totals"]), totals);
    let asked = json(&["--what-if-sparsity", "0.9"]);
    assert_eq!(keys(&asked["what_if"]), ["asked", "by_kernel", "layers", "model", "speedup", "totals"]);
}

#[test]
fn totals_are_the_sums_of_layers() {
    let report = json(&[]);
    let layers = report["layers"].as_array().expect("layers");
    let sum = |key: &str| layers.iter().map(|layer| layer[key].as_f64().unwrap_or(0.0)).sum::<f64>();
    for key in ["milliseconds", "parameters", "nonzeros", "macs", "nonzero_macs", "code_bytes", "data_bytes"] {
        let total = number(&report["totals"][key]);
        assert!(total > 0.0 && (sum(key) - total).abs() <= 1e-6 * total + 1e-4, "{key}: {} and {total}", sum(key));
    }
    assert!(layers.iter().all(|layer| number(&layer["milliseconds"]) > 0.0));
    let speed = number(&report["totals"]["images_per_second"]);
    assert!((speed * number(&report["totals"]["milliseconds"]) / 1e3 - 1.0).abs() < 1e-3);
}

#[test]
fn other_weights_change_the_totals_and_not_the_file() {
    let before = std::fs::read(example()).expect("readable");
    let totals = |args: &[&str]| json(args)["what_if"]["totals"].clone();
    let is = json(&[])["totals"].clone();
    let sparser = totals(&["--what-if-sparsity", "0.9"]);
    assert!(number(&sparser["sparsity"]) > 0.89 && number(&is["sparsity"]) < 0.7);
    for key in ["milliseconds", "nonzeros", "nonzero_macs", "data_bytes", "binary_bytes"] {
        assert!(number(&sparser[key]) < number(&is[key]), "{key}: {} and {}", sparser[key], is[key]);
    }
    let blocks = json(&["--what-if-sparsity", "0.5", "--what-if-block", "4"])["what_if"].clone();
    let patterns = blocks["layers"].as_array().expect("layers").iter().map(|layer| layer["pattern"].as_str());
    assert!(patterns.clone().filter(|p| *p == Some("1x4")).count() > patterns.flatten().count() / 2);
    // More zeros than asked for are left alone.
    let nothing = totals(&["--what-if-sparsity", "0"]);
    assert_eq!((&nothing["nonzeros"], &nothing["milliseconds"]), (&is["nonzeros"], &is["milliseconds"]));
    assert_eq!(std::fs::read(example()).expect("readable"), before);
}

#[test]
fn integers_take_less_than_floats() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/resnet_block/model.onnx");
    let output = inspect(&model, &["--what-if-int8", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let [is, asked] = [&report["totals"], &report["what_if"]["totals"]];
    assert_eq!((number(&is["quantised"]), number(&asked["quantised"])), (0.0, 1.0));
    assert_eq!(asked["macs"], is["macs"]);
    assert!(number(&report["what_if"]["model"]["bytes"]) < number(&report["model"]["bytes"]));
}

#[test]
fn two_models_stand_side_by_side() {
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/silu_bottleneck/model.onnx");
    let other = other.to_str().expect("UTF-8");
    let report = json(&["--compare", other]);
    assert_eq!(report["compare"]["model"]["name"], "model.onnx");
    let shown = text(&["--compare", other]);
    assert!(
        shown.contains("Compared with: model.onnx") && shown.contains("times as many images per second"),
        "{shown}"
    );
}

#[test]
fn a_profile_tells_the_error() {
    let report = json(&[]);
    let measured = |factor: f64, kernel: Option<&str>| {
        let layer = |layer: &Value| {
            serde_json::json!({
                "canonical_name": layer["name"],
                "kernel": kernel.map_or(layer["kernel"].clone(), Value::from),
                "min_run_time_in_ms": number(&layer["milliseconds"]) * factor,
            })
        };
        let layers: Vec<Value> = report["layers"].as_array().expect("layers").iter().map(layer).collect();
        serde_json::json!({ "isa": "avx2", "num_threads": 1, "batch_size": 1, "layer_info": layers })
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("p.json");
    let path = file.to_str().expect("UTF-8");
    std::fs::write(&file, measured(1.25, None).to_string()).expect("written");
    let against = json(&["--against", path])["against"].clone();
    assert!((number(&against["error"]) + 0.2).abs() < 1e-3 && (number(&against["error_by_layer"]) - 0.2).abs() < 1e-3);
    assert!(text(&["--against", path]).contains("-20.0 % in all, 20.0 % by layer"));
    assert!(error(&example(), &["--against", path, "--threads", "2"], 1).contains("pass --threads 1"));
    assert!(error(&example(), &["--against", path, "--cpu", "zen4-avx512"], 1).contains("measured with avx2"));
    std::fs::write(&file, measured(1.0, Some("conv_of_old")).to_string()).expect("written");
    assert!(error(&example(), &["--against", path], 1).contains("computed by conv_of_old"));
    std::fs::write(&file, "{}").expect("written");
    assert!(error(&example(), &["--against", path], 1).contains("it has no `layer_info`"));
}

#[test]
fn reports_are_saved_and_pages_need_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_string();
    let (page, yaml, saved) = (path("page.html"), path("report.yaml"), path("report.json"));
    text(&["--html", &page, "--save", &yaml, "--what-if-sparsity", "0.9"]);
    text(&["--save", &saved]);
    let read = |path: &str| std::fs::read_to_string(path).expect("written");
    let page = read(&page);
    assert!(page.starts_with("<!doctype html>") && page.contains("What if: sparsity 0.9"));
    for outside in ["http:", "https:", "src=", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("/out8.m.cv1/Conv") || page.contains("/stage8.m.cv1/Conv"), "rows tell the names of layers");
    assert!(read(&yaml).contains("asked: sparsity 0.9") || read(&yaml).contains("asked: \"What if: sparsity 0.9\""));
    assert_eq!(serde_json::from_str::<Value>(&read(&saved)).expect("JSON"), json(&[]));
}

#[test]
fn errors_name_what_to_do() {
    let model = example();
    let missing = Path::new("no-such.onnx");
    assert!(error(missing, &[], 1).contains("cannot read model `no-such.onnx`"));
    assert!(error(&model, &["--what-if-sparsity", "80"], 2).contains("for 80 % pass 0.8"));
    assert!(error(&model, &["--what-if-sparsity", "-1"], 2).contains("expected a share from 0 up to 1"));
    assert!(error(&model, &["--what-if-sparsity", "1"], 2).contains("expected a share from 0 up to 1"));
    assert!(error(&model, &["--what-if-block", "1"], 2).contains("expected from 2 to 64 input channels"));
    let unknown = error(&model, &["--cpu", "z80"], 1);
    assert!(
        unknown.contains("--cpu z80") && unknown.contains("zen3-avx2") && unknown.contains("measured"),
        "{unknown}"
    );
    assert!(error(&model, &["--save", "report.txt"], 1).contains("must end in .json, .yaml or .yml"));
    assert!(error(&model, &["--against", "no-such.json"], 1).contains("cannot read profile `no-such.json`"));
    assert!(error(&model, &["--threads", "0"], 2).contains("--threads"));
    assert!(error(&model, &["--html", "/no-such-folder/page.html"], 1).contains("/no-such-folder/page.html"));
}
