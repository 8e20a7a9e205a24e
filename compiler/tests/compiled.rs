//! Compiled networks against the interpreter, in this process: same graph, every instruction set, team size and
//! stripe height. Integer networks must agree to the bit, float networks within a stated bound.

mod models;

use peristyle_compiler::ir::{DType, Data, Graph, Op, Tensor};
use peristyle_compiler::plan::{self, Columns, Options};
use peristyle_compiler::{interp, passes};
use peristyle_runtime::engine::{Engine, Infer, Needs, RunError, TensorMut, TensorRef};
use peristyle_runtime::simd::Isa;

/// Largest difference of float networks, relative to the largest magnitude of the output.
const FLOAT_BOUND: f32 = 2e-5;

fn pseudo_random(graph: &Graph, seed: u32) -> Vec<Tensor> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let tensor = |&input| {
        let ty = graph.ty(input);
        let data = match ty.dtype {
            DType::U8 => Data::U8((0..ty.len()).map(|_| (next() >> 9) as u8).collect()),
            _ => Data::F32((0..ty.len()).map(|_| (next() >> 8) as f32 / (1 << 24) as f32).collect()),
        };
        Tensor::new(ty.shape.clone(), data)
    };
    graph.inputs.iter().map(tensor).collect()
}

/// How an engine runs once.
type Run<'a> = &'a dyn Fn(&mut Engine, &[TensorRef<'_>], &mut [TensorMut<'_>]) -> Result<(), RunError>;

/// What a run of an engine makes of the inputs.
fn run_with(graph: &Graph, engine: &mut Engine, run: Run<'_>, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut outputs: Vec<Tensor> = graph
        .outputs
        .iter()
        .map(|&o| {
            let ty = graph.ty(o);
            let data = match ty.dtype {
                DType::U8 => Data::U8(vec![0; ty.len()]),
                _ => Data::F32(vec![f32::NAN; ty.len()]),
            };
            Tensor::new(ty.shape.clone(), data)
        })
        .collect();
    let refs: Vec<TensorRef<'_>> = inputs
        .iter()
        .map(|t| match &t.data {
            Data::F32(v) => TensorRef::F32(v),
            Data::U8(v) => TensorRef::U8(v),
            other => panic!("compiled inputs are f32 or u8, not {other:?}"),
        })
        .collect();
    let mut muts: Vec<TensorMut<'_>> = outputs
        .iter_mut()
        .map(|t| match &mut t.data {
            Data::F32(v) => TensorMut::F32(v),
            Data::U8(v) => TensorMut::U8(v),
            other => panic!("compiled outputs are f32 or u8, not {other:?}"),
        })
        .collect();
    run(engine, &refs, &mut muts).expect("tensors fit the spec");
    outputs
}

fn compiled(graph: &Graph, options: &Options, isa: Isa, threads: usize) -> Result<Engine, String> {
    let program = plan::build(graph, options).map_err(|e| e.to_string())?.leak();
    Ok(Engine::with_isa(program, threads, isa).expect("threads start"))
}

