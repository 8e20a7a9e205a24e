//! Predicted times and sizes: finite, additive, falling with sparsity; sizes as they are emitted.

#[path = "../src/cli/elf.rs"]
mod elf;

use peristyle_compiler::ir::{Conv, ConvGeometry, ConvQuant, DType, Data, Epilogue, Graph, Op, Tensor, Type};
use peristyle_compiler::plan::cost::{CPUS, Cpu, Prediction, size};
use peristyle_compiler::plan::{self, KernelUse, Options, Plan};
use peristyle_compiler::{Config, OptTime};
use peristyle_runtime::simd::Isa;
use std::path::{Path, PathBuf};
use std::process::Command;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example/shapes.onnx")
}

/// A convolution of 64 channels of 40x40 pixels, of whose weights so many percent are not zero.
fn graph(percent: usize, integers: bool) -> Graph {
    let (channels, pixels) = (64, 40);
    let mut graph = Graph::default();
    let dtype = if integers { DType::U8 } else { DType::F32 };
    let x = graph.add_value("x", Type::new(dtype, [1, channels, pixels, pixels]));
    graph.inputs.push(x);
    let shape = [channels, channels, 3, 3];
    let count: usize = shape.iter().product();
    let nonzero = |at: usize| (at * 7919) % 100 < percent;
    let (weights, quant) = if integers {
        let w = (0..count).map(|at| if nonzero(at) { 5 - (at % 11) as i8 } else { 0 });
        let w = w.enumerate().map(|(at, w)| if nonzero(at) && w == 0 { 3 } else { w });
        let quant = ConvQuant { x_zero: 3, scale: vec![0.01; channels], acc_bias: vec![0; channels] };
        (Tensor::new(shape.to_vec(), Data::I8(w.collect())), Some(quant))
    } else {
        let w = (0..count).map(|at| if nonzero(at) { 1.0 } else { 0.0 });
        (Tensor::f32(shape, w.collect()), None)
    };
    let w = graph.add_constant("w", weights);
    let b = graph.add_constant("b", Tensor::f32([channels], vec![0.5; channels]));
    let geometry = ConvGeometry { kernel: [3, 3], stride: [1, 1], pad: [1; 4], dilation: [1, 1], group: 1 };
    let op = Op::Conv(Conv { geometry, quant, epilogue: Epilogue::default() });
    let y = graph.add_node("conv", op, vec![x, w, b], Type::new(DType::F32, [1, channels, pixels, pixels]));
    graph.outputs.push(y);
    graph
}

