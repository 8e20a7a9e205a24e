//! Distillation on a small detector: what it wins, what it holds, and what it refuses.

use peristyle_compiler::Config;
use peristyle_compiler::sparsify::distill::*;
use peristyle_compiler::sparsify::network::*;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

fn detector() -> Network {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/detector_decoded/model.onnx");
    Network::new(&Config::new().import(model).expect("the model can be imported")).expect("a trainable graph")
}

/// Patches of random colours.
fn pictures() -> Vec<Picture> {
    let mut random = fastrand::Rng::with_seed(5);
    let mut picture = |width: usize, height: usize| {
        let colours: Vec<u8> = (0..width * height).map(|_| random.u8(..)).collect();
        let patch = |x: usize, y: usize, c: usize| colours[(y / 8 * width + x / 8) * 3 % colours.len() + c];
        let pixels = (0..width * height).flat_map(|i| [0, 1, 2].map(|c| patch(i % width, i / width, c)));
        Picture { width, height, rgb: pixels.collect() }
    };
    vec![picture(90, 60), picture(64, 64), picture(40, 100)]
}

/// Keeps the larger half of every weight.
fn halved(teacher: &Network) -> Network {
    let mut student = teacher.clone();
    for convolution in student.convolutions_mut() {
        let mut sorted: Vec<f32> = convolution.weight.iter().map(|w| w.abs()).collect();
        sorted.sort_by(f32::total_cmp);
        let least = sorted[sorted.len() / 2];
        convolution.set_mask(Some(convolution.weight.iter().map(|w| w.abs() >= least).collect()));
    }
    student
}

fn options(steps: usize) -> Options {
    Options { size: 64, batch: 2, learning_rate: 0.02, ..Options::new(Budget::Steps(steps)) }
}

fn go(_: &Progress, _: &Network) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn parameters(network: &Network) -> Vec<f32> {
    network.convolutions().iter().flat_map(|c| c.weight.iter().chain(&c.bias)).copied().collect()
}

#[test]
fn a_sparse_student_comes_closer_to_its_teacher_and_stays_sparse() {
    let teacher = detector();
    let mut student = halved(&teacher);
    let masks: Vec<Vec<bool>> = student.convolutions().iter().map(|c| c.mask().expect("a mask").to_vec()).collect();
    let report = run(&teacher, &mut student, &pictures(), &options(120), &mut go).expect("a run");
    assert_eq!((report.steps, report.images), (120, 240));
    assert!(report.after.features < 0.5 * report.before.features, "{report:?}");
    assert!(report.after.detections < 0.8 * report.before.detections, "{report:?}");
    for (convolution, mask) in student.convolutions().iter().zip(masks) {
        let held = convolution.weight.iter().zip(mask).all(|(w, kept)| kept || *w == 0.0);
        assert!(held, "{} has a weight where it was masked", convolution.name);
    }
}

#[test]
fn runs_repeat_to_the_bit() {
    let teacher = detector();
    let result = |seed: u64| {
        let mut student = halved(&teacher);
        let options = Options { seed, ..options(4) };
        run(&teacher, &mut student, &pictures(), &options, &mut go).expect("a run");
        parameters(&student)
    };
    assert_eq!(result(1), result(1));
    assert_ne!(result(1), result(2));
}

#[test]
fn quantisation_is_simulated_for_the_last_part() {
    let teacher = detector();
    let mut student = halved(&teacher);
    let options = Options { quantise_from: Some(0.5), ..options(10) };
    let mut quantised = Vec::new();
    let mut note = |progress: &Progress, network: &Network| {
        quantised.push(progress.quantised);
        assert_eq!(network.convolutions()[0].input_range.is_some(), progress.quantised);
        ControlFlow::Continue(())
    };
    run(&teacher, &mut student, &pictures(), &options, &mut note).expect("a run");
    assert_eq!(quantised, [[false; 5], [true; 5]].concat());
    assert_eq!(student.convolutions()[0].input_range, Some(InputRange::covering(0.0, 1.0)), "pixels lie in 0..=1");
    for convolution in student.convolutions() {
        assert!(convolution.quantise_weight && convolution.input_range.is_some_and(|range| range.scale > 0.0));
    }
}

#[test]
fn a_run_ends_by_the_clock_or_when_it_is_told_to() {
    let teacher = detector();
    let mut student = halved(&teacher);
    let by_time = Options { budget: Budget::Time(Duration::from_millis(200)), ..options(1) };
    let report = run(&teacher, &mut student, &pictures(), &by_time, &mut go).expect("a run");
    assert!(report.steps > 0 && report.elapsed >= Duration::from_millis(200), "{report:?}");
    assert!(report.after.spent >= 0.99, "the schedule ends with the time: {report:?}");
    let mut third = |progress: &Progress, _: &Network| match progress.steps {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let report = run(&teacher, &mut student, &pictures(), &options(1000), &mut third).expect("a run");
    assert_eq!(report.steps, 3);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let teacher = detector();
    let mut student = teacher.clone();
    let refuse = |student: &mut Network, pictures: &[Picture], options: &Options| {
        let error = run(&teacher, student, pictures, options, &mut go).expect_err("refused");
        std::error::Error::source(&error).map_or(error.to_string(), |source| format!("{error}: {source}"))
    };
    assert!(refuse(&mut student, &[], &options(1)).contains("a folder of at least a few dozen photographs"));
    let odd = Options { size: 50, ..options(1) };
    assert!(refuse(&mut student, &pictures(), &odd).contains("multiple of the largest stride"));
    let torn = Picture { width: 10, height: 10, rgb: vec![0; 299] };
    assert!(refuse(&mut student, &[torn], &options(1)).contains("299"));
    let mut other = teacher.clone();
    other.convolutions_mut()[0].geometry.stride = [1, 1];
    assert!(refuse(&mut other, &pictures(), &options(1)).contains("must come from the same model"));
}
