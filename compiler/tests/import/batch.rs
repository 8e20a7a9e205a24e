//! Inputs with a static extent above 1 on axis 0: a batch where every node treats it as one, refused where not.

use super::build::*;
use crate::models;
use peristyle_compiler::ir::{DType, Op, Type};
use peristyle_compiler::onnx::proto::tensor_proto::DataType;
use peristyle_compiler::onnx::proto::tensor_shape_proto::dimension::Value as Extent;
use peristyle_compiler::onnx::proto::type_proto::Value;
use peristyle_compiler::onnx::proto::{NodeProto, TensorProto};
use peristyle_compiler::onnx::{self, ImportOptions, ModelProto};
use std::path::{Path, PathBuf};

/// A model over `x` of these extents, with the output `y`.
fn over(x: &[i64], initializers: Vec<TensorProto>, nodes: Vec<NodeProto>) -> ModelProto {
    model(13, vec![input("x", DataType::Float, x)], initializers, nodes, &["y"])
}

fn one(x: &[i64], initializers: Vec<TensorProto>, node: NodeProto) -> ModelProto {
    over(x, initializers, vec![node])
}

/// The node after which the batch would be lost is the one that is refused.
#[test]
fn nodes_that_look_across_the_batch_are_refused() {
    let varied: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let slice =
        |start, end| vec![longs("starts", &[1], &[start]), longs("ends", &[1], &[end]), longs("axes", &[1], &[0])];
    let sliced = || node("Slice", &["x", "starts", "ends", "axes"], &["y"], vec![]);
    let unsqueeze = |axis| longs("a", &[1], &[axis]);
    let scatter = |rows: &[i64]| vec![longs("i", &[rows.len() as i64, 1], rows), ones("u", &[rows.len() as i64, 8])];
    let reshaped = |target: &[i64]| {
        let target = longs("s", &[target.len() as i64], target);
        one(&[4, 8, 8], vec![target], node("Reshape", &["x", "s"], &["y"], vec![]))
    };
    let models = [
        one(&[4, 8], vec![], node("Softmax", &["x"], &["y"], vec![int("axis", 0)])),
        one(&[4, 8], vec![], node("Softmax", &["x"], &["y"], vec![int("axis", -2)])),
        one(&[4, 8], vec![], node("Concat", &["x", "x"], &["y"], vec![int("axis", 0)])),
        one(&[4, 8], slice(0, 1), sliced()),
        one(&[4, 8], slice(1, i64::MAX), sliced()),
        one(&[4, 8], slice(0, -1), sliced()),
        one(&[4, 8], vec![], node("Transpose", &["x"], &["y"], vec![])),
        one(&[4, 8, 8, 8], vec![], node("Transpose", &["x"], &["y"], vec![ints("perm", &[1, 0, 2, 3])])),
        one(&[4, 8], vec![], node("ReduceMean", &["x"], &["y"], vec![ints("axes", &[0])])),
        one(&[4, 8, 8], vec![], node("ReduceMax", &["x"], &["y"], vec![ints("axes", &[0, 1, 2])])),
        one(&[4, 8], vec![], node("ReduceMean", &["x"], &["y"], vec![])),
        one(&[4, 8], vec![longs("i", &[1], &[0])], node("Gather", &["x", "i"], &["y"], vec![])),
        one(&[4, 8], vec![], node("Split", &["x"], &["y", "z"], vec![])),
        one(&[4, 8], vec![floats("c", &[4, 2], &varied)], node("Concat", &["x", "c"], &["y"], vec![int("axis", 1)])),
        one(&[4, 2], vec![floats("c", &[4, 2], &varied)], node("Add", &["x", "c"], &["y"], vec![])),
        one(&[4, 8], vec![ones("c", &[5, 1, 1])], node("Add", &["x", "c"], &["y"], vec![])),
        one(&[4, 8], vec![ones("w", &[2, 4])], node("MatMul", &["w", "x"], &["y"], vec![])),
        one(&[4, 8], vec![ones("w", &[4, 3])], node("Gemm", &["x", "w"], &["y"], vec![int("transA", 1)])),
        one(&[4, 8], vec![], node("Flatten", &["x"], &["y"], vec![int("axis", 0)])),
        one(&[4, 8, 8], vec![unsqueeze(0)], node("Unsqueeze", &["x", "a"], &["y"], vec![])),
        one(&[4, 8], scatter(&[0]), node("ScatterND", &["x", "i", "u"], &["y"], vec![])),
        reshaped(&[1, -1, 8, 8]),
        reshaped(&[1, -1]),
        reshaped(&[2, -1, 8]),
    ];
    for (i, model) in models.iter().enumerate() {
        let node = &model.graph.as_ref().unwrap().node[0];
        let error = import(model).expect_err(node.op_type()).to_string();
        assert!(error.contains("`y`") && error.contains(node.op_type()), "{i}: {error}");
        assert!(error.contains("extent of 1 on axis 0"), "{i} ({}): {error}", node.op_type());
    }
}

