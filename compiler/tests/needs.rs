//! What units of a step wait for in the step before, against every pixel that they read.

use peristyle_compiler::ir::{
    Conv, ConvGeometry, ConvQuant, DType, Data, Epilogue, Graph, Op, Residual, Store, Tensor, Type, ValueId,
};
use peristyle_compiler::plan::{self, KernelUse, Options};
use peristyle_runtime::engine::{
    Engine, Infer, Kind, Needs, Program, RunError, TensorMut, TensorRef, overlaps, units_read,
};
use peristyle_runtime::kernels::conv::{self, MAX_GROUP};
use peristyle_runtime::kernels::map::Map;
use peristyle_runtime::simd::Isa;
use std::collections::BTreeSet;

const CHANNELS: usize = 8;

/// Kernel, stride, padding at the top, left, bottom and right, dilation.
type Window = ([usize; 2], [usize; 2], [usize; 4], usize);

const WINDOWS: [Window; 12] = [
    ([1, 1], [1, 1], [0; 4], 1),
    ([3, 3], [1, 1], [1; 4], 1),
    ([1, 3], [1, 1], [0, 1, 0, 1], 1),
    ([3, 1], [1, 1], [1, 0, 1, 0], 1),
    ([5, 5], [1, 1], [2; 4], 1),
    ([3, 3], [1, 1], [2; 4], 2),
    ([3, 3], [2, 2], [1; 4], 1),
    ([3, 3], [1, 2], [1; 4], 1),
    ([3, 3], [2, 1], [1; 4], 1),
    ([2, 4], [1, 1], [1, 2, 0, 1], 1),
    ([1, 1], [1, 1], [1, 2, 0, 3], 1),
    ([3, 3], [1, 1], [0; 4], 1),
];

fn geometry((kernel, stride, pad, dilation): Window) -> ConvGeometry {
    ConvGeometry { kernel, stride, pad, dilation: [dilation; 2], group: 1 }
}

/// Adds a convolution of all channels of `x`, and what is added to it.
fn conv(graph: &mut Graph, quantised: bool, x: ValueId, window: Window, residual: Option<ValueId>) -> ValueId {
    let geometry = geometry(window);
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let weight = |at: usize| if at.is_multiple_of(3) { 0 } else { (at * 7 % 11) as i8 - 5 };
    let shape = [CHANNELS, CHANNELS, geometry.kernel[0], geometry.kernel[1]];
    let weights: Vec<i8> = (0..CHANNELS * CHANNELS * taps).map(weight).collect();
    let weights = if quantised {
        Tensor::new(shape, Data::I8(weights))
    } else {
        Tensor::f32(shape, weights.iter().map(|&w| f32::from(w) / 64.0).collect())
    };
    let weights = graph.add_constant("w", weights);
    let bias = graph.add_constant("b", Tensor::f32([CHANNELS], vec![0.5; CHANNELS]));
    let size = [0, 1].map(|a| {
        let span = (geometry.kernel[a] - 1) * geometry.dilation[a] + 1;
        (graph.ty(x).shape[2 + a] + geometry.pad[a] + geometry.pad[a + 2] - span) / geometry.stride[a] + 1
    });
    let quant = quantised.then(|| ConvQuant { x_zero: 3, scale: vec![0.004; CHANNELS], acc_bias: vec![-40; CHANNELS] });
    let (store, dtype) = if quantised && residual.is_none() {
        (Store::U8 { scale: 0.05, zero: 3 }, DType::U8)
    } else {
        (Store::F32, DType::F32)
    };
    let epilogue =
        Epilogue { residual: residual.map(|_| Residual::AfterActivation), stores: vec![store], ..Epilogue::default() };
    let ty = Type::new(dtype, [1, CHANNELS, size[0], size[1]]);
    let inputs = [x, weights, bias].into_iter().chain(residual).collect();
    let name = format!("conv{}", graph.nodes.len());
    graph.add_node(&name, Op::Conv(Conv { geometry, quant, epilogue }), inputs, ty)
}

/// A map, the same without a window, and that through every window in turn.
fn chain(quantised: bool, size: [usize; 2]) -> Graph {
    let mut graph = Graph::default();
    let dtype = if quantised { DType::U8 } else { DType::F32 };
    let x = graph.add_value("x", Type::new(dtype, [1, CHANNELS, size[0], size[1]]));
    graph.inputs.push(x);
    for window in WINDOWS {
        let first = conv(&mut graph, quantised, x, WINDOWS[0], None);
        let read = conv(&mut graph, quantised, first, window, None);
        let next = conv(&mut graph, quantised, read, WINDOWS[0], None);
        // A window over what was computed through one, of which a strided one reads another layout.
        let again = conv(&mut graph, quantised, read, WINDOWS[1], None);
        let twice = conv(&mut graph, quantised, again, WINDOWS[1], None);
        let down = conv(&mut graph, quantised, again, WINDOWS[6], None);
        graph.outputs.extend([next, twice, down]);
    }
    if !quantised {
        let first = conv(&mut graph, false, x, WINDOWS[0], None);
        let sum = conv(&mut graph, false, x, WINDOWS[1], Some(first));
        graph.outputs.push(sum);
    }
    graph
}

