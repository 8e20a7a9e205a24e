//! `sparsify` on the example detector, made float again, with pieces of its picture.

use peristyle_compiler::interp;
use peristyle_compiler::ir::{Graph, Op, Tensor};
use peristyle_compiler::onnx::proto::tensor_proto::DataType;
use peristyle_compiler::onnx::proto::{NodeProto, TensorProto};
use peristyle_compiler::onnx::rewrite::{NewConv, rewrite};
use peristyle_compiler::onnx::{self, ImportOptions, ModelProto};
use peristyle_compiler::sparsify::dense::Dense;
use peristyle_compiler::sparsify::progress::{Progress, Stage, Step};
use peristyle_compiler::sparsify::{self, Error, Measure, Method, Options, Report, images};
use peristyle_compiler::{Config, passes};
use peristyle_runtime::picture::{Limits, Picture};
use prost::Message;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example").join(name)
}

/// The example detector with the numbers that its integers stand for.
fn float_example() -> ModelProto {
    let bytes = std::fs::read(example("shapes.onnx")).expect("the example is there");
    let mut model = onnx::decode(&bytes).expect("a model");
    let graph = model.graph.as_mut().expect("a graph");
    let stored: HashMap<String, TensorProto> =
        graph.initializer.iter().map(|t| (t.name().to_owned(), t.clone())).collect();
    let producers: HashMap<String, NodeProto> = graph.node.iter().map(|n| (n.output[0].clone(), n.clone())).collect();
    let raw = |name: &str| stored[name].raw_data.clone().expect("raw data");
    let mut weights = Vec::new();
    for node in graph.node.iter_mut().filter(|n| n.op_type() == "Conv") {
        let quantize = &producers[&producers[&node.input[0]].input[0]];
        node.input[0].clone_from(&quantize.input[0]);
        let dequantize = &producers[&node.input[1]];
        let scale = raw(&dequantize.input[1]);
        let scale = f32::from_le_bytes(scale.try_into().expect("one scale"));
        let floats =
            raw(&dequantize.input[0]).iter().flat_map(|&q| (f32::from(q as i8) * scale).to_le_bytes()).collect();
        let name = dequantize.input[0].trim_end_matches(".q").to_owned();
        weights.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(DataType::Float.into()),
            raw_data: Some(floats),
            ..stored[&dequantize.input[0]].clone()
        });
        node.input[1] = name;
    }
    graph.node.retain(|n| !matches!(n.op_type(), "QuantizeLinear" | "DequantizeLinear"));
    graph.initializer.retain(|t| !t.name().ends_with(".q") && !t.name().ends_with(".scale"));
    graph.initializer.retain(|t| !t.name().ends_with(".zero_point"));
    graph.initializer.extend(weights);
    model
}

/// A folder with the float model and pieces of the example's picture.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("dense.onnx"), float_example().encode_to_vec()).expect("writable");
        let picture = Picture::open(&example("example.jpg"), &Limits::default()).expect("a picture");
        std::fs::create_dir(folder.path().join("images")).expect("writable");
        for (i, [left, top]) in [[0, 0], [480, 0], [240, 320]].into_iter().enumerate() {
            let rows = (top..top + 320).flat_map(|y| {
                let start = 3 * (y * picture.width() + left);
                &picture.pixels()[start..start + 3 * 480]
            });
            let piece = Picture::from_rgb(rows.copied().collect(), 480, 320);
            let jpeg = piece.to_jpeg(95).expect("small enough");
            std::fs::write(folder.path().join(format!("images/{i}.jpg")), jpeg).expect("writable");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, output: &str, options: &Options) -> Result<Report, Error> {
        self.run_showing(output, options, &mut |_| {})
    }

    fn run_showing(&self, output: &str, options: &Options, show: &mut dyn FnMut(&Step<'_>)) -> Result<Report, Error> {
        let [dense, output, images] = ["dense.onnx", output, "images"].map(|name| self.path(name));
        sparsify::run(&dense, &output, &images, options, &mut Progress::new(show))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("the file was written")
    }

    fn graph(&self, name: &str) -> Graph {
        let model = onnx::decode(&self.bytes(name)).expect("a model");
        onnx::import(&model, &ImportOptions::default()).expect("it can be imported")
    }

    /// What a model says to the first picture.
    fn answer(&self, name: &str) -> Tensor {
        let paths = images::list(&self.path("images"), 1).expect("there are images");
        let (pictures, _) = images::read(&paths, [320, 320]).expect("an image");
        interp::run(&self.graph(name), &[pictures[0].as_ref().clone()]).expect("it runs").remove(0)
    }
}

/// How far scores are off.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.as_f32().expect("floats"), b.as_f32().expect("floats"));
    let scores = a.chunks_exact(11).zip(b.chunks_exact(11)).flat_map(|(a, b)| a[4..].iter().zip(&b[4..]));
    scores.map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[test]
