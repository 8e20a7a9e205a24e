//! Convolutions of every shape against the interpreter: tables and unrolled code, every instruction set.
//!
//! The unrolled kernels of all problems are assembled into one shared object and loaded.

#[path = "conv_problem/code.rs"]
mod code;

use code::{assemble, link, with_code};
use peristyle_compiler::emit::kernel::assembly;
use peristyle_compiler::interp;
use peristyle_compiler::ir::{
    Activation, Conv, ConvGeometry, ConvQuant, DType, Data, Epilogue, Graph, Op, Residual, Store, Tensor, Type,
};
use peristyle_compiler::plan::{self, Columns, KernelUse, Options};
use peristyle_runtime::engine::{Engine, Infer, Kind, Program, TensorMut, TensorRef};
use peristyle_runtime::kernels::conv::u8s8_spconv::PAIR_SEGMENTS;
use peristyle_runtime::kernels::conv::{Arithmetic, Panels};
use peristyle_runtime::simd::Isa;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// How the weights of a problem are drawn.
#[derive(Clone, Copy, Debug)]
enum Weights {
    /// Each is zero with this probability in percent.
    Sparse(u32),
    /// Blocks of four input channels are zero together, half of them.
    Blocks,
    /// One nonzero in the whole tensor.
    Single,
    /// All at the ends of the range.
    Extreme,
}

/// A convolution to check.
#[derive(Clone, Debug)]
struct ConvProblem {
    quantised: bool,
    channels: usize,
    outputs: usize,
    group: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 4],
    dilation: [usize; 2],
    weights: Weights,
    activation: Activation,
    residual: bool,
    zero: u8,
    seed: u32,
}

fn problems() -> impl Strategy<Value = ConvProblem> {
    let weights = prop_oneof![
        4 => (0u32..98).prop_map(Weights::Sparse),
        1 => Just(Weights::Blocks),
        1 => Just(Weights::Single),
        2 => Just(Weights::Extreme),
    ];
    let activation = prop_oneof![
        Just(Activation::Identity),
        Just(Activation::Silu),
        Just(Activation::Relu),
        Just(Activation::LeakyRelu { alpha: 0.1 }),
        Just(Activation::HardSwish),
        Just(Activation::Clip { lo: 0.0, hi: 6.0 }),
    ];
    let shape = (1usize..4, 1usize..9, 1usize..7, 1usize..40, 1usize..40);
    let window = (1usize..5, 1usize..5, 1usize..4, 1usize..4, 1usize..3);
    let pads = (0usize..3, 0usize..3, 0usize..3, 0usize..3);
    (any::<bool>(), shape, window, pads, weights, activation, any::<bool>(), any::<u8>(), any::<u32>())
        .prop_map(|(quantised, shape, window, pads, weights, activation, residual, zero, seed)| {
            let (group, inputs, outputs, height, width) = shape;
            let (kh, kw, sh, sw, d) = window;
            ConvProblem {
                quantised,
                channels: group * inputs,
                outputs: group * outputs,
                group,
                size: [height, width],
                kernel: [kh, kw],
                stride: [sh, sw],
                pad: [pads.0, pads.1, pads.2, pads.3],
                dilation: [d, d],
                weights,
                activation,
                residual,
                zero,
                seed,
            }
        })
        .prop_filter("the window fits", |p| p.output().iter().all(|&o| o > 0))
}

impl ConvProblem {
    fn output(&self) -> [usize; 2] {
        [0, 1].map(|a| {
            let span = (self.kernel[a] - 1) * self.dilation[a] + 1;
            let padded = self.size[a] + self.pad[a] + self.pad[a + 2];
            if padded < span { 0 } else { (padded - span) / self.stride[a] + 1 }
        })
    }