/// The program of a graph in the smallest units that its kernels take.
fn in_small_units(graph: &Graph, options: &Options) -> &'static Program {
    let mut plan = plan::build(graph, options).expect("a plan");
    for layer in &mut plan.layers {
        let Kind::Conv(conv) = &mut layer.kind else { continue };
        match &mut conv.winograd {
            Some(winograd) => winograd.tile_rows = 1,
            None => conv.blocking.chunk_tiles = if conv.panels.is_some() { 2 } else { 4 },
        }
        let whole = conv.winograd.is_some() || conv.panels.is_some();
        if !whole && !conv.packed.is_empty() {
            // The tables count from rows of the planned pass.
            conv.blocking.chunk_tiles = conv.blocking.pass_tiles.next_multiple_of(4);
        } else if !whole {
            conv.blocking.pass_tiles = conv.blocking.pass_tiles.min(4);
        }
        if conv.panels.is_none() {
            conv.blocking.outputs = MAX_GROUP;
        }
    }
    plan.leak()
}

/// Positions of a plane, padding between rows included, or pixels where rows are split.
type Place = (isize, isize);

/// Where a unit writes to `map`: its run, when rows of the map are those of the run.
fn written(conv: &conv::Conv, isa: Isa, map: &Map, unit: usize) -> BTreeSet<Place> {
    let row = conv.input.row;
    let run = run_of(conv, isa, unit);
    let place = |at: usize| ((at / row) as isize, (at % row) as isize);
    let linear = !map.is_split() && map.row == row;
    run.map(place).filter(|&(_, x)| linear || x < conv.out_width as isize).collect()
}

fn run_of(conv: &conv::Conv, isa: Isa, unit: usize) -> std::ops::Range<usize> {
    let row = conv.input.row;
    let end = (conv.out_height - 1) * row + conv.out_width;
    let pixels = match &conv.winograd {
        Some(winograd) => winograd.tile_rows * 4 * row,
        None => conv.blocking.chunk_tiles * conv.arithmetic.tile(),
    };
    let blocks = conv.table(isa).groups.len().div_ceil(conv.blocking.outputs / conv.table(isa).group);
    let chunk = unit / blocks;
    chunk * pixels..end.min((chunk + 1) * pixels)
}

/// Where a unit reads its input, and where the window of a pixel leaves it.
fn read(conv: &conv::Conv, isa: Isa, g: &ConvGeometry, unit: usize) -> BTreeSet<Place> {
    let row = conv.input.row;
    let pixels = run_of(conv, isa, unit).map(|at| [at / row, at % row]).filter(|[_, x]| *x < conv.out_width);
    let taps = (0..g.kernel[0]).flat_map(|ky| (0..g.kernel[1]).map(move |kx| [ky, kx]));
    let at = |[pixel, tap]: [[usize; 2]; 2]| {
        let [y, x] = [0, 1].map(|a| (pixel[a] * g.stride[a] + tap[a] * g.dilation[a]) as isize - g.pad[a] as isize);
        // Columns outside a row are those between it and the next.
        if conv.input.is_split() { (y, x) } else { (y + x.div_euclid(row as isize), x.rem_euclid(row as isize)) }
    };
    pixels.flat_map(|pixel| taps.clone().map(move |tap| at([pixel, tap]))).collect()
}

