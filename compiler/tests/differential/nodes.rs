//! Real models node by node: every node of the imported graph is evaluated on ONNX Runtime's own intermediate
//! tensors, so that nothing but the node itself can make a difference.

use super::compare::numbers;
use super::reference::{Input, import, python, run, test_data};
use peristyle_compiler::interp;
use peristyle_compiler::ir::{Data, Graph, Op, Tensor, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was seen of one operator.
#[derive(Default)]
struct Seen {
    nodes: usize,
    elements: usize,
    /// Elements that differ at all.
    differing: usize,
    /// Greatest difference: of stored integers in steps, of floats as a share of the largest element of the tensor.
    worst: f64,
}

/// A float may differ by this share of the largest element of its tensor.
const FLOAT_SHARE: f64 = 2e-6;
/// Share of quantised elements that a tie may move by one step.
const TIED_SHARE: f64 = 2e-5;

/// For every value the name that ONNX Runtime's tensors go by: that of the node that makes it, or of the graph input.
fn labels(graph: &Graph) -> Vec<&str> {
    let mut labels: Vec<&str> = graph.values.iter().map(|value| value.name.as_str()).collect();
    for node in &graph.nodes {
        node.outputs.iter().for_each(|id| labels[id.index()] = &node.name);
    }
    labels
}

/// A value as a constant of the graph or from ONNX Runtime; `None` when it has no counterpart there.
fn tensor(graph: &Graph, labels: &[&str], known: &BTreeMap<&str, &Tensor>, id: ValueId) -> Option<Arc<Tensor>> {
    if let Some(constant) = graph.constant(id) {
        return Some(Arc::clone(constant));
    }
    let tensor = known.get(labels[id.index()]).filter(|tensor| tensor.ty() == *graph.ty(id))?;
    Some(Arc::new((*tensor).clone()))
}

fn compare(got: &Tensor, expected: &Tensor, seen: &mut Seen) {
    let (a, b) = (numbers(got), numbers(expected));
    let largest = if matches!(got.data, Data::F32(_)) { b.iter().fold(1e-30f64, |m, x| m.max(x.abs())) } else { 1.0 };
    seen.nodes += 1;
    seen.elements += a.len();
    seen.differing += a.iter().zip(&b).filter(|(a, b)| a != b).count();
    seen.worst = a.iter().zip(&b).fold(seen.worst, |worst, (a, b)| worst.max((a - b).abs() / largest));
}

#[test]
#[ignore = "needs real models and onnxruntime"]
fn every_node_agrees_with_onnx_runtime() {
    let (Some(data), Some(python)) = (test_data(), python()) else { return };
    let mut faults = Vec::new();
    for model in ["yolov5n.onnx", "yolov5n-pruned65_quant.onnx", "yolov5n-pruned65_quant.qdq.onnx"] {
        let graph = import(&data, model);
        let run = run(&python, &data, model, Input::Image("bus.jpg"), true);
        let known: BTreeMap<&str, &Tensor> =
            run.inputs.iter().chain(&run.outputs).map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let labels = labels(&graph);
        let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
        for node in &graph.nodes {
            let ty = graph.ty(node.outputs[0]);
            let of = |id| tensor(&graph, &labels, &known, id);
            let operands: Option<Vec<Arc<Tensor>>> = node.inputs.iter().map(|&id| of(id)).collect();
            let (Some(operands), Some(expected)) = (operands, of(node.outputs[0])) else { continue };
            let operands: Vec<&Tensor> = operands.iter().map(Arc::as_ref).collect();
            let got = interp::eval_node(&node.op, &operands, std::slice::from_ref(ty)).expect("the node has a result");
            compare(&got[0], &expected, seen.entry(node.op.name()).or_default());
            if matches!(node.op, Op::ConvInteger { .. }) {
                assert_eq!(got[0], *expected, "{model}: {}", node.name);
            }
        }
        let compared: usize = seen.values().map(|s| s.nodes).sum();
        eprintln!("{model}: {compared} of {} nodes compared", graph.nodes.len());
        assert!(compared * 2 > graph.nodes.len(), "{model}: too few nodes have a counterpart");
        for (op, seen) in &seen {
            let share = seen.differing as f64 / seen.elements as f64;
            let line = format!(
                "{model} {op}: {} nodes, {} elements, {:.4}% differ, worst {:.1e}",
                seen.nodes,
                seen.elements,
                100.0 * share,
                seen.worst
            );
            eprintln!("{line}");
            let fine =
                if *op == "quantize" { seen.worst <= 1.0 && share <= TIED_SHARE } else { seen.worst <= FLOAT_SHARE };
            if !fine {
                faults.push(line);
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
