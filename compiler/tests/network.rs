//! The trainable network: forward against the interpreter, backward against differences.

use peristyle_compiler::interp;
use peristyle_compiler::ir::*;
use peristyle_compiler::sparsify::network::*;
use peristyle_compiler::{Config, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| next() * 2.0 - 1.0).collect()
}

fn corpus(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(case).join("model.onnx")
}

/// Runs the network on noise and compares every convolution's output with the interpreter's.
fn agrees_with_interpreter(graph: &Graph) -> (Network, Workspace) {
    let network = Network::new(graph).expect("a trainable graph");
    let graph = trainable(graph).expect("the passes take the graph");
    let shape = graph.ty(graph.inputs[0]).shape.clone();
    let image = noise(shape.iter().product(), 7);
    let mut workspace = network.workspace([shape[2], shape[3]]).expect("the size of the model");
    let mut seen = Vec::new();
    network.forward_observed(&network.weights(), &image, &mut workspace, &mut |index, input, shape| {
        assert_eq!(input.len(), shape.len());
        seen.push(index);
    });
    assert_eq!(seen, (0..network.convolutions().len()).collect::<Vec<_>>(), "every convolution is observed once");
    let mut expected = BTreeMap::new();
    interp::run_traced(&graph, &[Tensor::f32(shape, image)], &mut |node, results| {
        if matches!(node.op, Op::Conv(_)) {
            expected.insert(node.name.clone(), results[0].as_f32().expect("a float map").to_vec());
        }
    })
    .expect("the interpreter runs the graph");
    for (index, convolution) in network.convolutions().iter().enumerate() {
        let (ours, theirs) = (workspace.map(network.output_of(index)), &expected[&convolution.name]);
        let largest = theirs.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert_eq!(ours.len(), theirs.len(), "{}", convolution.name);
        for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
            assert!((a - b).abs() <= 2e-5 * largest, "{} at {at}: {a} is not {b}", convolution.name);
        }
    }
    (network, workspace)
}

#[test]
fn convolutions_compute_what_the_interpreter_does() {
    let cases = [
        "conv_batch_norm_relu6",
        "conv_depthwise_dilated",
        "conv_grouped_valid",
        "conv_stride_asymmetric_pads",
        "detector_decoded",
        "detector_raw_heads",
        "resnet_block",
        "silu_bottleneck",
        "spatial_pyramid",
    ];
    for case in cases {
        let graph = Config::new().import(corpus(case)).unwrap_or_else(|e| panic!("{case}: {e}"));
        let (network, _) = agrees_with_interpreter(&graph);
        assert!(!network.convolutions().is_empty(), "{case}");
    }
}

#[test]
fn a_detector_is_known_by_its_raw_heads() {
    let graph = Config::new().import(corpus("detector_decoded")).expect("the model can be imported");
    let (network, workspace) = agrees_with_interpreter(&graph);
    let head = network.head().expect("the decode is recognised");
    assert_eq!(head.levels.len(), network.outputs().len());
    for (level, &output) in head.levels.iter().zip(network.outputs()) {
        assert_eq!(workspace.shape(output).channels, level.anchors.len() * head.outputs);
    }
    let graph = Config::new().import(corpus("detector_raw_heads")).expect("the model can be imported");
    let (network, workspace) = agrees_with_interpreter(&graph);
    assert!(network.head().is_none(), "two levels without anchors in the metadata cannot be decoded");
    for (&output, &value) in network.outputs().iter().zip(&graph.outputs) {
        assert_eq!(workspace.map(output).len(), graph.ty(value).len(), "the maps below reshapes and transposes");
    }
}

#[test]
fn what_cannot_be_trained_is_listed() {
    let graph = Config::new().import(corpus("attention")).expect("the model can be imported");
    let error = Network::new(&graph).expect_err("a MatMul has no gradient here").to_string();
    assert!(error.contains("matmul") || error.contains("softmax"), "{error}");
}

/// YOLOv5n at a size other than that it was exported with.
#[test]
fn a_real_detector_agrees_at_a_small_size() -> Result<(), Error> {
    let folder = std::env::var_os("PERISTYLE_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let model = folder.join("models/yolov5n-dynamic.onnx");
    if !model.exists() {
        eprintln!("skipped: {} is not there; PERISTYLE_TEST_DATA names the folder of real models", model.display());
        return Ok(());
    }
    let graph = Config::new().imgsz(64, 96).import(&model)?;
    let (network, _) = agrees_with_interpreter(&graph);
    assert!(network.convolutions().iter().any(|c| c.weight_name == "model.0.conv.weight"));
    let head = network.head().expect("a detector");
    assert_eq!(head.levels.iter().map(|l| l.stride).collect::<Vec<_>>(), [8.0, 16.0, 32.0]);
    assert!(network.workspace([320, 320]).is_ok());
    let uneven = network.workspace([100, 100]).expect_err("the levels do not meet").to_string();
    assert!(uneven.contains("multiple of the largest stride"), "{uneven}");
    Ok(())
}

/// Half the squared sum of some maps, each element with a weight of its own.
struct Weighted<'a> {
    maps: &'a [MapId],
}

