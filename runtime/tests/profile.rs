//! `profile` on a program of two layers whose facts are known.
#![cfg(feature = "app")]

mod support;

use std::borrow::Cow;
use std::path::Path;

use peristyle_runtime::app::{self, Compiled, Console, NewEngine};
use peristyle_runtime::engine::{DType, Engine, Kind, Layer, LayerInfo, ModelSpec, Program, Step, TensorSpec, Window};
use peristyle_runtime::kernels::Activation;
use peristyle_runtime::kernels::strided::{Base, MatMul, Unary, UnaryFn, View};
use peristyle_runtime::simd::Isa;
use serde_json::{Value, json};
use support::{DETECTOR, Fake, bright_box};

const fn view(base: Base, shape: [usize; 6], strides: [usize; 6]) -> View {
    View { base, dtype: DType::F32, offset: 0, shape, strides }
}

const INPUT: [usize; 6] = [1, 1, 1, 1, 4, 64];
const ROWS: [usize; 6] = [256, 256, 256, 256, 64, 1];

static SPEC: ModelSpec = ModelSpec {
    name: "two",
    source: "two.onnx",
    batch: 1,
    inputs: &[TensorSpec { name: "x", dtype: DType::F32, shape: &[1, 64, 2, 2] }],
    outputs: &[TensorSpec { name: "y", dtype: DType::F32, shape: &[1, 32, 2, 2] }],
    detector: None,
    ..DETECTOR
};

static SIGMOID: Layer = Layer {
    name: Cow::Borrowed("/act/Sigmoid"),
    pads: Cow::Borrowed(&[]),
    info: LayerInfo {
        op: Cow::Borrowed("Activation"),
        inputs: Cow::Borrowed(&[Cow::Borrowed(&[1, 64, 2, 2])]),
        outputs: Cow::Borrowed(&[Cow::Borrowed(&[1, 64, 2, 2])]),
        window: None,
        weights: (0, 0),
        weight_bits: 0,
        macs: (0, 0),
        kernel: Cow::Borrowed("unary"),
        reason: Cow::Borrowed(""),
    },
    kind: Kind::Unary(Unary {
        x: view(Base::Input(0), INPUT, ROWS),
        y: view(Base::Arena, INPUT, ROWS),
        function: UnaryFn::Activation(Activation::Sigmoid),
    }),
};

static CONV: Layer = Layer {
    name: Cow::Borrowed("/head/Conv"),
    pads: Cow::Borrowed(&[]),
    info: LayerInfo {
        op: Cow::Borrowed("Conv"),
        inputs: Cow::Borrowed(&[Cow::Borrowed(&[1, 64, 2, 2])]),
        outputs: Cow::Borrowed(&[Cow::Borrowed(&[1, 32, 2, 2])]),
        window: Some(Window { size: [1, 1], stride: [2, 1] }),
        weights: (2048, 512),
        weight_bits: 32,
        macs: (8192, 2048),
        kernel: Cow::Borrowed("f32_matmul"),
        reason: Cow::Borrowed("it is small"),
    },
    kind: Kind::MatMul(MatMul {
        a: view(Base::Arena, INPUT, ROWS),
        b: view(Base::Constant(Cow::Borrowed(&[0.5; 2048])), [1, 1, 1, 1, 64, 32], [0, 0, 0, 0, 32, 1]),
        y: view(Base::Output(0), [1, 1, 1, 1, 4, 32], [128, 128, 128, 128, 32, 1]),
    }),
};

static PROGRAM: Program = Program {
    spec: &SPEC,
    arena_bytes: 4096,
    layers: Cow::Borrowed(&[&SIGMOID, &CONV]),
    schedule: Cow::Borrowed(&[Step::new(0, 0, 1), Step::new(1, 0, 1)]),
    golden: &[],
};