fn run_compiled(
    graph: &Graph,
    options: &Options,
    isa: Isa,
    threads: usize,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, String> {
    let mut engine = compiled(graph, options, isa, threads)?;
    // Of something else first, so that what that run leaves in the arena shows when stale memory is read.
    run_with(graph, &mut engine, &Engine::run, &pseudo_random(graph, 8));
    Ok(run_with(graph, &mut engine, &Engine::run, inputs))
}

/// Every convolution runs on integers and nothing else computes with rounding the two sides could order differently.
fn exact(graph: &Graph) -> bool {
    graph.nodes.iter().all(|n| match &n.op {
        Op::Conv(conv) => conv.quant.is_some(),
        Op::MatMul | Op::Softmax { .. } | Op::GlobalAveragePool | Op::AveragePool { .. } => false,
        Op::Binary(b) => *b != peristyle_compiler::ir::Binary::Pow,
        _ => true,
    })
}

fn compare(case: &str, graph: &Graph, expected: &[Tensor], got: &[Tensor]) -> Result<(), String> {
    for (output, (e, g)) in expected.iter().zip(got).enumerate() {
        if exact(graph) {
            if e != g {
                return Err(format!("{case}: output {output} differs{}", first_difference(e, g)));
            }
            continue;
        }
        match (&e.data, &g.data) {
            (Data::F32(e), Data::F32(g)) => {
                let scale = e.iter().fold(1.0f32, |m, v| m.max(v.abs()));
                let worst = e.iter().zip(g).map(|(e, g)| (e - g).abs()).fold(0.0, f32::max);
                if !(worst <= FLOAT_BOUND * scale && g.iter().all(|v| v.is_finite())) {
                    return Err(format!("{case}: output {output} differs by {worst} (scale {scale})"));
                }
            }
            (Data::U8(e), Data::U8(g)) => {
                if e.iter().zip(g).any(|(e, g)| e.abs_diff(*g) > 1) {
                    return Err(format!("{case}: output {output} differs by more than one step"));
                }
            }
            _ => return Err(format!("{case}: output {output} has another type")),
        }
    }
    Ok(())
}

fn first_difference(e: &Tensor, g: &Tensor) -> String {
    match (&e.data, &g.data) {
        (Data::F32(e), Data::F32(g)) => {
            let count = e.iter().zip(g).filter(|(e, g)| e != g).count();
            let at = e.iter().zip(g).position(|(e, g)| e != g).unwrap_or(0);
            format!(" in {count} of {} places, first at {at}: {} and {}", e.len(), e[at], g[at])
        }
        _ => String::new(),
    }
}

fn check(case: &str, graph: &Graph, variants: &[(Columns, Isa, usize)]) -> Result<(), String> {
    let inputs = pseudo_random(graph, 7);
    let expected = interp::run(graph, &inputs).expect("the interpreter runs the graph");
    for &(columns, isa, threads) in variants {
        let options = Options { columns, ..Options::default() };
        let got = run_compiled(graph, &options, isa, threads, &inputs).map_err(|e| format!("{case}: {e}"))?;
        compare(&format!("{case} {columns:?} {isa:?} {threads} threads"), graph, &expected, &got)?;
    }
    Ok(())
}

const ALL: &[(Columns, Isa, usize)] = &[
    (Columns::Off, Isa::Avx2, 1),
    (Columns::Off, Isa::Portable, 1),
    (Columns::Off, Isa::Avx2, 2),
    (Columns::Rows(1), Isa::Avx2, 1),
    (Columns::Rows(2), Isa::Portable, 2),
    (Columns::Rows(3), Isa::Avx2, 1),
    (Columns::Rows(5), Isa::Avx2, 2),
    (Columns::Off, Isa::AvxVnni, 1),
    (Columns::Rows(4), Isa::AvxVnni, 2),
    (Columns::Off, Isa::Avx512, 1),
    (Columns::Rows(3), Isa::Avx512, 2),
];

/// Corpus models that import but cannot be compiled, and what the error says.
const REFUSED: &[(&str, &str)] = &[("conv_integer_forms", "its i32 result is used without conversion to f32")];

#[test]
fn corpus_agrees_with_the_interpreter() {
    let mut failures = Vec::new();
    let cases = models::corpus();
    assert!(cases.len() > 20, "only {} corpus models found", cases.len());
    for (case, mut graph) in cases {
        if let Err(error) = passes::run(&mut graph) {
            let refused = REFUSED.iter().any(|(name, why)| *name == case && error.to_string().contains(why));
            if !refused {
                failures.push(format!("{case}: {error}"));
            }
            continue;
        }
        failures.extend(check(&case, &graph, ALL).err());
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn real_models_agree_with_the_interpreter() {
    for (name, mut graph) in models::real(&["yolov5n.onnx", "yolov5n-pruned65_quant.onnx"]) {
        passes::run(&mut graph).unwrap_or_else(|e| panic!("{name}: {e}"));
        check(
            &name,
            &graph,
            &[
                (Columns::Off, Isa::Avx2, 2),
                (Columns::Off, Isa::AvxVnni, 2),
                (Columns::Rows(4), Isa::Avx512, 2),
                (Columns::Off, Isa::Portable, 2),
            ],
        )
        .unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Units of every other step as early, and those of the step before as late, as they may: what that computes is the same.
fn check_overlapped(case: &str, graph: &Graph) -> usize {
    let inputs = pseudo_random(graph, 7);
    let options = Options::default();
    let mut overlapping = 0;
    for isa in Isa::ALL {
        let mut engine = compiled(graph, &options, isa, 1).unwrap_or_else(|e| panic!("{case}: {e}"));
        overlapping = engine.program().schedule.iter().filter(|step| step.needs != Needs::All).count();
        let expected = run_with(graph, &mut engine, &Engine::run, &inputs);
        for [odd, descending] in [[false, false], [false, true], [true, false], [true, true]] {
            run_with(graph, &mut engine, &Engine::run, &pseudo_random(graph, 8));
            let overlapped: Run<'_> =
                &|engine, inputs, outputs| engine.run_overlapped(inputs, outputs, odd, descending);
            let got = run_with(graph, &mut engine, overlapped, &inputs);
            for (output, (e, g)) in expected.iter().zip(&got).enumerate() {
                assert!(e == g, "{case} {isa:?} {odd} {descending}: output {output} differs{}", first_difference(e, g));
            }
        }
    }
    overlapping
}

#[test]
fn steps_that_overlap_compute_the_same() {
    let mut overlapping = 0;
    for (case, mut graph) in models::corpus() {
        if passes::run(&mut graph).is_ok() && plan::build(&graph, &Options::default()).is_ok() {
            overlapping += check_overlapped(&case, &graph);
        }
    }
    assert!(overlapping > 10, "only {overlapping} steps overlap");
    for (name, mut graph) in models::real(&["yolov5n-pruned65.onnx", "yolov5n-pruned65_quant.onnx"]) {
        passes::run(&mut graph).unwrap_or_else(|e| panic!("{name}: {e}"));
        let overlapping = check_overlapped(&name, &graph);
        assert!(overlapping > 40, "{name}: only {overlapping} steps overlap");
    }
}