impl Weighted<'_> {
    fn of(&self, workspace: &Workspace) -> f64 {
        let of_map = |map: &MapId| {
            let elements = workspace.map(*map);
            let weights = noise(elements.len(), 100 + map.index() as u64);
            elements.iter().zip(weights).map(|(x, w)| f64::from(w) * f64::from(*x) * f64::from(*x) / 2.0).sum::<f64>()
        };
        self.maps.iter().map(of_map).sum()
    }
}

impl Loss for Weighted<'_> {
    fn reads(&self, map: MapId) -> bool {
        self.maps.contains(&map)
    }

    fn differentiate(&mut self, map: MapId, _: Shape, elements: &[f32], gradient: &mut [f32]) {
        let weights = noise(elements.len(), 100 + map.index() as u64);
        gradient.iter_mut().zip(elements).zip(weights).for_each(|((g, x), w)| *g += w * x);
    }
}

/// Compares the gradient by every parameter tensor, along a random direction, with a difference of losses.
fn gradients_are_differences(what: &str, network: &Network, size: [usize; 2]) {
    let mut maps = network.outputs().to_vec();
    maps.push(network.output_of(0));
    maps.sort_unstable();
    maps.dedup();
    let mut loss = Weighted { maps: &maps };
    let mut workspace = network.training_workspace(size).expect("the size fits");
    let image = noise(workspace.shape(network.input()).len(), 3);
    let mut gradients = Gradients::zeros(network);
    for _ in 0..2 {
        // The second run finds used buffers.
        gradients.clear();
        network.forward(&network.weights(), &image, &mut workspace);
        network.backward(&network.weights(), &mut workspace, &mut loss, &mut gradients);
    }
    let mut moved = |change: &dyn Fn(&mut Network, f32)| {
        let mut at = |step: f32| {
            let mut network = network.clone();
            change(&mut network, step);
            network.forward(&network.weights(), &image, &mut workspace);
            loss.of(&workspace)
        };
        let step = 2e-4;
        (at(step) - at(-step)) / f64::from(2.0 * step)
    };
    for (index, convolution) in network.convolutions().iter().enumerate() {
        let along = [noise(convolution.weight.len(), 11), noise(convolution.bias.len(), 12)];
        let differences = [
            moved(&|n, step| shift(&mut n.convolutions_mut()[index].weight, &along[0], step)),
            moved(&|n, step| shift(&mut n.convolutions_mut()[index].bias, &along[1], step)),
        ];
        for ((gradient, along), difference) in
            [&gradients.weights[index], &gradients.biases[index]].into_iter().zip(&along).zip(differences)
        {
            let slope: f64 = gradient.iter().zip(along).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 0.0, "{what}: nothing reaches `{}`", convolution.name);
            let tolerance = 1e-2 * norm + 1e-4;
            assert!(
                (slope - difference).abs() <= tolerance,
                "{what}, {}: the gradient says {slope}, the loss changes by {difference} (norm {norm})",
                convolution.name
            );
        }
    }
}

fn shift(parameters: &mut [f32], along: &[f32], step: f32) {
    parameters.iter_mut().zip(along).for_each(|(p, d)| *p += step * d);
}

/// A graph that is made node by node.
struct Sketch {
    graph: Graph,
    seed: u64,
}

impl Sketch {
    fn new(channels: usize, [height, width]: [usize; 2]) -> (Self, ValueId) {
        let mut graph = Graph::default();
        let input = graph.add_value("image", Type::new(DType::F32, [1, channels, height, width]));
        graph.inputs.push(input);
        (Sketch { graph, seed: 20 }, input)
    }

