//! What the benchmarks share: convolutions of a given shape and sparsity, and plans loaded into this process with
//! their unrolled kernels.

pub mod scene;

use peristyle_compiler::emit::kernel::assembly;
use peristyle_compiler::ir::{
    Activation, Conv, ConvGeometry, ConvQuant, DType, Data, Epilogue, Graph, Node, Op, Store, Tensor, Type,
};
use peristyle_compiler::plan::Plan;
use peristyle_runtime::engine::{self, Infer, Kind, Program, TensorMut, TensorRef};
use peristyle_runtime::kernels::conv::Unrolled;
use std::process::Command;

/// A convolution with SiLU to measure.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Height and width of the input.
    pub size: usize,
    /// Extent of the square window, padded by half of it.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zeros in percent.
    pub zeros: u32,
    /// Whether it runs on integers.
    pub quantised: bool,
}

impl Case {
    /// `u8s8 3x3/1 64-64 @40 65%`
    pub fn name(&self) -> String {
        let Case { channels: [i, o], size, kernel: k, stride: s, zeros, quantised } = self;
        format!("{} {k}x{k}/{s} {i}-{o} @{size} {zeros}%", if *quantised { "u8s8" } else { "f32" })
    }

    /// Multiply-accumulates of the nonzeros.
    pub fn nnz_macs(&self) -> u64 {
        let out = self.size.div_ceil(self.stride);
        let nnz = self.weights().iter().filter(|&&w| w != 0).count();
        (nnz * out * out) as u64
    }

    fn weights(&self) -> Vec<i8> {
        let mut state = 1u32;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let count = self.channels[0] * self.channels[1] * self.kernel * self.kernel;
        let weight = |zero: bool, r: u32| if zero { 0 } else { ((r % 61) as i32 - 30) as i8 | 1 };
        (0..count).map(|_| weight(next() % 100 < self.zeros, next())).collect()
    }

    /// The graph of the convolution alone.
    pub fn graph(&self) -> Graph {
        let [inputs, outputs] = self.channels;
        let out = self.size.div_ceil(self.stride);
        let mut graph = Graph::default();
        let dtype = if self.quantised { DType::U8 } else { DType::F32 };
        let x = graph.add_value("x", Type::new(dtype, [1, inputs, self.size, self.size]));
        let shape = [outputs, inputs, self.kernel, self.kernel];
        let w = graph.add_constant(
            "w",
            if self.quantised {
                Tensor::new(shape, Data::I8(self.weights()))
            } else {
                Tensor::f32(shape, self.weights().iter().map(|&w| f32::from(w) / 256.0).collect())
            },
        );
        let b = graph.add_constant("b", Tensor::f32([outputs], vec![0.1; outputs]));
        let store = if self.quantised { Store::U8 { scale: 0.02, zero: 14 } } else { Store::F32 };
        let y = graph.add_value("y", Type::new(dtype, [1, outputs, out, out]));
        let geometry = ConvGeometry {
            kernel: [self.kernel; 2],
            stride: [self.stride; 2],
            pad: [self.kernel / 2; 4],
            dilation: [1, 1],
            group: 1,
        };
        let quant =
            self.quantised.then(|| ConvQuant { x_zero: 14, scale: vec![2e-4; outputs], acc_bias: vec![0; outputs] });
        let epilogue = Epilogue { activation: Activation::Silu, residual: None, stores: vec![store] };
        graph.nodes.push(Node {
            name: self.name(),
            op: Op::Conv(Conv { geometry, quant, epilogue }),
            inputs: vec![x, w, b],
            outputs: vec![y],
        });
        graph.inputs = vec![x];
        graph.outputs = vec![y];
        graph
    }
}

/// Loads a plan into this process, with its unrolled kernels assembled by `cc`. Memory and code are never freed.
///
/// # Panics
/// When `cc` is missing or refuses the kernels.
pub fn load(mut plan: Plan) -> &'static Program {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let object = dir.path().join("kernels.so");
    let mut cc = Command::new("cc");
    cc.arg("-shared").arg("-o").arg(&object);
    let symbol = |layer: usize, group: usize| format!("kernel_{layer}_{group}");
    let unrolled = |plan: &Plan, layer: usize| plan.notes[layer].conv.as_ref().is_some_and(|c| c.choice.unrolled);
    let layers: Vec<usize> = (0..plan.layers.len()).filter(|&layer| unrolled(&plan, layer)).collect();
    for &layer in &layers {
        if let Kind::Conv(conv) = &plan.layers[layer].kind {
            let source = dir.path().join(format!("{layer}.S"));
            let text = assembly(conv, "benchmark", |group| symbol(layer, group)).replace(".hidden", "# visible:");
            std::fs::write(&source, text).expect("writable");
            cc.arg(source);
        }
    }
    if layers.is_empty() {
        return plan.leak();
    }
    assert!(cc.status().expect("cc runs").success(), "the kernels assemble");
    // SAFETY: the object holds only the kernels.
    let library = unsafe { libloading::Library::new(&object).expect("loads") };
    for layer in layers {
        if let Kind::Conv(conv) = &mut plan.layers[layer].kind {
            for (index, group) in
                conv.unrolled.as_mut().unwrap_or(&mut conv.table).groups.to_mut().iter_mut().enumerate()
            {
                // SAFETY: the symbol is a function of this type, and the library is never unloaded.
                group.unrolled =
                    Some(unsafe { *library.get::<Unrolled>(symbol(layer, index).as_bytes()).expect("found") });
            }
        }
    }
    std::mem::forget(library);
    plan.leak()
}

/// Elements of a tensor.
enum Values {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl Values {
    fn new(spec: &engine::TensorSpec) -> Values {
        let bytes = (0..spec.len()).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
        match spec.dtype {
            engine::DType::F32 => Values::F32(bytes.map(|b| f32::from(b) / 255.0).collect()),
            engine::DType::U8 => Values::U8(bytes.collect()),
        }
    }
}

/// An engine with inputs and outputs of one image.
pub struct Bench {
    engine: engine::Engine,
    inputs: Vec<Values>,
    outputs: Vec<Values>,
}

impl Bench {
    /// Prepares a program for `threads` threads.
    ///
    /// # Panics
    /// When threads do not start.
    pub fn new(program: &'static Program, threads: usize) -> Bench {
        let engine = engine::Engine::new(program, threads).expect("threads start");
        let values = |specs: &[engine::TensorSpec]| specs.iter().map(Values::new).collect();
        Bench { engine, inputs: values(program.spec.inputs), outputs: values(program.spec.outputs) }
    }

    /// Runs one image.
    pub fn run(&mut self) {
        let inputs = self.inputs.iter().map(|v| match v {
            Values::F32(v) => TensorRef::F32(v),
            Values::U8(v) => TensorRef::U8(v),
        });
        let inputs: Vec<TensorRef<'_>> = inputs.collect();
        let outputs = self.outputs.iter_mut().map(|v| match v {
            Values::F32(v) => TensorMut::F32(v),
            Values::U8(v) => TensorMut::U8(v),
        });
        let mut outputs: Vec<TensorMut<'_>> = outputs.collect();
        self.engine.run(&inputs, &mut outputs).expect("tensors are made from the spec");
    }
}