    fn random(&self) -> impl FnMut() -> u32 {
        let mut state = self.seed | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        }
    }

    fn weight_tensor(&self) -> Tensor {
        let mut next = self.random();
        let inputs = self.channels / self.group;
        let taps = self.kernel[0] * self.kernel[1];
        let count = self.outputs * inputs * taps;
        let single = next() as usize % count;
        let values: Vec<i8> = (0..count)
            .map(|at| {
                let any = (next() % 255) as i32 - 127;
                let value = match self.weights {
                    Weights::Sparse(percent) if next() % 100 < percent => 0,
                    Weights::Sparse(_) => any,
                    Weights::Blocks => {
                        let block = (at / (inputs * taps), at / taps % inputs / 4, at % taps);
                        let hash = (block.0 * 31 + block.1 * 7 + block.2).wrapping_mul(2_654_435_761);
                        if hash & 64 == 0 { 0 } else { any }
                    }
                    Weights::Single => i32::from(at == single) * 77,
                    Weights::Extreme => [-128, 127, 127, -127][next() as usize % 4],
                };
                value as i8
            })
            .collect();
        let shape = [self.outputs, inputs, self.kernel[0], self.kernel[1]];
        if self.quantised {
            Tensor::new(shape, Data::I8(values))
        } else {
            Tensor::f32(shape, values.iter().map(|&v| f32::from(v) / 64.0).collect())
        }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph { name: "problem".to_string(), ..Graph::default() };
        let [height, width] = self.output();
        let dtype = if self.quantised { DType::U8 } else { DType::F32 };
        let x = graph.add_value("x", Type::new(dtype, [1, self.channels, self.size[0], self.size[1]]));
        let map = Type::new(DType::F32, [1, self.outputs, height, width]);
        graph.inputs = vec![x];
        let w = graph.add_constant("w", self.weight_tensor());
        let bias = (0..self.outputs).map(|o| o as f32 / 8.0 - 1.0).collect();
        let b = graph.add_constant("b", Tensor::f32([self.outputs], bias));
        let mut inputs = vec![x, w, b];
        if self.residual {
            let r = graph.add_value("r", map.clone());
            graph.inputs.push(r);
            inputs.push(r);
        }
        let y = graph.add_value("y", map.clone());
        let q = graph.add_value("q", Type::new(DType::U8, map.shape));
        let quant = self.quantised.then(|| ConvQuant {
            x_zero: self.zero,
            scale: (0..self.outputs).map(|o| 0.0003 * (o + 1) as f32).collect(),
            acc_bias: (0..self.outputs as i32).map(|o| o * 101 - 300).collect(),
        });
        let geometry = ConvGeometry {
            kernel: self.kernel,
            stride: self.stride,
            pad: self.pad,
            dilation: self.dilation,
            group: self.group,
        };
        let epilogue = Epilogue {
            activation: self.activation,
            residual: self.residual.then_some(if self.seed & 2 == 0 {
                Residual::AfterActivation
            } else {
                Residual::BeforeActivation
            }),
            stores: vec![Store::F32, Store::U8 { scale: 0.05, zero: self.zero }],
        };
        graph.nodes.push(peristyle_compiler::ir::Node {
            name: "conv".to_string(),
            op: Op::Conv(Conv { geometry, quant, epilogue }),
            inputs,
            outputs: vec![y, q],
        });
        graph.outputs = vec![y, q];
        graph
    }

    fn inputs(&self, graph: &Graph) -> Vec<Tensor> {
        let mut next = self.random();
        let tensor = |&input| {
            let ty = graph.ty(input);
            let data = match ty.dtype {
                DType::U8 => {
                    Data::U8((0..ty.len()).map(|_| if next().is_multiple_of(3) { 255 } else { next() as u8 }).collect())
                }
                _ => Data::F32((0..ty.len()).map(|_| (next() >> 8) as f32 / 8e6 - 1.0).collect()),
            };
            Tensor::new(ty.shape.clone(), data)
        };
        graph.inputs.iter().map(tensor).collect()
    }
}

fn run(program: &'static Program, isa: Isa, inputs: &[Tensor], outputs: &[Tensor]) -> Vec<Tensor> {
    let mut outputs = outputs.to_vec();
    let refs: Vec<TensorRef<'_>> = inputs
        .iter()
        .map(|t| match &t.data {
            Data::F32(v) => TensorRef::F32(v),
            Data::U8(v) => TensorRef::U8(v),
            other => panic!("no such input: {other:?}"),
        })
        .collect();
    let mut muts: Vec<TensorMut<'_>> = outputs
        .iter_mut()
        .map(|t| match &mut t.data {
            Data::F32(v) => {
                v.fill(f32::NAN);
                TensorMut::F32(v)
            }
            Data::U8(v) => TensorMut::U8(v),
            other => panic!("no such output: {other:?}"),
        })
        .collect();
    let mut engine = Engine::with_isa(program, 1, isa).expect("one thread starts");
    engine.run(&refs, &mut muts).expect("tensors fit");
    outputs
}

fn compare(problem: &ConvProblem, what: &str, expected: &[Tensor], got: &[Tensor]) {
    if problem.quantised {
        assert!(expected == got, "{what}: {problem:?}");
        return;
    }
    let (Data::F32(e), Data::F32(g)) = (&expected[0].data, &got[0].data) else { panic!("the first output is f32") };
    let scale = e.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    let worst = e.iter().zip(g).map(|(e, g)| (e - g).abs()).fold(0.0, f32::max);
    // 512 taps of magnitude 2 at most; every addition rounds relative to the running sum.
    assert!(worst <= 1e-5 * scale, "{what}: differs by {worst} (scale {scale}): {problem:?}");
    assert!(g.iter().all(|v| v.is_finite()), "{what}: {problem:?}");
}

