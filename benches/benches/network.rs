//! Whole networks: the bundled example, and the models of `PERISTYLE_TEST_DATA` (or `../shared`) when it has them.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peristyle_benches::{Bench, load};
use peristyle_compiler::Config;
use std::path::{Path, PathBuf};

const REAL: &[&str] =
    &["yolov5n.onnx", "yolov5n-pruned65_quant.onnx", "yolov5s-pruned65.onnx", "yolov5s-pruned65_quant.onnx"];

fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map_or_else(|| root.join("../shared"), PathBuf::from);
    let mut models = vec![root.join("compiler/example/shapes.onnx")];
    for name in REAL {
        let model = data.join("models").join(name);
        if model.is_file() {
            models.push(model);
        } else {
            eprintln!("SKIPPED: {} is not there", model.display());
        }
    }
    models
}

fn network(criterion: &mut Criterion) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for model in models() {
        let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1)).sample_size(20);
        for threads in [1, cores] {
            let plan = Config::new().analyze(&model).expect("the model compiles").plan;
            let mut bench = Bench::new(load(plan), threads);
            group.bench_function(format!("{threads} threads"), |b| b.iter(|| bench.run()));
            if cores == 1 {
                break;
            }
        }
        group.finish();
    }
}

criterion_group!(benches, network);
criterion_main!(benches);
