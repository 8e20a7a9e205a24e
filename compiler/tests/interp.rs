//! The interpreter against definitions written out again, and against numbers worked by hand.

use peristyle_compiler::interp::{Error, eval_node, run, run_traced};
use peristyle_compiler::ir::*;
use peristyle_runtime::simd::math;
use proptest::prelude::*;

fn one(op: Op, inputs: &[Tensor], dtype: DType, shape: &[usize]) -> Tensor {
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    eval_node(&op, &inputs, &[Type::new(dtype, shape)]).expect("the operator has a result").remove(0)
}

fn ramp(shape: &[usize]) -> Tensor {
    Tensor::f32(shape, (0..shape.iter().product()).map(|i: usize| i as f32).collect())
}

fn f32s(tensor: &Tensor) -> &[f32] {
    tensor.as_f32().expect("an f32 tensor")
}

#[derive(Clone, Debug)]
struct ConvProblem {
    geometry: ConvGeometry,
    x: Tensor,
    w: Tensor,
    bias: Vec<f32>,
    out: [usize; 3],
}

impl ConvProblem {
    /// The sum under the window of one output, by the definition.
    fn sum(&self, oc: usize, oy: usize, ox: usize, product: impl Fn(usize, usize) -> f64) -> f64 {
        let g = &self.geometry;
        let (c, h, w) = (self.x.shape[1], self.x.shape[2] as isize, self.x.shape[3] as isize);
        let (in_group, out_group) = (c / g.group, self.out[0] / g.group);
        let mut sum = 0.0;
        for ic in 0..in_group {
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    let y = (oy * g.stride[0] + ky * g.dilation[0]) as isize - g.pad[0] as isize;
                    let x = (ox * g.stride[1] + kx * g.dilation[1]) as isize - g.pad[1] as isize;
                    if (0..h).contains(&y) && (0..w).contains(&x) {
                        let channel = (oc / out_group * in_group + ic) as isize;
                        let xi = ((channel * h + y) * w + x) as usize;
                        let wi = ((oc * in_group + ic) * g.kernel[0] + ky) * g.kernel[1] + kx;
                        sum += product(xi, wi);
                    }
                }
            }
        }
        sum
    }

    fn outputs(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let [oc, oh, ow] = self.out;
        (0..oc * oh * ow).map(move |i| (i / (oh * ow), i / ow % oh, i % ow))
    }

    fn shape(&self) -> Vec<usize> {
        vec![1, self.out[0], self.out[1], self.out[2]]
    }
}

prop_compose! {
    fn geometries()(
        group in 1usize..4,
        channels in (1usize..4, 1usize..4),
        kernel in [1usize..4, 1usize..4],
        stride in [1usize..4, 1usize..4],
        pad in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
        dilation in [1usize..3, 1usize..3],
        extra in [0usize..9, 0usize..40],
    ) -> (ConvGeometry, usize, usize, [usize; 2], [usize; 2]) {
        let reach = [0, 1].map(|a| (kernel[a] - 1) * dilation[a] + 1);
        // At least one element, and a window that fits.
        let extent = [0, 1].map(|a| (reach[a].saturating_sub(pad[a] + pad[a + 2]).max(1)) + extra[a]);
        let out = [0, 1].map(|a| (extent[a] + pad[a] + pad[a + 2] - reach[a]) / stride[a] + 1);
        let geometry = ConvGeometry { kernel, stride, pad, dilation, group };
        (geometry, channels.0 * group, channels.1 * group, extent, out)
    }
}

fn conv_problems(quantised: bool) -> impl Strategy<Value = ConvProblem> {
    geometries().prop_flat_map(move |(geometry, ic, oc, extent, out)| {
        let x_len = ic * extent[0] * extent[1];
        let w_shape = vec![oc, ic / geometry.group, geometry.kernel[0], geometry.kernel[1]];
        let w_len = w_shape.iter().product::<usize>();
        let x = prop::collection::vec(any::<u8>(), x_len);
        let w = prop::collection::vec(prop_oneof![Just(0i8), any::<i8>()], w_len);
        let bias = prop::collection::vec(-4f32..4.0, oc);
        (x, w, bias).prop_map(move |(x, w, bias)| {
            let x_shape = vec![1, ic, extent[0], extent[1]];
            let (x, w) = if quantised {
                (Tensor::new(x_shape, Data::U8(x)), Tensor::new(w_shape.clone(), Data::I8(w)))
            } else {
                let scaled = |v: f32| v / 37.0;
                let x = x.into_iter().map(|v| scaled(f32::from(v) - 128.0)).collect();
                let w = w.into_iter().map(|v| scaled(f32::from(v))).collect();
                (Tensor::f32(x_shape, x), Tensor::f32(w_shape.clone(), w))
            };
            let geometry = geometry.clone();
            ConvProblem { geometry, x, w, bias, out: [oc, out[0], out[1]] }
        })
    })
}

