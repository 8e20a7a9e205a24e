//! Small graphs to rewrite, and the comparison of what they compute before and after.

use peristyle_compiler::interp;
use peristyle_compiler::ir::{
    Activation, Binary, Conv, ConvGeometry, DType, Data, Epilogue, Graph, Op, Pool, Quantization, Tensor, Type,
    ValueId, verify,
};
use peristyle_compiler::passes::{self, Report};

/// A source of pseudo-random numbers (Lehmer's generator).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Noise(seed * 2 + 1)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        self.0 % bound
    }

    /// A number in `[-1, 1)`.
    pub fn unit(&mut self) -> f32 {
        self.below(2000) as f32 / 1000.0 - 1.0
    }

    /// A tensor of the given type; floats lie in `[-2, 2)`, weights-like `i8` are half zeros.
    pub fn tensor(&mut self, ty: &Type) -> Tensor {
        let n = ty.len();
        let data = match ty.dtype {
            DType::F32 => Data::F32((0..n).map(|_| 2.0 * self.unit()).collect()),
            DType::U8 => Data::U8((0..n).map(|_| self.below(256) as u8).collect()),
            DType::I8 => Data::I8(
                (0..n).map(|_| if self.below(2) == 0 { 0 } else { self.below(255) as i32 - 127 } as i8).collect(),
            ),
            DType::I32 => Data::I32((0..n).map(|_| self.below(2000) as i32 - 1000).collect()),
            DType::I64 | DType::Bool => unreachable!("no test needs such a tensor"),
        };
        Tensor::new(ty.shape.clone(), data)
    }
}

/// A graph under construction.
pub struct Build {
    pub graph: Graph,
    pub noise: Noise,
}

impl Build {
    pub fn new(seed: u64) -> Self {
        Build { graph: Graph { name: "test".into(), ..Graph::default() }, noise: Noise::new(seed) }
    }

    pub fn input(&mut self, dtype: DType, shape: [usize; 4]) -> ValueId {
        let id = self.graph.add_value("input", Type::new(dtype, shape));
        self.graph.inputs.push(id);
        id
    }

    pub fn shape(&self, v: ValueId) -> [usize; 4] {
        self.graph.ty(v).shape.as_slice().try_into().expect("a feature map")
    }

    fn name(&self, what: &str) -> String {
        format!("{what}_{}", self.graph.nodes.len())
    }

    /// A node whose output has the first input's type.
    pub fn like(&mut self, what: &str, op: Op, inputs: Vec<ValueId>) -> ValueId {
        let ty = self.graph.ty(inputs[0]).clone();
        self.graph.add_node(self.name(what), op, inputs, ty)
    }

    pub fn node(&mut self, what: &str, op: Op, inputs: Vec<ValueId>, dtype: DType, shape: &[usize]) -> ValueId {
        self.graph.add_node(self.name(what), op, inputs, Type::new(dtype, shape))
    }

