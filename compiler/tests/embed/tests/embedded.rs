//! What a build script compiled gives the interpreter's answers.

use peristyle_compiler::ir::{Data, Tensor};
use peristyle_compiler::{Config, interp};
use peristyle_embed_test::{resnet, shapes};

fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as u32).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32).collect()
}

fn interpreted(model: &str, shape: &[usize], input: &[f32]) -> Vec<f32> {
    let graph = Config::new().analyze(model).expect("the model compiles").graph;
    let outputs = interp::run(&graph, &[Tensor::f32(shape, input.to_vec())]).expect("the interpreter runs");
    match outputs.into_iter().next().map(|t| t.data) {
        Some(Data::F32(values)) => values,
        other => panic!("expected an f32 output, not {other:?}"),
    }
}

#[test]
fn quantised_detector_is_bit_exact() {
    let input = ramp(shapes::Model::INPUT_SHAPE.iter().product());
    let mut output = vec![0.0; shapes::Model::OUTPUT_SHAPE.iter().product()];
    let mut model = shapes::Model::new(2).expect("threads start");
    model.run(&input, &mut output).expect("lengths fit");
    assert!(output == interpreted("../../example/shapes.onnx", &shapes::Model::INPUT_SHAPE, &input));
}

#[test]
fn a_batch_is_its_images() {
    let per_image: usize = shapes::Model::INPUT_SHAPE.iter().product();
    let rows: usize = shapes::Model::OUTPUT_SHAPE.iter().product();
    let input = ramp(5 * per_image);
    let mut together = vec![0.0; 5 * rows];
    shapes::Model::new(2).expect("threads start").run(&input, &mut together).expect("lengths fit");
    let mut alone = shapes::Model::new(1).expect("threads start");
    for (image, expected) in input.chunks(per_image).zip(together.chunks(rows)) {
        let mut output = vec![0.0; rows];
        alone.run(image, &mut output).expect("lengths fit");
        assert!(output == expected);
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let mut model = shapes::Model::new(1).expect("threads start");
    let error = model.run(&[0.0; 7], &mut [0.0; 7]).expect_err("7 is no image");
    assert!(error.to_string().contains("elements per image"), "{error}");
}

#[test]
fn float_network_is_close() {
    let shape = resnet::SPEC.inputs[0].shape;
    let input = ramp(shape.iter().product());
    let mut output = vec![0.0; resnet::SPEC.outputs[0].len()];
    resnet::Model::new(1).expect("threads start").run(&input, &mut output).expect("lengths fit");
    let expected = interpreted("../corpus/resnet_block/model.onnx", shape, &input);
    let worst = output.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "differs by {worst}");
}
