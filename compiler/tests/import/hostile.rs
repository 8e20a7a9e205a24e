use peristyle_compiler::ir;
use peristyle_compiler::onnx::proto::tensor_shape_proto::dimension::Value as Extent;
use peristyle_compiler::onnx::proto::type_proto::Value as TypeValue;
use peristyle_compiler::onnx::{self, ImportOptions, ModelProto};
use peristyle_compiler::passes;
use peristyle_compiler::plan::{self, Columns, Options};
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;

/// The models of the corpus, as bytes.
static MODELS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = std::fs::read_dir(corpus).expect("the corpus is there");
    let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path().join("model.onnx")).collect();
    files.retain(|f| f.is_file());
    files.sort();
    files.iter().map(|f| std::fs::read(f).expect("the model is readable")).collect()
});

/// Imports; what is accepted must be valid.
fn try_import(model: &ModelProto, imgsz: Option<[usize; 2]>) {
    if let Ok(graph) = onnx::import(model, &ImportOptions { imgsz, base_dir: None }) {
        ir::verify::verify(&graph).expect("an imported graph is valid");
    }
}

/// Plans what imports, unless its passes would take long.
fn try_plan(model: &ModelProto, imgsz: Option<[usize; 2]>, columns: Columns) {
    let Ok(mut graph) = onnx::import(model, &ImportOptions { imgsz, base_dir: None }) else { return };
    if graph.values.iter().any(|value| value.constant.is_some() && value.ty.len() > 1 << 20) {
        return;
    }
    let source = graph.to_string();
    match passes::run(&mut graph) {
        Ok(_) => {}
        Err(e @ passes::Error::Invalid { .. }) => panic!("{e}\n{source}"),
        Err(_) => return,
    }
    if let Err(errors) = plan::build(&graph, &Options { columns, ..Options::default() }) {
        assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
    }
}

fn extents() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -3i64..12,
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
        1 => (0u32..63).prop_map(|b| 1i64 << b),
    ]
}