proptest! {
    #[test]
    fn float_convolution_is_its_definition(problem in conv_problems(false)) {
        let conv = Conv { geometry: problem.geometry.clone(), quant: None, epilogue: Epilogue::default() };
        let bias = Tensor::f32([problem.out[0]], problem.bias.clone());
        let inputs = [problem.x.clone(), problem.w.clone(), bias];
        let y = one(Op::Conv(conv), &inputs, DType::F32, &problem.shape());
        let (x, w) = (f32s(&problem.x), f32s(&problem.w));
        for ((oc, oy, ox), got) in problem.outputs().zip(f32s(&y)) {
            let sum = problem.sum(oc, oy, ox, |xi, wi| f64::from(x[xi]) * f64::from(w[wi]));
            let expected = f64::from(problem.bias[oc]) + sum;
            prop_assert!((f64::from(*got) - expected).abs() <= 1e-6 * (1.0 + expected.abs()));
        }
    }

    #[test]
    fn quantised_convolution_is_its_definition(
        problem in conv_problems(true),
        x_zero: u8,
        out_zero: u8,
        scale in 1e-4f32..1e-2,
        residual_first: bool,
    ) {
        let channels = problem.out[0];
        let acc_bias: Vec<i32> = (0..channels as i32).map(|c| 1000 * c - 700).collect();
        let quant = ConvQuant { x_zero, scale: vec![scale; channels], acc_bias: acc_bias.clone() };
        let residual = if residual_first { Residual::BeforeActivation } else { Residual::AfterActivation };
        let stores = vec![Store::U8 { scale: 0.05, zero: out_zero }, Store::F32];
        let epilogue = Epilogue { activation: Activation::Silu, residual: Some(residual), stores };
        let conv = Conv { geometry: problem.geometry.clone(), quant: Some(quant), epilogue };
        let bias = Tensor::f32([channels], problem.bias.clone());
        let added = ramp(&problem.shape());
        let inputs = [&problem.x, &problem.w, &bias, &added];
        let types = [DType::U8, DType::F32].map(|d| Type::new(d, problem.shape()));
        let y = eval_node(&Op::Conv(conv), &inputs, &types).expect("a result");
        let (x, w) = (problem.x.as_u8().expect("u8"), problem.w.as_i8().expect("i8"));
        for (i, (oc, oy, ox)) in problem.outputs().enumerate() {
            let sum = problem.sum(oc, oy, ox, |xi, wi| (f64::from(x[xi]) - f64::from(x_zero)) * f64::from(w[wi]));
            let biased = ((sum as i32 + acc_bias[oc]) as f32).mul_add(scale, problem.bias[oc]);
            let r = f32s(&added)[i];
            let expected = if residual_first { math::silu(biased + r) } else { math::silu(biased) + r };
            prop_assert_eq!(y[1].as_f32().expect("f32")[i].to_bits(), expected.to_bits());
            prop_assert_eq!(y[0].as_u8().expect("u8")[i], math::Quantizer::new(0.05, out_zero).quantize(expected));
        }
    }

    #[test]
    fn integer_convolution_takes_both_zero_points_off(problem in conv_problems(true), x_zero: u8, w_zero: i8) {
        let zeros: Vec<i32> = (0..problem.out[0] as i32).map(|c| (i32::from(w_zero) + c).min(127)).collect();
        let op = Op::ConvInteger {
            geometry: problem.geometry.clone(),
            x_zero: x_zero.into(),
            w_zero: zeros.clone(),
        };
        let y = one(op, &[problem.x.clone(), problem.w.clone()], DType::I32, &problem.shape());
        let (x, w) = (problem.x.as_u8().expect("u8"), problem.w.as_i8().expect("i8"));
        for ((oc, oy, ox), got) in problem.outputs().zip(y.as_i32().expect("i32")) {
            let factor = |wi: usize| f64::from(w[wi]) - f64::from(zeros[oc]);
            let sum = problem.sum(oc, oy, ox, |xi, wi| (f64::from(x[xi]) - f64::from(x_zero)) * factor(wi));
            prop_assert_eq!(f64::from(*got), sum);
        }
    }

    #[test]
    fn dequantize_then_quantize_is_the_identity(
        stored in prop::collection::vec(any::<i8>(), 1..50),
        scale in 1e-3f32..10.0,
        zero: i8,
    ) {
        let q = Quantization::per_tensor(scale, zero.into(), DType::I8);
        let shape = [stored.len()];
        let x = Tensor::new(shape, Data::I8(stored));
        let real = one(Op::Dequantize(q.clone()), std::slice::from_ref(&x), DType::F32, &shape);
        prop_assert_eq!(one(Op::Quantize(q), &[real], DType::I8, &shape), x);
    }
}

