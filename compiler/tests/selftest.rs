//! Golden values: every compiled layer agrees with what the interpreter baked, and a single wrong weight is found in
//! the layer that has it.

mod models;

use peristyle_compiler::ir::Graph;
use peristyle_compiler::plan::{self, Columns, Options, Plan};
use peristyle_compiler::{golden, passes};
use peristyle_runtime::engine::golden::{Golden, Verdict, check};
use peristyle_runtime::engine::{Engine, Kind};
use peristyle_runtime::simd::Isa;

fn verdict(plan: Plan, golden: &[Golden], isa: Isa, threads: usize) -> Verdict {
    let mut engine = Engine::with_isa(plan.leak(), threads, isa).expect("threads start");
    check(&mut engine, golden).expect("the golden input fits")
}

fn plan(graph: &Graph, columns: Columns) -> Option<Plan> {
    plan::build(graph, &Options { columns, ..Options::default() }).ok()
}

fn baked(graph: &Graph) -> Vec<Golden> {
    Golden::decode(&golden::bake(graph).expect("the interpreter has a result")).expect("what was encoded")
}

const VARIANTS: [(Isa, usize, Columns); 6] = [
    (Isa::Portable, 1, Columns::Off),
    (Isa::Portable, 2, Columns::Rows(3)),
    (Isa::Avx2, 2, Columns::Off),
    (Isa::Avx2, 1, Columns::Rows(2)),
    (Isa::AvxVnni, 2, Columns::Auto),
    (Isa::Avx512, 2, Columns::Auto),
];

#[test]
fn corpus_networks_pass_on_every_instruction_set() {
    let mut known = 0;
    for (case, mut graph) in models::corpus() {
        if passes::run(&mut graph).is_err() || plan(&graph, Columns::Off).is_none() {
            continue;
        }
        let golden = baked(&graph);
        for (isa, threads, columns) in VARIANTS {
            let plan = plan(&graph, columns).expect("planned before");
            assert_eq!(golden.len(), plan.layers.len(), "{case}");
            let names: Vec<_> = plan.layers.iter().map(|layer| layer.name.clone()).collect();
            let verdict = verdict(plan, &golden, isa, threads);
            let first = verdict.first_difference.map(|layer| (layer, names[layer].clone()));
            assert_eq!(first, None, "{case} {isa:?} {threads} threads {columns:?}");
            assert!(verdict.threads_agree, "{case} {isa:?} {columns:?}");
            known += verdict.exact + verdict.close;
        }
    }
    assert!(known > 500, "only {known} layers compared");
}

#[test]
fn an_integer_network_is_compared_bit_for_bit() {
    let (_, mut graph) = models::corpus().into_iter().find(|(case, _)| case == "qdq_residual_concat").expect("a case");
    passes::run(&mut graph).expect("passes run");
    let golden = baked(&graph);
    assert!(golden.iter().all(|golden| matches!(golden, Golden::Exact(_))), "{golden:?}");
}

/// Changes one baked weight of one layer at a time.
#[test]
fn a_wrong_weight_is_found_in_its_layer() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let graph = peristyle_compiler::Config::new().analyze(root.join("example/shapes.onnx")).expect("compiles").graph;
    let golden = baked(&graph);
    let layers: Vec<usize> = (plan(&graph, Columns::Off).expect("plans").layers.iter().enumerate())
        .filter_map(|(at, layer)| matches!(layer.kind, Kind::Conv(_)).then_some(at))
        .collect();
    for &layer in [layers[0], layers[layers.len() / 2], layers[layers.len() - 1]].iter() {
        for isa in Isa::ALL {
            let mut plan = plan(&graph, Columns::Off).expect("plans");
            let Kind::Conv(conv) = &mut plan.layers[layer].kind else { unreachable!("a convolution was chosen") };
            // Bit 6 of an integer weight, or the highest bit of a float's mantissa.
            for table in [Some(&mut conv.table), conv.quads.as_mut()].into_iter().flatten() {
                table.weights.to_mut()[0] ^= 0x0040_0040;
            }
            let verdict = verdict(plan, &golden, isa, 1);
            assert_eq!(verdict.first_difference, Some(layer), "{isa:?}");
        }
    }
}

#[test]
fn real_networks_pass() {
    for (name, mut graph) in models::real(&["yolov5n.onnx", "yolov5n-pruned65_quant.onnx"]) {
        passes::run(&mut graph).unwrap_or_else(|e| panic!("{name}: {e}"));
        let golden = baked(&graph);
        let variants = [(Isa::Portable, 2), (Isa::Avx2, 1), (Isa::AvxVnni, 2), (Isa::Avx512, 2)];
        for (isa, threads) in variants {
            let columns = if isa == Isa::Avx2 { Columns::Rows(8) } else { Columns::Off };
            let verdict = verdict(plan(&graph, columns).expect("plans"), &golden, isa, threads);
            assert_eq!((verdict.first_difference, verdict.threads_agree), (None, true), "{name} {isa:?}");
        }
    }
}