/// One change somewhere in a model.
fn mutate(model: &mut ModelProto, what: u8, at: prop::sample::Index, to: prop::sample::Index, number: i64) {
    let Some(graph) = &mut model.graph else { return };
    let mut names: Vec<String> = graph.node.iter().flat_map(|n| n.output.clone()).collect();
    names.extend(graph.initializer.iter().map(|t| t.name().to_owned()));
    names.push(String::new());
    let name = names[to.index(names.len())].clone();
    let node = at.index(graph.node.len().max(1));
    match what {
        0 => {
            let mut numbers: Vec<&mut i64> =
                graph.node.iter_mut().flat_map(|n| &mut n.attribute).flat_map(|a| &mut a.ints).collect();
            let n = numbers.len().max(1);
            numbers.get_mut(at.index(n)).into_iter().for_each(|x| **x = number);
        }
        1 => {
            let attributes = graph.node.iter_mut().flat_map(|n| &mut n.attribute);
            let mut numbers: Vec<&mut i64> = attributes.filter_map(|a| a.i.as_mut()).collect();
            let n = numbers.len().max(1);
            numbers.get_mut(at.index(n)).into_iter().for_each(|x| **x = number);
        }
        2 => {
            let mut dims: Vec<&mut i64> = graph.initializer.iter_mut().flat_map(|t| &mut t.dims).collect();
            let n = dims.len().max(1);
            dims.get_mut(at.index(n)).into_iter().for_each(|x| **x = number);
        }
        3 => {
            let inputs = graph.node.get_mut(node).map(|n| &mut n.input).into_iter();
            inputs.filter(|i| !i.is_empty()).for_each(|i| {
                let slot = to.index(i.len());
                i[slot].clone_from(&name);
            });
        }
        4 => drop(graph.node.get_mut(node).map(|n| n.input.truncate(to.index(4)))),
        5 => drop(graph.node.get_mut(node).map(|n| n.output.push(name))),
        6 => {
            let n = graph.initializer.len().max(1);
            let tensor = graph.initializer.get_mut(to.index(n)).into_iter();
            tensor.for_each(|t| t.data_type = Some((number % 30) as i32));
        }
        7 => {
            let longs = graph.initializer.iter_mut().filter(|t| t.data_type() == 7).filter_map(|t| t.raw_data.as_mut());
            let mut longs: Vec<&mut Vec<u8>> = longs.filter(|r| r.len() >= 8).collect();
            let n = longs.len().max(1);
            longs.get_mut(at.index(n)).into_iter().for_each(|raw| raw[..8].copy_from_slice(&number.to_le_bytes()));
        }
        8 => {
            let types = graph.input.iter_mut().filter_map(|i| i.r#type.as_mut()).filter_map(|t| t.value.as_mut());
            let shapes = types.filter_map(|TypeValue::TensorType(t)| t.shape.as_mut());
            let mut dims: Vec<_> = shapes.flat_map(|s| &mut s.dim).collect();
            let n = dims.len().max(1);
            dims.get_mut(at.index(n)).into_iter().for_each(|d| d.value = Some(Extent::DimValue(number)));
        }
        9 => {
            let op = graph.node[to.index(graph.node.len())].op_type.clone();
            graph.node[node].op_type = op;
        }
        10 => drop(graph.node.get_mut(node).map(|n| n.attribute.truncate(to.index(3)))),
        11 => {
            let last = graph.node.len() - 1;
            graph.node.swap(node, to.index(last + 1));
        }
        12 => {
            let version = &mut model.opset_import[0].version;
            *version = Some(number);
        }
        _ => {
            let floats =
                graph.initializer.iter_mut().filter(|t| t.data_type() == 1).filter_map(|t| t.raw_data.as_mut());
            let mut floats: Vec<&mut Vec<u8>> = floats.filter(|r| r.len() >= 4).collect();
            let n = floats.len().max(1);
            let value = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e30, 3.5][to.index(6)];
            floats.get_mut(at.index(n)).into_iter().for_each(|raw| raw[..4].copy_from_slice(&value.to_le_bytes()));
        }
    }
}

/// Cases per property: 4,000, or what `PROPTEST_CASES` says for a longer run.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(model) = onnx::decode(&bytes) {
            try_import(&model, None);
        }
    }

    #[test]
    fn damaged_files_never_panic(
        which: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = MODELS[which.index(MODELS.len())].clone();
        for (at, byte) in edits {
            let n = bytes.len();
            bytes[at.index(n)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(model) = onnx::decode(&bytes) {
            try_import(&model, None);
        }
    }

    #[test]
    fn altered_models_never_panic(
        which: prop::sample::Index,
        edits in prop::collection::vec((0u8..14, any::<prop::sample::Index>(), any::<prop::sample::Index>(), extents()), 1..5),
        imgsz in prop_oneof![Just(None), Just(Some([16, 24])), Just(Some([7, 1]))],
    ) {
        let mut model = onnx::decode(&MODELS[which.index(MODELS.len())]).expect("the corpus decodes");
        for (what, at, to, number) in edits {
            mutate(&mut model, what, at, to, number);
        }
        try_import(&model, imgsz);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_models_plan_or_say_why(
        which: prop::sample::Index,
        edits in prop::collection::vec((0u8..14, any::<prop::sample::Index>(), any::<prop::sample::Index>(), extents()), 1..4),
        imgsz in prop_oneof![Just(None), Just(Some([16, 24])), Just(Some([32, 32])), Just(Some([1 << 14, 1 << 14]))],
        columns in prop_oneof![Just(Columns::Auto), Just(Columns::Off), Just(Columns::Rows(1)), Just(Columns::Rows(3))],
    ) {
        let mut model = onnx::decode(&MODELS[which.index(MODELS.len())]).expect("the corpus decodes");
        for (what, at, to, number) in edits {
            mutate(&mut model, what, at, to, number);
        }
        try_plan(&model, imgsz, columns);
    }
}
