use super::build::*;
use peristyle_compiler::onnx::proto::tensor_proto::{DataLocation, DataType};
use peristyle_compiler::onnx::proto::{StringStringEntryProto, TensorProto};
use peristyle_compiler::onnx::{self, ImportOptions, ModelProto};
use std::fmt::Write;
use std::path::Path;

fn conv(opset: i64, attributes: Vec<onnx::proto::AttributeProto>) -> ModelProto {
    one_node(opset, vec![ones("w", &[2, 4, 3, 3])], node("Conv", &["x", "w"], &["y"], attributes))
}

fn external(location: &str, offset: &str) -> ModelProto {
    let entry = |k: &str, v: &str| StringStringEntryProto { key: Some(k.into()), value: Some(v.into()) };
    let w = TensorProto {
        data_location: Some(DataLocation::External.into()),
        external_data: vec![entry("location", location), entry("offset", offset)],
        ..raw("w", DataType::Float, &[4, 1, 1], &[])
    };
    one_node(13, vec![w], node("Mul", &["x", "w"], &["y"], vec![]))
}

fn sized(nodes: Vec<onnx::proto::NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    model(13, vec![input("x", DataType::Float, &[1, 4, 6, 6])], initializers, nodes, &["y"])
}

/// A message and those of its sources, none of which the one before repeats.
fn chain(error: &dyn std::error::Error) -> String {
    let Some(source) = error.source() else { return error.to_string() };
    let (effect, cause) = (error.to_string(), chain(source));
    assert!(!effect.contains(&source.to_string()), "{effect} | {cause}");
    format!("{effect}: {cause}")
}