fn the_same_weights_give_the_same_model() {
    let fixture = Fixture::new();
    let dense = Dense::open(&fixture.path("dense.onnx"), None).expect("suitable");
    assert_eq!(dense.layers.len(), 54);
    let convs: Vec<NewConv> = dense
        .layers
        .iter()
        .map(|layer| NewConv {
            node: layer.name.clone(),
            output: layer.output.clone(),
            shape: layer.shape,
            weight: layer.weight.clone(),
            bias: layer.bias.clone(),
            quantization: None,
        })
        .collect();
    let bytes = rewrite(&dense.bytes, None, &convs).expect("it can be rewritten");
    std::fs::write(fixture.path("same.onnx"), &bytes).expect("writable");
    let [before, after] = ["dense.onnx", "same.onnx"].map(|name| onnx::decode(&fixture.bytes(name)).expect("a model"));
    assert_eq!(before.metadata_props, after.metadata_props);
    assert_eq!((before.producer_name, before.opset_import), (after.producer_name, after.opset_import));
    let graphs = [before.graph.expect("a graph"), after.graph.expect("a graph")];
    let names = |i: usize| {
        let mut names: Vec<&str> = graphs[i].initializer.iter().map(|t| t.name()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(0), names(1));
    assert_eq!(graphs[0].node, graphs[1].node);
    assert_eq!(fixture.answer("dense.onnx"), fixture.answer("same.onnx"));
}

#[test]
fn zeros_are_where_they_cost_least() {
    let fixture = Fixture::new();
    let dense = fixture.bytes("dense.onnx");
    let options = Options { sparsity: 0.8, ..Options::default() };
    let report = fixture.run("sparse.onnx", &options).expect("it is pruned");
    let share = report.sparsity(Measure::Weights);
    assert!((share - 0.8).abs() < 0.003, "{share}");
    let shares = report.layers.iter().map(|l| l.zeros as f64 / l.shape.iter().product::<usize>() as f64);
    let (least, most) = shares.fold((1.0f64, 0.0f64), |(least, most), s| (least.min(s), most.max(s)));
    assert!(most - least > 0.1, "every layer has between {least} and {most}");
    fixture.run("magnitude.onnx", &Options { method: Method::Magnitude, ..options.clone() }).expect("it is pruned");
    let truth = fixture.answer("dense.onnx");
    let [ours, magnitude] = ["sparse.onnx", "magnitude.onnx"].map(|name| distance(&fixture.answer(name), &truth));
    assert!(ours < 0.5 * magnitude, "{ours}, by magnitude {magnitude}");
    assert_eq!(fixture.bytes("dense.onnx"), dense);
    let by_macs = Options { sparsity: 0.6, measure: Measure::Macs, images: 1, ..Options::default() };
    let share = fixture.run("macs.onnx", &by_macs).expect("it is pruned").sparsity(Measure::Macs);
    assert!((share - 0.6).abs() < 0.01, "{share}");
    assert!(!fixture.path("sparse.onnx.resume").exists());
}

#[test]
fn blocks_of_four_and_integers_compile() {
    let fixture = Fixture::new();
    let options = Options { sparsity: 0.5, block: 4, quantize: true, ..Options::default() };
    fixture.run("sparse.onnx", &options).expect("it is pruned");
    let mut graph = fixture.graph("sparse.onnx");
    let report = passes::run(&mut graph).expect("it compiles");
    assert_eq!(report.quantized_convs, 54);
    for node in graph.nodes.iter().filter(|n| matches!(n.op, Op::Conv(_))) {
        let weight = graph.constant(node.inputs[1]).expect("a constant");
        assert!(weight.as_i8().is_some(), "{}", node.name);
    }
    let mut zero_blocks = 0;
    let mut broken = 0;
    let model = onnx::decode(&fixture.bytes("sparse.onnx")).expect("a model");
    for tensor in model.graph.expect("a graph").initializer.iter().filter(|t| t.name().ends_with("weight.q")) {
        let &[outputs, inputs, height, width] = &tensor.dims[..] else { panic!("four axes") };
        let window = (height * width) as usize;
        let raw = tensor.raw_data.as_deref().expect("raw data");
        assert_eq!(raw.len(), (outputs * inputs) as usize * window);
        if inputs % 4 != 0 {
            continue;
        }
        for four in raw.chunks_exact(4 * window) {
            for at in 0..window {
                let zeros = (0..4).filter(|i| four[i * window + at] == 0).count();
                zero_blocks += usize::from(zeros == 4);
                broken += usize::from(zeros == 3);
            }
        }
    }
    assert!(zero_blocks > 20 * broken, "{zero_blocks} blocks of zeros, {broken} of three zeros");
    let compilation = Config::new().analyze(fixture.path("sparse.onnx")).expect("it compiles");
    assert_eq!(compilation.identity.class_names.len(), 6);
}

#[test]
fn work_is_taken_up_where_it_was_stopped() {
    let fixture = Fixture::new();
    let options = Options { sparsity: 0.6, images: 2, ..Options::default() };
    let stopped = std::panic::catch_unwind(|| {
        fixture.run_showing("sparse.onnx", &options, &mut |step| {
            assert!(step.stage != Stage::Prune || step.done < 20, "stopped by the user");
        })
    });
    assert!(stopped.is_err());
    assert!(!fixture.path("sparse.onnx").exists());
    let resume = fixture.path("sparse.onnx.resume");
    // The last record may be cut short.
    let state = fixture.bytes("sparse.onnx.resume");
    std::fs::write(&resume, &state[..state.len() - 7]).expect("writable");
    let mut measured = 0;
    let report = fixture.run_showing("sparse.onnx", &options, &mut |step| {
        measured += usize::from(step.stage == Stage::Sensitivity);
    });
    assert!(report.expect("it is pruned").resumed);
    assert_eq!(measured, 0);
    let at_once = fixture.run("at-once.onnx", &options).expect("it is pruned");
    assert!(!at_once.resumed);
    assert!(fixture.bytes("sparse.onnx") == fixture.bytes("at-once.onnx"), "the same bytes");

    // Another sparsity starts afresh.
    std::fs::write(&resume, &state).expect("writable");
    let report = fixture.run("sparse.onnx", &Options { sparsity: 0.5, images: 1, ..options }).expect("it is pruned");
    assert!(!report.resumed);
}

#[test]
fn what_cannot_be_done_is_said() {
    let fixture = Fixture::new();
    let fail = |options: Options| match fixture.run("out.onnx", &options) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{options:?} cannot be done"),
    };
    let options = Options::default;
    for (options, expected) in [
        (Options { sparsity: 1.5, ..options() }, "--sparsity 1.5"),
        (Options { sparsity: f64::NAN, ..options() }, "--sparsity NaN"),
        (Options { sparsity: 0.99, ..options() }, "cannot be reached"),
        (Options { block: 0, ..options() }, "--block 0"),
        (Options { block: 7, ..options() }, "--block 7"),
        (Options { images: 0, ..options() }, "--images 0"),
        (Options { recipe: Some(fixture.path("none.yaml")), ..options() }, "cannot read recipe"),
    ] {
        let error = fail(options);
        assert!(error.contains(expected), "{error}");
    }
    let recipe = fixture.path("recipe.yaml");
    let text = "m: [!GMPruningModifier {params: [model.0.conv.weight], final_sparsity: 0.5}]";
    std::fs::write(&recipe, text).expect("writable");
    let error = fail(Options { recipe: Some(recipe), ..options() });
    assert!(error.contains("`model.0.conv.weight`") && error.contains("stem.weight"), "{error}");

    let run = |model: &Path, output: &Path, images: &Path| {
        let result = sparsify::run(model, output, images, &options(), &mut Progress::new(&mut |_| {}));
        result.expect_err("it cannot be done").to_string()
    };
    let [dense, out, images] = ["dense.onnx", "out.onnx", "images"].map(|name| fixture.path(name));
    assert!(run(&dense, &dense, &images).contains("the dense model itself"));
    assert!(run(&dense, &fixture.path("no/out.onnx"), &images).contains("there is no folder"));
    assert!(run(&example("shapes.onnx"), &out, &images).contains("quantised already"));
    assert!(run(&dense, &out, &fixture.path("none")).contains("calibration images"));
    let empty = fixture.path("empty");
    std::fs::create_dir(&empty).expect("writable");
    assert!(run(&dense, &out, &empty).contains("there are no images in it"));
    std::fs::write(empty.join("a.jpg"), b"no picture").expect("writable");
    assert!(run(&dense, &out, &empty).contains("a.jpg"));
    assert!(!out.exists());
}

#[test]
fn a_recipe_gives_the_sparsities() {
    let fixture = Fixture::new();
    let recipe = fixture.path("recipe.md");
    let text = "---
modifiers:
  - !GMPruningModifier {params: ['re:stage(8|16).*'], final_sparsity: 0.75}
  - !GMPruningModifier {params: [down8.weight], final_sparsity: 0.9}
---
";
    std::fs::write(&recipe, text).expect("writable");
    let report =
        fixture.run("sparse.onnx", &Options { recipe: Some(recipe), images: 1, ..Options::default() }).expect("pruned");
    for layer in &report.layers {
        let share = layer.zeros as f64 / layer.shape.iter().product::<usize>() as f64;
        let wanted = match layer.name.as_str() {
            "down8.weight" => 0.9,
            name if name.starts_with("stage8.") || name.starts_with("stage16.") => 0.75,
            _ => continue,
        };
        assert!((share - wanted).abs() < 0.02, "{}: {share}", layer.name);
    }
}