/// A map whose channels lie on axis 0 of the input is not a batch of maps.
#[test]
fn channels_on_axis_0_are_no_batch() {
    let nodes = vec![
        node("Unsqueeze", &["x", "a"], &["map"], vec![]),
        node("Conv", &["map", "w"], &["y"], vec![]),
        node("Softmax", &["y"], &["z"], vec![int("axis", 0)]),
    ];
    let model = over(&[3, 8, 8], vec![longs("a", &[1], &[0]), ones("w", &[2, 1, 3, 3])], nodes);
    let error = import(&model).expect_err("axis 0 holds channels").to_string();
    assert!(error.starts_with("1 node cannot be compiled:\n  `map` (Unsqueeze, "), "{error}");
}

/// What treats axis 0 as a batch keeps working, each node giving the type for one image.
#[test]
fn nodes_that_treat_images_apart_are_kept() {
    let twice = |values: &[f32]| values.repeat(2);
    let kept: &[(ModelProto, &[usize])] = &[
        (one(&[2, 8], vec![], node("Softmax", &["x"], &["y"], vec![])), &[1, 8]),
        (one(&[2, 8, 8], vec![], node("Transpose", &["x"], &["y"], vec![ints("perm", &[0, 2, 1])])), &[1, 8, 8]),
        (one(&[2, 8, 8], vec![], node("ReduceMean", &["x"], &["y"], vec![ints("axes", &[-1])])), &[1, 8, 1]),
        (one(&[2, 3, 8], vec![], node("Flatten", &["x"], &["y"], vec![int("axis", 2)])), &[3, 8]),
        (one(&[2, 1, 8], vec![], node("Squeeze", &["x"], &["y"], vec![])), &[1, 8]),
        // Every image has its run of the one axis.
        (one(&[2, 3, 8], vec![longs("s", &[1], &[-1])], node("Reshape", &["x", "s"], &["y"], vec![])), &[24]),
        (one(&[2, 8], vec![longs("a", &[1], &[1])], node("Unsqueeze", &["x", "a"], &["y"], vec![])), &[1, 1, 8]),
        (
            one(&[2, 2], vec![floats("c", &[2, 2], &twice(&[1.0, 2.0]))], node("Mul", &["x", "c"], &["y"], vec![])),
            &[1, 2],
        ),
        (one(&[2, 8], vec![ones("c", &[2, 1])], node("Concat", &["x", "c"], &["y"], vec![int("axis", 1)])), &[1, 9]),
        (one(&[2, 8], vec![ones("c", &[2, 3])], node("Gemm", &["x", "w", "c"], &["y"], vec![])), &[1, 3]),
        (one(&[2, 3, 4], vec![], node("MatMul", &["x", "w"], &["y"], vec![])), &[1, 3, 5]),
    ];
    for (model, expected) in kept {
        let mut model = model.clone();
        let graph = model.graph.as_mut().unwrap();
        let op = graph.node[0].op_type().to_owned();
        match op.as_str() {
            "Gemm" => graph.initializer.push(ones("w", &[8, 3])),
            "MatMul" => graph.initializer.push(ones("w", &[4, 5])),
            _ => {}
        }
        let graph = import(&model).unwrap_or_else(|e| panic!("{op}: {e}"));
        assert_eq!(graph.ty(graph.outputs[0]), &Type::new(DType::F32, *expected), "{op}");
    }
}