fn planned(graph: &Graph, options: &Options) -> Plan {
    plan::build(graph, options).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn more_zeros_take_less_time() {
    let pairs = Options { panels: KernelUse::Never, code_budget: 0, ..Options::default() };
    let code = Options { panels: KernelUse::Never, code_budget: usize::MAX, ..Options::default() };
    let floats = Options { winograd: KernelUse::Never, ..pairs };
    for (options, integers) in [(pairs, true), (code, true), (floats, false)] {
        for cpu in CPUS {
            let seconds = |percent| Prediction::new(&planned(&graph(percent, integers), &options), cpu, 1).seconds();
            let times: Vec<f64> = [5, 10, 20, 40, 60, 80, 94].map(seconds).to_vec();
            assert!(times.iter().all(|t| t.is_finite() && *t > 0.0), "{times:?}");
            // Where products are cheap, what every pixel costs beside them weighs more.
            let least = match (cpu.measured, cpu.isa) {
                (true, Isa::Avx512) => 2.5,
                (true, _) => 3.0,
                (false, _) => 1.5,
            };
            assert!(times.is_sorted() && times[0] * least < times[6], "{}: {times:?}", cpu.name);
        }
    }
}

#[test]
fn layers_add_up_and_threads_share_them() {
    let compilation = Config::new().analyze(example()).expect("the example compiles");
    for cpu in CPUS {
        let times: Vec<Prediction> = [1, 2, 4].map(|threads| Prediction::new(&compilation.plan, cpu, threads)).to_vec();
        for prediction in &times {
            assert_eq!(prediction.layers.len(), compilation.plan.layers.len());
            assert!(prediction.layers.iter().all(|layer| layer.seconds.is_finite() && layer.seconds > 0.0));
            let sum: f64 = prediction.layers.iter().map(|layer| layer.seconds).sum();
            assert!((sum - prediction.seconds()).abs() < 1e-12);
        }
        let [one, two, four] = [0, 1, 2].map(|at| times[at].seconds());
        assert!(one > two && two > four && one < 4.0 * four, "{}: {one} {two} {four}", cpu.name);
    }
}

#[test]
fn columns_take_the_work_of_whole_layers() {
    let of = |columns| {
        let plan = Config::new().columns(columns).analyze(example()).expect("the example compiles").plan;
        Prediction::new(&plan, &Cpu::default(), 1).seconds()
    };
    let (whole, striped) = (of(plan::Columns::Off), of(plan::Columns::Rows(16)));
    assert!(striped > whole * 0.99 && striped < whole * 2.0, "{whole} {striped}");
}

#[test]
fn sizes_are_those_of_emitted_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let compilation = Config::new().selftest(false).analyze(example()).expect("the example compiles");
    let package = compilation.package(folder.path());
    let mut coded = 0;
    for (index, size) in size::of(&compilation.plan).into_iter().enumerate() {
        let file = |extension: &str| {
            let start = format!("src/model/l{index:03}_");
            package.paths().find(|path| path.starts_with(&start) && path.ends_with(extension)).map(str::to_string)
        };
        assert_eq!(
            file(".bin").map_or(0, |path| package.get(&path).expect("a file").len()),
            size.data,
            "layer {index}"
        );
        let Some(assembly) = file(".S") else {
            assert_eq!(size.code, 0);
            continue;
        };
        // A few layers tell as much as all.
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) || index % 9 != 2 {
            continue;
        }
        let (source, object) = (folder.path().join("layer.S"), folder.path().join("layer.o"));
        std::fs::write(&source, package.get(&assembly).expect("a file")).expect("written");
        let cc = Command::new("cc").arg("-c").arg(&source).arg("-o").arg(&object).status().expect("a C compiler");
        assert!(cc.success());
        let code = elf::section_bytes(&std::fs::read(&object).expect("assembled"), ".text").expect("code");
        assert!(code <= size.code && size.code < code * 3 / 2, "layer {index}: {code} bytes, {} predicted", size.code);
        coded += 1;
    }
    assert!(coded > 2 || !cfg!(all(target_arch = "x86_64", target_os = "linux")));
}

#[test]
fn code_and_tables_stay_within_their_limit() {
    let bytes = |most: Option<usize>| {
        let config = most.map_or(Config::new(), |most| Config::new().max_code_size(most));
        config.analyze(example()).map(|compilation| size::total(&compilation.plan))
    };
    let free = bytes(None).expect("no limit");
    assert!(free.code > 0);
    for most in [free.total(), free.data + free.code / 2, free.data] {
        let limited = bytes(Some(most)).expect("there is room");
        assert!(limited.total() <= most, "{limited:?} and {most}");
    }
    assert_eq!(bytes(Some(free.total())).expect("room for all"), free);
    let refused = bytes(Some(100_000)).expect_err("tables are larger");
    let message = std::error::Error::source(&refused).expect("a cause").to_string();
    for part in
        ["its tables take", "without any straight-line code", "--max-code-size allows 100.0 kB", "`/down32/Conv`"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn quick_builds_optimise_kernels_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = |opt_time| {
        let config = Config::new().selftest(false).opt_time(opt_time);
        let compilation = config.analyze(example()).expect("the example compiles");
        let package = compilation.package(folder.path());
        String::from_utf8(package.get("Cargo.toml").expect("a manifest").to_vec()).expect("text")
    };
    let level = |manifest: &str, package: &str| {
        let (_, rest) = manifest.split_once(&format!("[profile.release.package.{package}]\nopt-level = "))?;
        rest.chars().next()
    };
    let (fast, full) = (manifest(OptTime::Fast), manifest(OptTime::Full));
    for (package, of_fast) in [("peristyle-runtime", '3'), ("mozjpeg-sys", '3')] {
        assert_eq!((level(&fast, package), level(&full, package)), (Some(of_fast), None));
    }
    assert_eq!((level(&fast, "\"*\""), level(&full, "\"*\"")), (Some('0'), None));
    assert_eq!(
        (level(&fast, "image"), level(&full, "image")),
        (None, None),
        "pictures are read in full builds at full speed"
    );
    assert_eq!((level(&full, "moxcms"), level(&full, "clap_builder")), (Some('0'), Some('"')), "for size");
}