#[test]
fn a_large_map_is_convolved_tile_by_tile() {
    let geometry = ConvGeometry { kernel: [3, 3], stride: [1, 1], pad: [1; 4], dilation: [1, 1], group: 1 };
    let x = Tensor::f32([1, 1, 90, 70], (0..6300).map(|i| (i % 97) as f32).collect());
    let w = Tensor::f32([1, 1, 3, 3], (0..9).map(|i| i as f32).collect());
    let problem = ConvProblem { geometry, x, w, bias: vec![0.0], out: [1, 90, 70] };
    let conv = Conv { geometry: problem.geometry.clone(), quant: None, epilogue: Epilogue::default() };
    let inputs = [problem.x.clone(), problem.w.clone(), Tensor::f32([1], vec![0.0])];
    let y = one(Op::Conv(conv), &inputs, DType::F32, &problem.shape());
    for ((oc, oy, ox), got) in problem.outputs().zip(f32s(&y)) {
        let sum = problem.sum(oc, oy, ox, |xi, wi| f64::from(f32s(&problem.x)[xi]) * f64::from(f32s(&problem.w)[wi]));
        assert_eq!(f64::from(*got), sum);
    }
}

#[test]
fn an_accumulator_past_i32_is_an_error() {
    let geometry = ConvGeometry { kernel: [1, 1], stride: [1, 1], pad: [0; 4], dilation: [1, 1], group: 1 };
    let channels = 70_000;
    let x = Tensor::new([1, channels, 1, 1], Data::U8(vec![255; channels]));
    let w = Tensor::new([1, channels, 1, 1], Data::I8(vec![127; channels]));
    let op = Op::ConvInteger { geometry, x_zero: 0, w_zero: vec![0] };
    let e = eval_node(&op, &[&x, &w], &[Type::new(DType::I32, [1, 1, 1, 1])]);
    assert_eq!(e, Err(Error::AccumulatorOverflow { channel: 0 }));
}

#[test]
fn activations_are_those_of_the_runtime() {
    let x = Tensor::f32([5], vec![-4.0, -0.5, 0.0, 0.75, 9.0]);
    let map = |a| f32s(&one(Op::Activation(a), std::slice::from_ref(&x), DType::F32, &[5])).to_vec();
    assert_eq!(map(Activation::Identity), f32s(&x));
    assert_eq!(map(Activation::Relu), [0.0, 0.0, 0.0, 0.75, 9.0]);
    assert_eq!(map(Activation::LeakyRelu { alpha: 0.5 }), [-2.0, -0.25, 0.0, 0.75, 9.0]);
    assert_eq!(map(Activation::Clip { lo: -1.0, hi: 6.0 }), [-1.0, -0.5, 0.0, 0.75, 6.0]);
    assert_eq!(map(Activation::Silu), f32s(&x).iter().map(|&x| math::silu(x)).collect::<Vec<_>>());
    assert_eq!(map(Activation::HardSwish)[4], 9.0);
}