fn run_on(spec: &'static ModelSpec, new: NewEngine, args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["/usr/bin/two"].iter().chain(args).map(Into::into);
    let code = app::run(args, &[Compiled { new, spec }], &mut Console { out: &mut out, err: &mut err, color: false });
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn run(args: &[&str]) -> (u8, String, String) {
    run_on(&SPEC, |threads| Ok(Box::new(Engine::new(&PROGRAM, threads)?)), args)
}

/// The columns of a line of the report.
fn cells(line: &str) -> Vec<&str> {
    line.split(" | ").map(str::trim).collect()
}

#[test]
fn the_table_has_every_layer_and_ends_with_what_to_improve() {
    let (code, out, err) = run(&["profile", "-bi", "20", "-wi", "2", "-ncores", "2", "-b", "3", "-q"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(cells(lines[0])[..6], ["Name", "Kernel", "OutDims", "KerDims", "Strides", "Density"]);
    let (sigmoid, conv) = (cells(lines[1]), cells(lines[2]));
    assert_eq!(sigmoid[..6], ["l000 /act/Sigmoid", "unary", "[3, 64, 2, 2]", "-", "-", "-"]);
    assert_eq!(sigmoid[9..], ["-", "-"]);
    assert_eq!(conv[..6], ["l001 /head/Conv", "f32_matmul", "[3, 32, 2, 2]", "[32, 64, 1, 1]", "[2, 1]", "0.250"]);
    assert!(conv[6..].iter().all(|number| number.parse::<f64>().unwrap() >= 0.0), "{conv:?}");
    for line in ["Batch Size: 3", "Number of threads: 2", "== Layer Breakdown =="] {
        assert!(lines.contains(&line), "{line}: {out}");
    }
    assert!(out.contains("in the mean of 20 runs\n"), "{out}");
    let kinds: Vec<&str> = lines.iter().map(|line| cells(line)[0]).skip_while(|name| *name != "Kind").collect();
    assert!(kinds[1..3].contains(&"Activation") && kinds[1..3].contains(&"Conv 1x1/2x1 f32"), "{kinds:?}");
    let last = lines.last().unwrap();
    assert!(last.starts_with("Next to improve: l00") && last.contains(kinds[1]), "{last}");
}

#[test]
fn the_export_has_the_keys_of_other_tools_and_shares_that_add_up() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profile.json");
    let args = ["profile", "-bi", "50", "-w", "0", "-ncores", "1", "-b", "2", "-q", "-x", path.to_str().unwrap()];
    assert_eq!(run(&args).0, 0);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&report["batch_size"], &report["num_threads"]), (&json!(2), &json!(1)));
    let times: Vec<f64> = report["iteration_times"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"));
    assert_eq!(times.len(), 50);
    let total = number(&report, "average_total_time");
    assert!((times.iter().sum::<f64>() / 50.0 - total).abs() < 1e-9);
    assert!((number(&report, "items_per_second") - 2e3 / total).abs() < 1e-6);

    let layers = report["layer_info"].as_array().unwrap();
    let inside: f64 = layers.iter().map(|layer| number(layer, "share_of_total_time")).sum();
    let outside = number(&report, "average_time_outside_layers") / total;
    assert!((inside + outside - 1.0).abs() < 1e-9 && inside > 0.0 && outside > 0.0, "{inside} {outside}");

    let conv = &layers[1];
    assert_eq!((&conv["name"], &conv["canonical_name"]), (&json!("l001"), &json!("/head/Conv")));
    assert_eq!(conv["input_dims"], json!({ "batches": 2, "channels": 64, "z": 1, "y": 2, "x": 2 }));
    assert_eq!(conv["output_dims"], json!({ "batches": 2, "channels": 32, "z": 1, "y": 2, "x": 2 }));
    assert_eq!(conv["kernel_dims"], json!({ "output_channels": 32, "input_channels": 64, "z": 1, "y": 1, "x": 1 }));
    assert_eq!(conv["strides"], json!({ "z": 1, "y": 2, "x": 1 }));
    assert_eq!((&conv["required_flops"], &conv["nonzero_macs"]), (&json!(32768), &json!(4096)));
    assert_eq!((&conv["kernel_sparsity"], &conv["kernel_bits_per_ele"]), (&json!(0.75), &json!(32)));
    assert!(conv["activation_sparsity"].is_null() && conv["sub_layer_info"] == json!([]));
    assert_eq!((&conv["kernel"], &conv["kernel_reason"]), (&json!("f32_matmul"), &json!("it is small")));
    let (mean, attainable) = (number(conv, "average_run_time_in_ms"), number(conv, "attainable_time_in_ms"));
    let peak = number(&report["peak"]["f32"], "gmacs_per_second_per_thread");
    assert!((attainable - 4096.0 / peak / 1e6).abs() < 1e-9 && number(conv, "min_run_time_in_ms") <= mean);
    assert!((number(conv, "average_utilization") - attainable / mean).abs() < 1e-9);
    assert!((number(conv, "average_teraflops_per_second") - 32768.0 / mean / 1e9).abs() < 1e-9);

    let lost = number(conv, "lost_time_in_ms");
    assert!((lost - (number(conv, "min_run_time_in_ms") - attainable)).abs() < 1e-9);
    let next = &report["next_to_improve"];
    let most = layers.iter().map(|layer| number(layer, "lost_time_in_ms")).fold(f64::MIN, f64::max);
    assert_eq!(number(next, "lost_time_in_ms"), most);
    for key in ["cpu", "isa", "version", "orig_model_path", "layer_breakdown"] {
        assert!(!report[key].is_null(), "{key}");
    }
}

#[test]
fn reports_name_the_instruction_set_that_ran() {
    let portable: NewEngine = |threads| Ok(Box::new(Engine::with_isa(&PROGRAM, threads, Isa::Portable).unwrap()));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("isa.json");
    for args in ["profile -bi 1 -wi 0 -ncores 1 -q", "benchmark -t 0.01 -w 0 -ncores 1 -q"] {
        let args: Vec<&str> = args.split(' ').chain(["-x", path.to_str().unwrap()]).collect();
        let (code, _, err) = run_on(&SPEC, portable, &args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(report["isa"], "portable", "{args:?}");
    }
}

#[test]
fn what_cannot_be_profiled_is_said_in_one_line() {
    let stand_in: NewEngine = |_| Ok(Box::new(Fake::new(&DETECTOR, bright_box)));
    let (code, out, err) = run_on(&DETECTOR, stand_in, &["profile", "-t", "0"]);
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", "error: this model has no layers that could be timed\n"));
    let none: NewEngine = |_| Err(std::io::Error::other("no more processes"));
    let (code, _, err) = run_on(&SPEC, none, &["profile", "-ncores", "7"]);
    let message = "error: cannot start 7 threads: no more processes; pass a smaller -ncores\n";
    assert_eq!((code, err.as_str()), (1, message));
    let (code, _, err) = run(&["profile", "-bi", "1", "-wi", "0", "-ncores", "1", "-q", "-x", "/nowhere/at/all.json"]);
    assert!(code == 1 && err.starts_with("error: cannot write /nowhere/at/all.json: "), "{err}");
    let (code, _, err) = run(&["profile", "-bi", "3", "-t", "1"]);
    assert!(code == 2 && err.contains("--num-iterations") && err.contains("--time"), "{err}");
}