    fn convolution(&mut self, input: ValueId, outputs: usize, geometry: ConvGeometry) -> ValueId {
        let [_, channels, height, width] = self.graph.ty(input).shape[..] else { panic!("a map") };
        let [kh, kw] = geometry.kernel;
        let shape = [outputs, channels / geometry.group, kh, kw];
        self.seed += 1;
        let taps = shape[1] * kh * kw;
        let weight = noise(outputs * taps, self.seed).iter().map(|w| w / (taps as f32).sqrt() * 2.0).collect();
        let name = format!("conv{}", self.seed);
        let weight = self.graph.add_constant(format!("{name}.weight"), Tensor::f32(shape, weight));
        let bias =
            self.graph.add_constant(format!("{name}.bias"), Tensor::f32([outputs], noise(outputs, self.seed + 50)));
        let extent = |axis: usize, extent: usize| {
            let covered = geometry.dilation[axis] * (geometry.kernel[axis] - 1) + 1;
            (extent + geometry.pad[axis] + geometry.pad[axis + 2] - covered) / geometry.stride[axis] + 1
        };
        let ty = Type::new(DType::F32, [1, outputs, extent(0, height), extent(1, width)]);
        let op = Op::Conv(Conv { geometry, quant: None, epilogue: Epilogue::default() });
        self.graph.add_node(name, op, vec![input, weight, bias], ty)
    }

    fn node(&mut self, op: Op, inputs: Vec<ValueId>, shape: &[usize]) -> ValueId {
        self.seed += 1;
        self.graph.add_node(format!("node{}", self.seed), op, inputs, Type::new(DType::F32, shape))
    }

    fn finish(mut self, output: ValueId) -> Network {
        self.graph.outputs.push(output);
        Network::new(&self.graph).expect("a trainable graph")
    }
}

fn window(kernel: usize, stride: usize, pad: usize, dilation: usize, group: usize) -> ConvGeometry {
    ConvGeometry { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 4], dilation: [dilation; 2], group }
}

#[test]
fn convolutions_have_the_gradients_of_differences() {
    let cases = [
        window(1, 1, 0, 1, 1),
        window(3, 1, 1, 1, 1),
        window(3, 2, 1, 1, 1),
        window(2, 2, 0, 1, 1),
        window(3, 3, 2, 1, 2),
        window(3, 1, 2, 2, 1),
        window(3, 1, 1, 1, 4),
        window(6, 2, 2, 1, 1),
        ConvGeometry { kernel: [1, 3], stride: [1, 2], pad: [0, 0, 0, 2], dilation: [1, 1], group: 2 },
    ];
    for geometry in cases {
        let (mut sketch, image) = Sketch::new(2, [9, 11]);
        let first = sketch.convolution(image, 4, window(3, 1, 1, 1, 1));
        let second = sketch.convolution(first, 8, geometry.clone());
        gradients_are_differences(&format!("{geometry:?}"), &sketch.finish(second), [9, 11]);
    }
}

#[test]
fn activations_have_the_gradients_of_differences() {
    let activations = [
        Activation::Silu,
        Activation::Sigmoid,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Relu,
        Activation::HardSwish,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::Clip { lo: -0.5, hi: 0.75 },
    ];
    for activation in activations {
        // Once in the epilogue, once on its own because the sums are read twice.
        for alone in [false, true] {
            let (mut sketch, image) = Sketch::new(2, [12, 10]);
            let first = sketch.convolution(image, 4, window(3, 1, 1, 1, 1));
            let activated = sketch.node(Op::Activation(activation), vec![first], &[1, 4, 12, 10]);
            let joined = if alone { vec![activated, first] } else { vec![activated, activated] };
            let joined = sketch.node(Op::Concat { axis: 1 }, joined, &[1, 8, 12, 10]);
            let last = sketch.convolution(joined, 3, window(1, 1, 0, 1, 1));
            gradients_are_differences(&format!("{activation:?}"), &sketch.finish(last), [12, 10]);
        }
    }
}

/// Adds a layer over two maps.
type Draw<'d> = &'d dyn Fn(&mut Sketch, ValueId, ValueId) -> ValueId;