/// Weights so large that most blocks hold a row or two, in more blocks than a part may have.
fn many_blocks() -> ConvProblem {
    ConvProblem {
        quantised: true,
        channels: 96,
        outputs: 5,
        group: 1,
        size: [7, 9],
        kernel: [3, 3],
        stride: [1, 1],
        pad: [1, 1, 1, 1],
        dilation: [1, 1],
        weights: Weights::Extreme,
        activation: Activation::Identity,
        residual: false,
        zero: 255,
        seed: 77,
    }
}

/// Strided windows over maps of several chunks and passes, for more groups than a unit has: rows are packed.
fn long_strided() -> [ConvProblem; 2] {
    [true, false].map(|quantised| ConvProblem {
        quantised,
        channels: 6,
        outputs: 139,
        group: 1,
        size: [77, 70],
        kernel: [3, 3],
        stride: [2, 2],
        pad: [1, 1, 1, 1],
        dilation: [1, 1],
        weights: Weights::Sparse(40),
        activation: Activation::Silu,
        residual: false,
        zero: 3,
        seed: 99,
    })
}

/// Sums over several panels of rows, for several chunks and blocks of groups, the last of them not whole.
fn panels() -> impl Iterator<Item = ConvProblem> {
    let shapes = [(43, 37, [31, 33]), (40, 139, [5, 50]), (17, 2, [40, 41]), (30, 259, [9, 9])];
    let weights = [
        Weights::Sparse(0),
        Weights::Sparse(12),
        Weights::Sparse(40),
        Weights::Sparse(60),
        Weights::Sparse(90),
        Weights::Blocks,
        Weights::Extreme,
    ];
    let cases = shapes.into_iter().flat_map(|shape| [(shape, false), (shape, true)]);
    cases.flat_map(move |((channels, outputs, size), quantised)| {
        weights.into_iter().map(move |weights| ConvProblem {
            quantised,
            channels,
            outputs,
            group: 1,
            size,
            kernel: [3, 3],
            stride: [1 + outputs % 3 % 2; 2],
            pad: [1, 1, 1, 1],
            dilation: [1, 1],
            weights,
            activation: Activation::Identity,
            residual: true,
            zero: 0,
            seed: 5,
        })
    })
}

/// 3x3 windows of stride 1 over maps of every size, in several units and blocks of outputs.
fn points(runner: &mut TestRunner) -> Vec<ConvProblem> {
    let large = [(43, 37, [31, 33]), (130, 139, [9, 50]), (17, 2, [40, 41]), (300, 259, [9, 9])];
    let large = large.map(|(channels, outputs, size)| (channels, outputs, size, [1; 4], Weights::Sparse(30)));
    let weights = prop_oneof![(0u32..98).prop_map(Weights::Sparse), Just(Weights::Single), Just(Weights::Extreme)];
    let pads = (0usize..3, 0usize..3, 0usize..3, 0usize..3).prop_map(<[usize; 4]>::from);
    let any = (1usize..20, 1usize..20, (3usize..50, 3usize..50).prop_map(<[usize; 2]>::from), pads, weights);
    let any: Vec<_> = (0..60).map(|_| any.new_tree(runner).expect("problems exist").current()).collect();
    let problem = |(index, (channels, outputs, size, pad, weights))| ConvProblem {
        quantised: false,
        channels,
        outputs,
        group: 1,
        size,
        kernel: [3, 3],
        stride: [1, 1],
        pad,
        dilation: [1, 1],
        weights,
        activation: [Activation::Identity, Activation::Silu][index % 2],
        residual: index % 3 == 0,
        zero: 7,
        seed: index as u32,
    };
    large.into_iter().chain(any).enumerate().map(problem).collect()
}