    pub fn scalar(&mut self, x: f32) -> ValueId {
        self.graph.add_constant("scalar", Tensor::f32([], vec![x]))
    }

    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.graph.add_constant("constant", tensor)
    }

    pub fn random(&mut self, dtype: DType, shape: &[usize]) -> ValueId {
        let tensor = self.noise.tensor(&Type::new(dtype, shape));
        self.constant(tensor)
    }

    pub fn output_shape(&self, x: ValueId, outputs: usize, g: &ConvGeometry) -> [usize; 4] {
        let [_, _, h, w] = self.shape(x);
        let extent = |n: usize, i: usize| {
            (n + g.pad[i] + g.pad[i + 2] - g.dilation[i] * (g.kernel[i] - 1) - 1) / g.stride[i] + 1
        };
        [1, outputs, extent(h, 0), extent(w, 1)]
    }

    pub fn conv_of(&mut self, x: ValueId, weight: ValueId, bias: ValueId, geometry: ConvGeometry) -> ValueId {
        let outputs = self.graph.ty(weight).shape[0];
        let shape = self.output_shape(x, outputs, &geometry);
        let op = Op::Conv(Conv { geometry, quant: None, epilogue: Epilogue::default() });
        self.node("conv", op, vec![x, weight, bias], DType::F32, &shape)
    }

    /// A float convolution with random weights.
    pub fn conv(&mut self, x: ValueId, outputs: usize, kernel: usize, pad: usize) -> ValueId {
        let channels = self.shape(x)[1];
        let weight = self.random(DType::F32, &[outputs, channels, kernel, kernel]);
        let bias = self.random(DType::F32, &[outputs]);
        self.conv_of(x, weight, bias, window(kernel, 1, pad))
    }

    pub fn quantize(&mut self, x: ValueId, scale: f32, zero: i32, dtype: DType) -> ValueId {
        let shape = self.graph.ty(x).shape.clone();
        self.node("quantize", Op::Quantize(Quantization::per_tensor(scale, zero, dtype)), vec![x], dtype, &shape)
    }

    pub fn dequantize(&mut self, x: ValueId, scale: f32, zero: i32) -> ValueId {
        let Type { dtype, shape } = self.graph.ty(x).clone();
        let q = Quantization::per_tensor(scale, zero, dtype);
        self.node("dequantize", Op::Dequantize(q), vec![x], DType::F32, &shape)
    }

    /// The QDQ form of a quantised convolution: quantise, dequantise, convolve with a dequantised weight.
    pub fn qdq_conv(&mut self, x: ValueId, outputs: usize, kernel: usize, pad: usize) -> ValueId {
        let q = self.quantize(x, 0.03, 100, DType::U8);
        let x = self.dequantize(q, 0.03, 100);
        let channels = self.shape(x)[1];
        let weight = self.random(DType::I8, &[outputs, channels, kernel, kernel]);
        let weight = self.dequantize(weight, 0.01, 0);
        let bias = self.random(DType::F32, &[outputs]);
        self.conv_of(x, weight, bias, window(kernel, 1, pad))
    }

    pub fn conv_integer(
        &mut self,
        x: ValueId,
        weight: ValueId,
        (x_zero, w_zero): (i32, i32),
        geometry: ConvGeometry,
    ) -> ValueId {
        let outputs = self.graph.ty(weight).shape[0];
        let shape = self.output_shape(x, outputs, &geometry);
        let op = Op::ConvInteger { geometry, x_zero, w_zero: vec![w_zero] };
        self.node("conv_integer", op, vec![x, weight], DType::I32, &shape)
    }

    /// `ConvInteger`, `Add` of an integer bias, `Cast`, `Mul`: what follows `quantize` in SparseML's exports.
    pub fn integer_conv(&mut self, q: ValueId, x_zero: i32, outputs: usize, kernel: usize, pad: usize) -> ValueId {
        let channels = self.shape(q)[1];
        let weight = self.random(DType::U8, &[outputs, channels, kernel, kernel]);
        let acc = self.conv_integer(q, weight, (x_zero, 128), window(kernel, 1, pad));
        let bias = self.random(DType::I32, &[1, outputs, 1, 1]);
        let biased = self.binary(Binary::Add, acc, bias);
        let shape = self.shape(biased);
        let cast = self.node("cast", Op::Cast(DType::F32), vec![biased], DType::F32, &shape);
        let scale = self.scalar(0.000_3);
        self.binary(Binary::Mul, cast, scale)
    }

    pub fn activation(&mut self, activation: Activation, x: ValueId) -> ValueId {
        self.like("activation", Op::Activation(activation), vec![x])
    }

    pub fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.like("binary", Op::Binary(op), vec![a, b])
    }

    /// `x * sigmoid(x)` as two nodes.
    pub fn spelled_silu(&mut self, x: ValueId) -> ValueId {
        let gate = self.activation(Activation::Sigmoid, x);
        self.binary(Binary::Mul, x, gate)
    }

    pub fn concat(&mut self, inputs: &[ValueId]) -> ValueId {
        let Type { dtype, shape } = self.graph.ty(inputs[0]).clone();
        let channels = inputs.iter().map(|&i| self.shape(i)[1]).sum();
        self.node("concat", Op::Concat { axis: 1 }, inputs.to_vec(), dtype, &[1, channels, shape[2], shape[3]])
    }

    pub fn max_pool(&mut self, x: ValueId) -> ValueId {
        let pool = Pool { kernel: [3, 3], stride: [1, 1], pad: [1; 4] };
        self.like("max_pool", Op::MaxPool(pool), vec![x])
    }

    pub fn resize(&mut self, x: ValueId) -> ValueId {
        let ([_, c, h, w], dtype) = (self.shape(x), self.graph.ty(x).dtype);
        self.node("resize", Op::ResizeNearest { scale: [2, 2] }, vec![x], dtype, &[1, c, 2 * h, 2 * w])
    }

    pub fn slice(&mut self, x: ValueId, starts: [usize; 4], steps: [usize; 4], shape: [usize; 4]) -> ValueId {
        let op = Op::Slice { starts: starts.to_vec(), steps: steps.to_vec() };
        let dtype = self.graph.ty(x).dtype;
        self.node("slice", op, vec![x], dtype, &shape)
    }

    pub fn finish(mut self, outputs: &[ValueId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        verify::verify(&self.graph).expect("the test builds a valid graph");
        self.graph
    }
}

pub fn window(kernel: usize, stride: usize, pad: usize) -> ConvGeometry {
    ConvGeometry { kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 4], dilation: [1, 1], group: 1 }
}

/// The graph after all passes, and what they did.
pub fn optimised(graph: &Graph) -> (Graph, Report) {
    let mut graph = graph.clone();
    let report = passes::run(&mut graph).expect("the passes succeed");
    (graph, report)
}

/// Operators by name, in the order of the nodes.
pub fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

/// Largest difference between the outputs of two graphs over a few random inputs.
pub fn largest_difference(before: &Graph, after: &Graph) -> f32 {
    let mut worst = 0f32;
    for seed in 1..4 {
        let mut noise = Noise::new(seed);
        let inputs: Vec<Tensor> = before.inputs.iter().map(|&i| noise.tensor(before.ty(i))).collect();
        let expected = interp::run(before, &inputs).expect("the graph before runs");
        let actual = interp::run(after, &inputs).expect("the graph after runs");
        assert_eq!(expected.len(), actual.len());
        for (e, a) in expected.iter().zip(&actual) {
            assert_eq!(e.ty(), a.ty());
            match (&e.data, &a.data) {
                (Data::F32(e), Data::F32(a)) => {
                    for (e, a) in e.iter().zip(a) {
                        assert!(!e.is_nan() && !a.is_nan());
                        worst = worst.max((e - a).abs());
                    }
                }
                _ => {
                    let (e, a) = (e.to_i64s().expect("integers"), a.to_i64s().expect("integers"));
                    worst = e.iter().zip(a).fold(worst, |worst, (e, a)| worst.max((e - a).abs() as f32));
                }
            }
        }
    }
    worst
}

/// Runs all passes, checks that results agree within `bound`, and returns the graph and the report.
pub fn check(graph: &Graph, bound: f32) -> (Graph, Report) {
    let (after, report) = optimised(graph);
    let difference = largest_difference(graph, &after);
    assert!(difference <= bound, "results differ by {difference}, allowed are {bound}");
    (after, report)
}
