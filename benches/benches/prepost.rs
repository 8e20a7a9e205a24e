//! What surrounds the network: reading JPEG files, letterboxing, decoding and suppressing boxes.
//!
//! `opencv_prepost.py` prints what OpenCV takes for the same work.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use peristyle_benches::scene::{self, Silent};
use peristyle_runtime::app::source::{Limits, Picture};
use peristyle_runtime::detect::{ImageRef, Letterbox, Nms, NmsParams, Params, Pipeline, Resize};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Width and height of pictures: a portrait, exactly twice the input, the input's own width, a large photograph.
const SIZES: [[usize; 2]; 4] = [[810, 1080], [1280, 720], [640, 480], [4000, 3000]];

fn letterbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("letterbox to 640x640");
    for [width, height] in SIZES {
        let pixels = scene::noise(width * height * 3);
        let image = ImageRef::rgb(&pixels, width, height).expect("a picture");
        let mut letterbox = Letterbox::new();
        let (mut levels, mut floats) = (vec![0u8; 3 * 640 * 640], vec![0f32; 3 * 640 * 640]);
        let size = format!("{width}x{height}");
        group.bench_function(BenchmarkId::new("u8", &size), |b| {
            b.iter(|| letterbox.write_u8(&image, Resize::Letterbox, [640, 640], black_box(&mut levels)));
        });
        group.bench_function(BenchmarkId::new("f32", &size), |b| {
            b.iter(|| letterbox.write_f32(&image, Resize::Letterbox, [640, 640], black_box(&mut floats)));
        });
    }
    group.finish();
}

/// 25200 rows of which some hundred are above the threshold, as a crowded photograph has.
fn decode_and_suppress(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode and suppress 25200x85");
    let pixels = scene::noise(640 * 640 * 3);
    for (name, params) in [("conf 0.25", Params::default()), ("conf 0.001, all labels", Params::validation())] {
        let mut pipeline = Pipeline::builder(Silent::new(scene::rows(300))).build().expect("a detector");
        let image = ImageRef::rgb(&pixels, 640, 640).expect("a picture");
        group.bench_function(name, |b| {
            b.iter_custom(|runs| {
                let mut spent = Duration::ZERO;
                for _ in 0..runs {
                    black_box(pipeline.run(&[image], &params).expect("the tensors fit"));
                    spent += pipeline.timings().post_process;
                }
                spent
            });
        });
    }
    let candidates = scene::candidates(25_200);
    let params = NmsParams { iou_thres: 0.45, max_det: 1000, agnostic: false };
    let mut nms = Nms::new();
    group.bench_function("suppress 25200 candidates", |b| {
        b.iter_batched(
            || candidates.clone(),
            |mut candidates| nms.suppress(black_box(&mut candidates), &params),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn jpeg(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = std::env::var_os("PERISTYLE_TEST_DATA").map_or_else(|| root.join("../shared"), PathBuf::from);
    let photographs =
        [root.join("compiler/example/example.jpg"), data.join("images/bus.jpg"), data.join("images/zidane.jpg")];
    let mut group = criterion.benchmark_group("decode JPEG");
    for path in photographs {
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("SKIPPED: {} is not there", path.display());
            continue;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        group.bench_function(&name, |b| {
            b.iter(|| Picture::decode(black_box(&bytes), &Limits::default()).expect("a picture"));
        });
        group.bench_function(format!("{name} by zune-jpeg"), |b| {
            b.iter(|| image::load_from_memory(black_box(&bytes)).expect("a picture").into_rgb8());
        });
    }
    group.finish();
}

criterion_group!(benches, letterbox, decode_and_suppress, jpeg);
criterion_main!(benches);