#[test]
fn every_kernel_agrees_with_the_interpreter() {
    let options = Options {
        columns: Columns::Off,
        code_budget: usize::MAX,
        panels: KernelUse::Never,
        winograd: KernelUse::Never,
        ..Options::default()
    };
    let mut runner = TestRunner::deterministic();
    let mut problems: Vec<ConvProblem> =
        (0..300).map(|_| problems().new_tree(&mut runner).expect("problems exist").current()).collect();
    problems.push(many_blocks());
    problems.extend(long_strided());
    problems.extend(panels());
    problems.extend(points(&mut runner));
    let symbol = |problem: usize, group: usize| format!("problem_{problem}_{group}");
    let mut files = Vec::new();
    let mut plans = Vec::new();
    let mut parts = 0;
    for (index, problem) in problems.iter().enumerate() {
        let graph = problem.graph();
        peristyle_compiler::ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e}: {problem:?}"));
        let plan = plan::build(&graph, &options).unwrap_or_else(|e| panic!("{e}: {problem:?}"));
        let plan = with_code(plan);
        for layer in &plan.layers {
            if let Kind::Conv(conv) = &layer.kind {
                if conv.arithmetic == Arithmetic::U8S8 {
                    parts = parts.max(conv.table.segments.len() / conv.table.groups.len() / PAIR_SEGMENTS);
                }
                files.push(assembly(conv, "test", |group| symbol(index, group)).replace(".hidden", "# visible:"));
            }
        }
        let inputs = problem.inputs(&graph);
        let expected = interp::run(&graph, &inputs).unwrap_or_else(|e| panic!("{e}: {problem:?}"));
        plans.push((plan, inputs, expected));
    }
    assert!(parts > 1, "some problem must have several parts");
    let library = if cfg!(all(target_arch = "x86_64", target_os = "linux")) && Isa::detect() >= Isa::Avx2 {
        Some(assemble(&files))
    } else {
        eprintln!("SKIPPED: unrolled and AVX2 kernels; this machine has no AVX2");
        None
    };
    let (mut panelled_layers, mut several_blocks, mut point_layers) = ([0; 3], [0; 3], 0);
    for (index, (problem, (plan, inputs, expected))) in problems.iter().zip(plans).enumerate() {
        let linked = library.as_ref().map(|library| {
            let again = plan::build(&problem.graph(), &options).expect("planned before");
            link(with_code(again), library, |group| symbol(index, group))
        });
        let tables = plan.leak();
        compare(problem, "portable table", &expected, &run(tables, Isa::Portable, &inputs, &expected));
        if let Some(linked) = linked {
            compare(problem, "avx2 table", &expected, &run(tables, Isa::Avx2, &inputs, &expected));
            compare(problem, "avx2 unrolled", &expected, &run(linked, Isa::Avx2, &inputs, &expected));
        }
        let panelled = plan::build(&problem.graph(), &Options { panels: KernelUse::Possible, ..options });
        let panelled = panelled.expect("planned before").leak();
        for layer in panelled.layers.iter() {
            if let Kind::Conv(conv) = &layer.kind
                && let Some(Panels { rows, tile }) = conv.panels
            {
                panelled_layers[tile as usize] += 1;
                several_blocks[tile as usize] += usize::from(conv.packed.len() > rows);
            }
        }
        for isa in Isa::ALL.into_iter().filter(|&isa| isa <= Isa::detect()) {
            compare(problem, "panels", &expected, &run(panelled, isa, &inputs, &expected));
        }
        if problem.quantised {
            let panels = if index % 2 == 0 { KernelUse::Possible } else { KernelUse::Never };
            let narrow = plan::build(&problem.graph(), &Options { wide: false, panels, ..options });
            let narrow = narrow.expect("planned before").leak();
            assert_eq!(narrow.widest_isa(), Isa::AvxVnni, "{problem:?}");
            compare(problem, "without tables for AVX-512", &expected, &run(narrow, Isa::Avx512, &inputs, &expected));
        }
        let by_points = plan::build(&problem.graph(), &Options { winograd: KernelUse::Possible, ..options });
        let by_points = by_points.expect("planned before").leak();
        let is_by_points = |kind: &Kind| matches!(kind, Kind::Conv(conv) if conv.winograd.is_some());
        if by_points.layers.iter().any(|layer| is_by_points(&layer.kind)) {
            point_layers += 1;
            for isa in Isa::ALL.into_iter().filter(|&isa| isa <= Isa::detect()) {
                compare(problem, "points", &expected, &run(by_points, isa, &inputs, &expected));
            }
        }
        for isa in [Isa::AvxVnni, Isa::Avx512] {
            if Isa::detect() >= isa {
                compare(problem, isa.name(), &expected, &run(tables, isa, &inputs, &expected));
            } else if index == 0 {
                eprintln!("SKIPPED: kernels for {}; this machine does not have it", isa.name());
            }
        }
    }
    assert!(panelled_layers.iter().all(|&n| n > 10), "layers of all tiles of panels: {panelled_layers:?}");
    assert!(point_layers > 20, "layers by points: {point_layers}");
    assert!(several_blocks.iter().all(|&n| n > 4), "layers of several blocks of rows: {several_blocks:?}");
}
