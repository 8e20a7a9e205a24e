//! One image through a training step of YOLOv5n at 320 pixels, on one core: teacher forward, student forward, student
//! backward. Needs the models of `PERISTYLE_TEST_DATA` (or `../shared`).

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peristyle_compiler::Config;
use peristyle_compiler::sparsify::network::{Gradients, Loss, MapId, Network, Shape};
use std::path::{Path, PathBuf};

const SIZE: [usize; 2] = [320, 320];

/// Pulls every map towards zero.
struct Shrink;

impl Loss for Shrink {
    fn reads(&self, map: MapId) -> bool {
        map.index() > 0
    }

    fn differentiate(&mut self, _: MapId, _: Shape, elements: &[f32], gradient: &mut [f32]) {
        gradient.iter_mut().zip(elements).for_each(|(g, x)| *g += 1e-3 * x);
    }
}

fn training(criterion: &mut Criterion) {
    let data = std::env::var_os("PERISTYLE_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let model = data.join("models/yolov5n.onnx");
    if !model.is_file() {
        eprintln!("SKIPPED: {} is not there", model.display());
        return;
    }
    let graph = Config::new().import(model).expect("the model can be imported");
    let network = Network::new(&graph).expect("the model can be trained");
    let weights = network.weights();
    let image = vec![0.4; 3 * SIZE[0] * SIZE[1]];
    let mut taught = network.workspace(SIZE).expect("the size fits");
    let mut learning = network.training_workspace(SIZE).expect("the size fits");
    let mut gradients = Gradients::zeros(&network);
    let mut group = criterion.benchmark_group("training");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.bench_function("forward", |b| b.iter(|| network.forward(&weights, &image, &mut taught)));
    group.bench_function("step", |b| {
        b.iter(|| {
            network.forward(&weights, &image, &mut taught);
            network.forward(&weights, &image, &mut learning);
            network.backward(&weights, &mut learning, &mut Shrink, &mut gradients);
        });
    });
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