#[test]
fn what_lies_between_convolutions_has_the_gradients_of_differences() {
    let shape = [1, 4, 8, 8];
    let cases: [(&str, Draw<'_>); 5] = [
        ("add", &|s, a, b| {
            let sum = s.node(Op::Binary(Binary::Add), vec![a, b], &shape);
            s.node(Op::Concat { axis: 1 }, vec![sum, a, b], &[1, 12, 8, 8])
        }),
        ("residual", &|s, a, b| s.node(Op::Binary(Binary::Add), vec![a, b], &shape)),
        ("max pool", &|s, a, _| {
            let pool = Pool { kernel: [5, 5], stride: [1, 1], pad: [2; 4] };
            let once = s.node(Op::MaxPool(pool.clone()), vec![a], &shape);
            let twice = s.node(Op::MaxPool(pool), vec![once], &shape);
            s.node(Op::Concat { axis: 1 }, vec![a, once, twice], &[1, 12, 8, 8])
        }),
        ("enlarge", &|s, a, _| s.node(Op::ResizeNearest { scale: [2, 3] }, vec![a], &[1, 4, 16, 24])),
        ("global average", &|s, a, _| s.node(Op::GlobalAveragePool, vec![a], &[1, 4, 1, 1])),
    ];
    for (what, middle) in cases {
        let (mut sketch, image) = Sketch::new(3, [16, 16]);
        let stem = sketch.convolution(image, 4, window(3, 2, 1, 1, 1));
        let a = sketch.node(Op::Activation(Activation::Silu), vec![stem], &shape);
        let b = sketch.convolution(a, 4, window(3, 1, 1, 1, 1));
        let b = sketch.node(Op::Activation(Activation::Silu), vec![b], &shape);
        let middle = middle(&mut sketch, a, b);
        let last = sketch.convolution(middle, 5, window(1, 1, 0, 1, 1));
        gradients_are_differences(what, &sketch.finish(last), [16, 16]);
    }
}

#[test]
fn whole_networks_have_the_gradients_of_differences() {
    for case in ["silu_bottleneck", "spatial_pyramid", "detector_decoded", "detector_raw_heads"] {
        let graph = Config::new().import(corpus(case)).expect("the model can be imported");
        let shape = graph.ty(graph.inputs[0]).shape.clone();
        gradients_are_differences(case, &Network::new(&graph).expect("a trainable graph"), [shape[2], shape[3]]);
    }
}

/// Rounding counts as the identity within the range, and what is cut off gets no gradient.
#[test]
fn simulated_quantisation_passes_gradients_within_the_range() {
    let (mut sketch, image) = Sketch::new(1, [4, 4]);
    let first = sketch.convolution(image, 1, window(1, 1, 0, 1, 1));
    let last = sketch.convolution(first, 1, window(1, 1, 0, 1, 1));
    let mut network = sketch.finish(last);
    for (convolution, weight) in network.convolutions_mut().iter_mut().zip([1.0, 2.0]) {
        convolution.weight = vec![weight];
        convolution.bias = vec![0.0];
        convolution.quantise_weight = true;
    }
    network.convolutions_mut()[1].input_range = Some(InputRange::covering(-1.0, 1.0));
    let image: Vec<f32> = (0..16).map(|i| (i as f32 - 8.0) / 4.0).collect();
    let mut workspace = network.training_workspace([4, 4]).expect("the size fits");
    let weights = network.weights();
    network.forward(&weights, &image, &mut workspace);
    let [lo, hi] = InputRange::covering(-1.0, 1.0).bounds();
    for (&x, &y) in image.iter().zip(workspace.map(network.outputs()[0])) {
        assert!((y - 2.0 * x.clamp(lo, hi)).abs() <= 1.0 / 127.0, "{x} became {y}");
    }
    struct Sum(MapId);
    impl Loss for Sum {
        fn reads(&self, map: MapId) -> bool {
            map == self.0
        }
        fn differentiate(&mut self, _: MapId, _: Shape, _: &[f32], gradient: &mut [f32]) {
            gradient.iter_mut().for_each(|g| *g += 1.0);
        }
    }
    let mut gradients = Gradients::zeros(&network);
    network.backward(&weights, &mut workspace, &mut Sum(network.outputs()[0]), &mut gradients);
    let inside: f32 = image.iter().filter(|x| (lo..=hi).contains(*x)).sum();
    assert!((gradients.weights[0][0] - 2.0 * inside).abs() < 1e-4, "{:?} is not {inside}", gradients.weights[0]);
}

#[test]
fn masked_weights_are_zero_and_weights_round_to_127_steps() {
    let (mut sketch, image) = Sketch::new(2, [4, 4]);
    let output = sketch.convolution(image, 4, window(3, 1, 1, 1, 1));
    let mut network = sketch.finish(output);
    let convolution = &mut network.convolutions_mut()[0];
    convolution.set_mask(Some((0..72).map(|i| i % 3 == 0).collect()));
    assert!((convolution.sparsity() - 2.0 / 3.0).abs() < 1e-9);
    let rounded = quantised_weight(&convolution.weight);
    let step = convolution.weight.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 127.0;
    for (w, r) in convolution.weight.iter().zip(rounded) {
        let steps = r / step;
        assert!((r - w).abs() <= step * 0.501 && (steps - steps.round()).abs() < 1e-3, "{w} became {r}");
        assert!(*w != 0.0 || r == 0.0, "zeros stay zeros");
    }
}