/// Checks every unit of every step that overlaps with the one before, and returns how many wait for a part of it only.
fn check(graph: &Graph, program: &Program, isa: Isa) -> usize {
    let mut parts = 0;
    for step in 1..program.schedule.len() {
        let [before, layer] = [step - 1, step].map(|at| program.layers[program.schedule[at].layer as usize]);
        let (Kind::Conv(writer), Kind::Conv(reader)) = (&before.kind, &layer.kind) else { continue };
        if !overlaps(program, step) {
            continue;
        }
        // No concatenation lets maps of different values overlap here.
        let stores = |map: &Map| writer.epilogue.stores.iter().any(|store| store.map.offset == map.offset);
        let residual = reader.epilogue.residual.as_ref();
        if program.schedule[step].needs == Needs::Nothing {
            assert!(!stores(&reader.input) && !residual.is_some_and(|r| stores(&r.map)), "{} reads", layer.name);
            continue;
        }
        let node = graph.nodes.iter().find(|node| node.name == layer.name).expect("layers are named after nodes");
        let Op::Conv(conv) = &node.op else { unreachable!("a convolution") };
        let whole = |conv: &conv::Conv| 0..conv.out_height;
        let units = writer.units(isa, &whole(writer));
        let residual = residual.filter(|residual| stores(&residual.map));
        let map = residual.map_or(&reader.input, |residual| &residual.map);
        let owned: Vec<_> = (0..units).map(|unit| written(writer, isa, map, unit)).collect();
        for unit in 0..reader.units(isa, &whole(reader)) {
            let places = match residual {
                Some(residual) => written(reader, isa, &Map { row: usize::MAX, ..residual.map }, unit),
                None => read(reader, isa, &conv.geometry, unit),
            };
            let named = units_read(program, isa, step, unit);
            assert!(named.end <= units, "{}: there is no unit {named:?}", layer.name);
            for (other, owned) in owned.iter().enumerate().filter(|(other, _)| !named.contains(other)) {
                let missed = places.intersection(owned).next();
                assert_eq!(missed, None, "{} {isa:?}: unit {unit} waits for {named:?}, not {other}", layer.name);
            }
            parts += usize::from(named.len() < units);
        }
    }
    parts
}

type Run<'a> = &'a dyn Fn(&mut Engine, &[TensorRef<'_>], &mut [TensorMut<'_>]) -> Result<(), RunError>;

/// Runs on pseudo-random numbers, and returns the bits of all outputs.
fn run(engine: &mut Engine, quantised: bool, seed: u32, run: Run<'_>) -> Vec<Vec<u8>> {
    let spec = engine.spec();
    let mut state = seed;
    let bytes: Vec<u8> = (0..spec.inputs[0].len())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let floats: Vec<f32> = bytes.iter().map(|&b| f32::from(b) / 128.0 - 1.0).collect();
    let input = if quantised { TensorRef::U8(&bytes) } else { TensorRef::F32(&floats) };
    if quantised {
        let mut outputs: Vec<Vec<u8>> = spec.outputs.iter().map(|o| vec![0; o.len()]).collect();
        let mut tensors: Vec<_> = outputs.iter_mut().map(|o| TensorMut::U8(o)).collect();
        run(engine, &[input], &mut tensors).expect("tensors fit");
        return outputs;
    }
    let mut outputs: Vec<Vec<f32>> = spec.outputs.iter().map(|o| vec![f32::NAN; o.len()]).collect();
    let mut tensors: Vec<_> = outputs.iter_mut().map(|o| TensorMut::F32(o)).collect();
    run(engine, &[input], &mut tensors).expect("tensors fit");
    outputs.iter().map(|o| o.iter().flat_map(|x| x.to_le_bytes()).collect()).collect()
}

#[test]
fn units_wait_for_all_that_they_read() {
    for size in [[40, 40], [31, 31], [30, 15], [26, 33], [24, 56], [9, 7]] {
        for quantised in [false, true] {
            let graph = chain(quantised, size);
            for (panels, winograd) in [
                (KernelUse::Never, KernelUse::Never),
                (KernelUse::Possible, KernelUse::Never),
                (KernelUse::Never, KernelUse::Possible),
            ] {
                let options = Options { panels, winograd, ..Options::default() };
                let program = in_small_units(&graph, &options);
                for isa in Isa::ALL {
                    let parts = check(&graph, program, isa);
                    assert!(size[0] < 20 || parts > 50, "{size:?} {isa:?}: only {parts} units wait for a part");
                    let mut engine = Engine::with_isa(program, 1, isa).expect("one thread starts");
                    let expected = run(&mut engine, quantised, 7, &Engine::run);
                    for [odd, descending] in [[false, false], [false, true], [true, false], [true, true]] {
                        run(&mut engine, quantised, 8, &Engine::run);
                        let overlapped: Run<'_> = &|engine, x, y| engine.run_overlapped(x, y, odd, descending);
                        let got = run(&mut engine, quantised, 7, overlapped);
                        assert!(got == expected, "{size:?} {isa:?} {quantised} {odd} {descending}: outputs differ");
                    }
                    let mut team = Engine::with_isa(program, 3, isa).expect("three threads start");
                    for _ in 0..3 {
                        run(&mut team, quantised, 8, &Engine::run);
                        let got = run(&mut team, quantised, 7, &Engine::run);
                        assert!(got == expected, "{size:?} {isa:?} {quantised}: three threads differ from one");
                    }
                }
            }
        }
    }
}