#[test]
fn binary_operators_broadcast() {
    let (a, b) = (ramp(&[2, 1, 2]), Tensor::f32([3, 1], vec![10.0, 20.0, 30.0]));
    let y = one(Op::Binary(Binary::Add), &[a, b], DType::F32, &[2, 3, 2]);
    assert_eq!(f32s(&y), [10.0, 11.0, 20.0, 21.0, 30.0, 31.0, 12.0, 13.0, 22.0, 23.0, 32.0, 33.0]);
    let scalar = Tensor::f32([], vec![3.0]);
    assert_eq!(f32s(&one(Op::Binary(Binary::Pow), &[ramp(&[3]), scalar], DType::F32, &[3])), [0.0, 1.0, 8.0]);
    let (a, b) = (Tensor::i64([2], vec![7, -7]), Tensor::i64([2], vec![2, 2]));
    assert_eq!(one(Op::Binary(Binary::Div), &[a.clone(), b], DType::I64, &[2]), Tensor::i64([2], vec![3, -3]));
    let zero = Tensor::i64([1], vec![0]);
    let e = eval_node(&Op::Binary(Binary::Div), &[&a, &zero], &[Type::new(DType::I64, [2])]);
    assert_eq!(e.map_err(|e| e.to_string()), Err("integer div of 7 and 0 has no result".into()));
}

#[test]
fn casts_round_toward_zero_and_saturate() {
    let x = Tensor::f32([4], vec![-1.7, 2.9, 300.0, f32::NAN]);
    let cast = |x: &Tensor, to| one(Op::Cast(to), std::slice::from_ref(x), to, &x.shape).data;
    assert_eq!(cast(&x, DType::I32), Data::I32(vec![-1, 2, 300, 0]));
    assert_eq!(cast(&x, DType::U8), Data::U8(vec![0, 2, 255, 0]));
    assert_eq!(cast(&Tensor::i64([3], vec![0, -2, 5]), DType::Bool), Data::Bool(vec![false, true, true]));
    let flags = Tensor::new([2], Data::Bool(vec![true, false]));
    assert_eq!(cast(&flags, DType::F32), Data::F32(vec![1.0, 0.0]));
}

#[test]
fn pools_ignore_padding() {
    let pool = Pool { kernel: [2, 2], stride: [2, 2], pad: [1; 4] };
    let x = Tensor::f32([1, 1, 2, 2], vec![-1.0, -2.0, -3.0, -4.0]);
    let y = one(Op::MaxPool(pool.clone()), std::slice::from_ref(&x), DType::F32, &[1, 1, 2, 2]);
    assert_eq!(f32s(&y), [-1.0, -2.0, -3.0, -4.0]);
    let average = |count_include_pad| {
        let op = Op::AveragePool { pool: pool.clone(), count_include_pad };
        f32s(&one(op, std::slice::from_ref(&x), DType::F32, &[1, 1, 2, 2])).to_vec()
    };
    assert_eq!(average(false), [-1.0, -2.0, -3.0, -4.0]);
    assert_eq!(average(true), [-0.25, -0.5, -0.75, -1.0]);
    let y = one(Op::GlobalAveragePool, &[ramp(&[1, 2, 2, 2])], DType::F32, &[1, 2, 1, 1]);
    assert_eq!(f32s(&y), [1.5, 5.5]);
    let bytes = Tensor::new([1, 1, 1, 3], Data::U8(vec![3, 9, 1]));
    let pool = Pool { kernel: [1, 3], stride: [1, 1], pad: [0, 1, 0, 1] };
    assert_eq!(one(Op::MaxPool(pool), &[bytes], DType::U8, &[1, 1, 1, 3]).data, Data::U8(vec![9, 9, 9]));
}

#[test]
fn elements_move_unchanged() {
    let x = ramp(&[1, 1, 2, 2]);
    let y = one(Op::ResizeNearest { scale: [2, 1] }, &[x], DType::F32, &[1, 1, 4, 2]);
    assert_eq!(f32s(&y), [0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 3.0]);
    let y = one(Op::Concat { axis: 1 }, &[ramp(&[2, 1]), ramp(&[2, 2])], DType::F32, &[2, 3]);
    assert_eq!(f32s(&y), [0.0, 0.0, 1.0, 1.0, 2.0, 3.0]);
    let slice = Op::Slice { starts: vec![0, 1], steps: vec![1, 2] };
    assert_eq!(f32s(&one(slice, &[ramp(&[2, 5])], DType::F32, &[2, 2])), [1.0, 3.0, 6.0, 8.0]);
    let y = one(Op::Transpose { perm: vec![2, 0, 1] }, &[ramp(&[2, 2, 3])], DType::F32, &[3, 2, 2]);
    assert_eq!(f32s(&y), [0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.0, 11.0]);
    assert_eq!(one(Op::Reshape, &[ramp(&[2, 3])], DType::F32, &[6]), ramp(&[6]));
}