/// Models that are refused, by what is wrong with them.
fn refused() -> Vec<(&'static str, ModelProto)> {
    let float = DataType::Float;
    let relu = || node("Relu", &["x"], &["y"], vec![]);
    vec![
        ("no operator set", ModelProto { opset_import: vec![], ..one_node(13, vec![], relu()) }),
        ("old operator set", one_node(6, vec![], relu())),
        ("no outputs", model(13, vec![input("x", float, &[1, 2])], vec![], vec![], &[])),
        ("undefined output", one_node(13, vec![], node("Relu", &["x"], &["z"], vec![]))),
        ("undefined input", one_node(13, vec![], node("Relu", &["q"], &["y"], vec![]))),
        (
            "cycle",
            sized(
                vec![
                    node("Add", &["x", "b"], &["a"], vec![]),
                    node("Relu", &["a"], &["b"], vec![]),
                    node("Relu", &["b"], &["y"], vec![]),
                ],
                vec![],
            ),
        ),
        ("value defined twice", sized(vec![relu(), relu()], vec![])),
        ("tensor defined twice", one_node(13, vec![ones("w", &[1]), ones("w", &[1])], relu())),
        ("symbolic size", model(13, vec![input("x", float, &[0, 3, 0, 0])], vec![], vec![relu()], &["y"])),
        ("symbolic channels", model(13, vec![input("x", float, &[0, 0, 6, 6])], vec![], vec![relu()], &["y"])),
        ("negative extent", model(13, vec![input("x", float, &[1, -7])], vec![], vec![relu()], &["y"])),
        ("huge input", model(13, vec![input("x", float, &[1, 1 << 40, 1 << 40])], vec![], vec![relu()], &["y"])),
        ("input of strings", model(13, vec![input("x", DataType::String, &[1, 2])], vec![], vec![relu()], &["y"])),
        (
            "tensor of the wrong size",
            one_node(13, vec![floats("w", &[4], &[1.0])], node("Add", &["x", "w"], &["y"], vec![])),
        ),
        (
            "tensor with huge extents",
            one_node(13, vec![raw("w", float, &[1 << 40, 1 << 40], &[0; 4])], node("Add", &["x", "w"], &["y"], vec![])),
        ),
        (
            "tensor with a negative extent",
            one_node(13, vec![raw("w", float, &[-1], &[0; 4])], node("Add", &["x", "w"], &["y"], vec![])),
        ),
        (
            "tensor of an unsupported type",
            one_node(13, vec![raw("w", DataType::Int4, &[2], &[0])], node("Add", &["x", "w"], &["y"], vec![])),
        ),
        ("missing external file", external("weights.bin", "0")),
        ("external file outside", external("../../etc/passwd", "0")),
        ("absolute external file", external("/etc/passwd", "0")),
        ("external offset", external("external_data/weights.bin", "99999999999")),
        ("external offset is no number", external("external_data/weights.bin", "-1")),
        (
            "unknown operators",
            sized(
                vec![
                    node("Conv3000", &["x"], &["a"], vec![]),
                    node("Relu", &["a"], &["b"], vec![]),
                    node("NonMaxSuppression", &["b"], &["c"], vec![]),
                    node("Elu", &["x"], &["d"], vec![]),
                    node("Sum", &["c", "d"], &["y"], vec![]),
                ],
                vec![],
            ),
        ),
        (
            "unknown domain",
            one_node(
                13,
                vec![],
                onnx::proto::NodeProto { domain: Some("acme".into()), name: Some("n".into()), ..relu() },
            ),
        ),
        ("attribute of the wrong type", conv(13, vec![string("strides", "2")])),
        ("attribute of the wrong length", conv(13, vec![ints("strides", &[2])])),
        ("zero stride", conv(13, vec![ints("strides", &[0, 1])])),
        ("negative pads", conv(13, vec![ints("pads", &[0, 0, -1, 0])])),
        ("huge dilation", conv(13, vec![ints("dilations", &[1 << 50, 1])])),
        ("window beyond the input", conv(13, vec![ints("dilations", &[9, 9])])),
        ("group does not divide", conv(13, vec![int("group", 3)])),
        ("unknown auto_pad", conv(13, vec![string("auto_pad", "SAME")])),
        ("weight is not constant", sized(vec![node("Conv", &["x", "x"], &["y"], vec![])], vec![])),
        ("missing input", one_node(13, vec![], node("Conv", &["x"], &["y"], vec![]))),
        (
            "element type",
            model(
                13,
                vec![input("x", DataType::Uint8, &[1, 4, 6, 6])],
                vec![],
                vec![node("Sigmoid", &["x"], &["y"], vec![])],
                &["y"],
            ),
        ),
        ("no broadcast", one_node(13, vec![ones("w", &[5])], node("Add", &["x", "w"], &["y"], vec![]))),
        ("reshape", one_node(13, vec![longs("s", &[2], &[7, -1])], node("Reshape", &["x", "s"], &["y"], vec![]))),
        ("reshape to a computed shape", one_node(13, vec![], node("Reshape", &["x", "x"], &["y"], vec![]))),
        (
            "concat",
            one_node(13, vec![ones("w", &[1, 4, 5, 6])], node("Concat", &["x", "w"], &["y"], vec![int("axis", 1)])),
        ),
        ("axis", one_node(13, vec![], node("Softmax", &["x"], &["y"], vec![int("axis", 4)]))),
        (
            "split",
            one_node(
                13,
                vec![longs("s", &[2], &[1, 2])],
                node("Split", &["x", "s"], &["y", "z"], vec![int("axis", 1)]),
            ),
        ),
        (
            "empty slice",
            one_node(
                9,
                vec![],
                node("Slice", &["x"], &["y"], vec![ints("starts", &[3]), ints("ends", &[2]), ints("axes", &[2])]),
            ),
        ),
        (
            "linear resize",
            one_node(
                13,
                vec![floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])],
                node("Resize", &["x", "", "s"], &["y"], vec![string("mode", "linear")]),
            ),
        ),
        (
            "fractional resize",
            one_node(
                13,
                vec![floats("s", &[4], &[1.0, 1.0, 1.5, 1.5])],
                node("Resize", &["x", "", "s"], &["y"], vec![]),
            ),
        ),
        (
            "uneven resize",
            one_node(
                13,
                vec![floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])],
                node("Resize", &["x", "", "s"], &["y"], vec![string("nearest_mode", "floor")]),
            ),
        ),
        (
            "loose padding",
            sized(
                vec![node("Pad", &["x", "p"], &["a"], vec![]), node("Relu", &["a"], &["y"], vec![])],
                vec![longs("p", &[8], &[0, 0, 1, 1, 0, 0, 1, 1])],
            ),
        ),
        (
            "reflected padding",
            one_node(
                13,
                vec![longs("p", &[8], &[0, 0, 1, 1, 0, 0, 1, 1])],
                node("Pad", &["x", "p"], &["y"], vec![string("mode", "reflect")]),
            ),
        ),
        ("scale", one_node(13, vec![floats("s", &[], &[0.0])], node("QuantizeLinear", &["x", "s"], &["y"], vec![]))),
        (
            "scales per channel",
            one_node(13, vec![ones("s", &[3])], node("QuantizeLinear", &["x", "s"], &["y"], vec![])),
        ),
        (
            "blocked quantisation",
            one_node(
                21,
                vec![ones("s", &[1])],
                node("QuantizeLinear", &["x", "s"], &["y"], vec![int("block_size", 32)]),
            ),
        ),
        ("dynamic quantisation", one_node(13, vec![], node("DynamicQuantizeLinear", &["x"], &["y"], vec![]))),
        (
            "huge table",
            one_node(13, vec![longs("s", &[2], &[1 << 20, 1 << 20])], node("ConstantOfShape", &["s"], &["y"], vec![])),
        ),
        (
            "huge range",
            one_node(
                13,
                vec![longs("a", &[], &[0]), longs("b", &[], &[i64::MAX]), longs("c", &[], &[1])],
                node("Range", &["a", "b", "c"], &["y"], vec![]),
            ),
        ),
        ("overflow", one_node(13, vec![longs("a", &[], &[i64::MAX])], node("Mul", &["a", "a"], &["y"], vec![]))),
        ("division by zero", one_node(13, vec![longs("a", &[], &[0])], node("Div", &["a", "a"], &["y"], vec![]))),
        (
            "too many axes",
            one_node(13, vec![longs("a", &[5], &[0, 1, 2, 3, 4])], node("Unsqueeze", &["x", "a"], &["y"], vec![])),
        ),
    ]
}