/// Shapes that are computed hold the batch, as those do that an exporter stored.
#[test]
fn computed_shapes_hold_the_batch() {
    let nodes = || {
        vec![
            node("Shape", &["x"], &["shape"], vec![]),
            node("Gather", &["shape", "zero"], &["batch"], vec![]),
            node("Concat", &["batch", "rest"], &["target"], vec![int("axis", 0)]),
        ]
    };
    let initializers = || vec![longs("zero", &[1], &[0]), longs("rest", &[2], &[2, -1])];
    let mut reshape = nodes();
    reshape.push(node("Reshape", &["x", "target"], &["y"], vec![]));
    let graph = import(&over(&[4, 8, 8], initializers(), reshape)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.ty(graph.outputs[0]).shape, [1, 2, 32]);
    let mut divided = nodes();
    divided.push(node("Cast", &["batch"], &["count"], vec![int("to", 1)]));
    divided.push(node("Div", &["x", "count"], &["y"], vec![]));
    let graph = import(&over(&[4, 8, 8], initializers(), divided)).unwrap_or_else(|e| panic!("{e}"));
    let node = graph.nodes.iter().find(|n| matches!(n.op, Op::Binary(_))).expect("a division");
    assert_eq!(graph.constant(node.inputs[1]).and_then(|c| c.as_f32().map(<[f32]>::to_vec)), Some(vec![4.0]));
}

/// A model that leaves its batch open imports to the same graph when somebody fixes the batch in its inputs.
#[test]
fn fixing_an_open_batch_changes_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut models: Vec<PathBuf> =
        ["batch_symbolic", "dynamic_detector"].map(|case| corpus.join(case).join("model.onnx")).into();
    match models::folder() {
        Some(folder) => {
            models.extend(["yolov5n-dynbatch.onnx", "yolov5n-pruned65_quant-dynbatch.onnx"].map(|n| folder.join(n)));
            models.retain(|path| path.is_file());
        }
        None => eprintln!("SKIPPED: no real models; set PERISTYLE_TEST_DATA"),
    }
    for path in models {
        let mut model = onnx::decode(&std::fs::read(&path).expect("readable")).expect("a model");
        let options = ImportOptions { imgsz: Some([64, 64]), base_dir: None };
        let fixed_size = ImportOptions { imgsz: None, base_dir: None };
        let import = |model: &ModelProto| {
            onnx::import(model, &fixed_size).or_else(|_| onnx::import(model, &options)).map(|graph| graph.to_string())
        };
        let open = import(&model).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let graph = model.graph.as_mut().expect("a graph");
        let stored: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
        for input in graph.input.iter_mut().filter(|input| !stored.iter().any(|name| name == input.name())) {
            let Some(Value::TensorType(ty)) = input.r#type.as_mut().and_then(|t| t.value.as_mut()) else { continue };
            let dims = &mut ty.shape.as_mut().expect("a shape").dim;
            assert!(matches!(dims[0].value, Some(Extent::DimParam(_))), "{}: {:?}", path.display(), dims[0].value);
            dims[0].value = Some(Extent::DimValue(4));
        }
        let fixed = import(&model).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(fixed == open, "{}: the graphs differ", path.display());
    }
}

/// All inputs have the same batch.
#[test]
fn inputs_of_different_extents_are_refused() {
    let float = DataType::Float;
    let of = |extents: [i64; 2]| {
        let inputs = vec![input("a", float, &[extents[0], 8]), input("b", float, &[extents[1], 8])];
        import(&model(13, inputs, vec![], vec![node("Mul", &["a", "b"], &["y"], vec![])], &["y"]))
    };
    for extents in [[4, 1], [1, 4], [4, 2]] {
        let error = of(extents).expect_err("no batch").to_string();
        assert!(error.contains("graph input `b`") && error.contains("axis 0"), "{error}");
    }
    assert!(of([4, 4]).is_ok() && of([0, 4]).is_ok() && of([4, 0]).is_ok());
}