#[test]
fn matrices_multiply_and_softmax_sums_to_one() {
    let (a, b) = (ramp(&[2, 1, 2]), ramp(&[2, 3]));
    assert_eq!(f32s(&one(Op::MatMul, &[a, b], DType::F32, &[2, 1, 3])), [3.0, 4.0, 5.0, 9.0, 14.0, 19.0]);
    let y = one(Op::Softmax { axis: 0 }, &[Tensor::f32([2, 1], vec![1000.0, 1000.0])], DType::F32, &[2, 1]);
    assert_eq!(f32s(&y), [0.5, 0.5]);
    let parameters = [vec![2.0, 1.0], vec![1.0, 0.0], vec![0.5, 0.0], vec![3.0, 0.0]].map(|v| Tensor::f32([2], v));
    let [scale, bias, mean, variance] = parameters;
    let inputs = [ramp(&[1, 2, 1, 1]), scale, bias, mean, variance];
    let y = one(Op::BatchNorm { epsilon: 1.0 }, &inputs, DType::F32, &[1, 2, 1, 1]);
    assert_eq!(f32s(&y), [0.5, 1.0]);
}

#[test]
fn the_head_decodes_level_by_level() {
    let levels = vec![
        DetectLevel { stride: 8.0, anchors: vec![[10.0, 13.0]] },
        DetectLevel { stride: 16.0, anchors: vec![[30.0, 61.0]] },
    ];
    let op = Op::DetectHead(DetectHead { outputs: 6, levels });
    let (a, b) = (Tensor::f32([1, 6, 1, 2], vec![0.0; 12]), Tensor::f32([1, 6, 1, 1], vec![0.0; 6]));
    let y = one(op, &[a, b], DType::F32, &[1, 3, 6]);
    let expected =
        [[4.0, 4.0, 10.0, 13.0, 0.5, 0.5], [12.0, 4.0, 10.0, 13.0, 0.5, 0.5], [8.0, 8.0, 30.0, 61.0, 0.5, 0.5]];
    assert_eq!(f32s(&y), expected.concat());
}

#[test]
fn a_graph_runs_and_every_node_is_observed() {
    let mut g = Graph::default();
    let ty = Type::new(DType::F32, [1, 2]);
    let x = g.add_value("x", ty.clone());
    let c = g.add_constant("c", Tensor::f32([2], vec![10.0, 20.0]));
    let y = g.add_node("add", Op::Binary(Binary::Add), vec![x, c], ty.clone());
    let z = g.add_node("relu", Op::Activation(Activation::Relu), vec![y], ty.clone());
    g.add_node("unread", Op::Activation(Activation::Silu), vec![y], ty);
    g.inputs = vec![x];
    g.outputs = vec![z, x, c, z];
    verify::verify(&g).expect("a sound graph");
    let input = Tensor::f32([1, 2], vec![-15.0, 1.0]);
    let mut seen = Vec::new();
    let outputs = run_traced(&g, std::slice::from_ref(&input), &mut |node, outputs| {
        seen.push((node.name.clone(), outputs.len()));
    });
    let outputs = outputs.expect("the graph runs");
    assert_eq!(outputs[0], Tensor::f32([1, 2], vec![0.0, 21.0]));
    assert_eq!((&outputs[1], &outputs[3]), (&input, &outputs[0]));
    assert_eq!(seen, [("add".into(), 1), ("relu".into(), 1), ("unread".into(), 1)]);
    let e = run(&g, &[]).expect_err("an input is missing").to_string();
    assert_eq!(e, "the graph has 1 inputs, 0 were given");
    let e = run(&g, &[Tensor::i64([1, 2], vec![1, 2])]).expect_err("the input has another type").to_string();
    assert_eq!(e, "input 'x' is f32[1x2], a tensor i64[1x2] was given");
    g.nodes[0].op = Op::MatMul;
    let e = run(&g, &[input]).expect_err("the types do not fit").to_string();
    assert_eq!(e, "node 'add' (mat_mul): multiplies f32[1x2] by f32[2]; both need at least two axes");
}