/// The words of every refusal.
#[test]
fn refusals() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let options = ImportOptions { imgsz: None, base_dir: Some(folder.clone()) };
    let mut text = String::new();
    let mut add = |what: &str, error: String| {
        let error = error.replace(&folder.display().to_string(), "FOLDER");
        writeln!(text, "# {what}\n{error}\n").expect("writing to a string");
    };
    for (what, bytes) in [("empty", &b""[..]), ("not protobuf", b"\xff\xff\xff\xff"), ("no graph", b"\x08\x07")] {
        add(what, chain(&onnx::decode(bytes).expect_err(what)));
    }
    let whole = std::fs::read(folder.join("focus/model.onnx")).expect("the corpus is there");
    add("cut short", chain(&onnx::decode(&whole[..whole.len() / 2]).expect_err("half a model")));
    for (what, model) in refused() {
        match onnx::import(&model, &options) {
            Ok(_) => panic!("{what}: imported"),
            Err(error) => add(what, chain(&error)),
        }
    }
    let mut declared = sized(
        vec![
            node("Elu", &["x"], &["a"], vec![]),
            node("Conv", &["a", "w"], &["b"], vec![int("group", 3)]),
            node("Softmax", &["b"], &["y"], vec![int("axis", 9)]),
        ],
        vec![ones("w", &[2, 4, 3, 3])],
    );
    declared.graph.as_mut().expect("a graph").value_info = vec![input("a", DataType::Float, &[1, 4, 6, 6])];
    add("nodes behind one that failed", onnx::import(&declared, &options).expect_err("faults").to_string());
    let baked = sized(vec![node("Reshape", &["x", "s"], &["y"], vec![])], vec![longs("s", &[3], &[1, 4, 36])]);
    let options = ImportOptions { imgsz: Some([8, 8]), base_dir: None };
    add("another size", chain(&onnx::import(&baked, &options).expect_err("another size")));
    add("no folder", onnx::import(&external("w", "0"), &ImportOptions::default()).expect_err("no folder").to_string());
    insta::assert_snapshot!(text);
}
