//! Counting the work of layers.

use super::super::pack::entry_cost;
use super::work::{Tally, Work};
use peristyle_runtime::engine::{DType, Kind, Layer};
use peristyle_runtime::kernels::Activation;
use peristyle_runtime::kernels::conv::family::Form;
use peristyle_runtime::kernels::conv::table::STEPS_OF_TWO;
use peristyle_runtime::kernels::conv::u8s8_panels::{self, BLOCKS, QUAD};
use peristyle_runtime::kernels::conv::u8s8_spconv::PAIRS_TILES;
use peristyle_runtime::kernels::conv::{Arithmetic, Conv, PanelTile, Segment, Table, f32_panels, f32_winograd};
use peristyle_runtime::kernels::strided::UnaryFn;
use std::ops::Range;

/// Bytes of a map that stay in a second-level cache until they are read.
const NEAR: usize = 256 << 10;

/// Counts what computing these rows of a layer takes, one step of a schedule.
pub fn step(layer: &Layer, form: Option<Form>, rows: &Range<usize>, tally: &mut Tally) {
    match &layer.kind {
        Kind::Conv(conv) => self::conv(conv, form.expect("convolutions have a kernel"), rows, tally),
        Kind::LoadInput(load) => {
            for store in load.stores.iter() {
                let elements = (store.map.channels * store.map.width * rows.len()) as f64;
                let same = store.map.dtype == load.dtype;
                tally.add(if same { Work::Loaded } else { Work::LoadedQuantised }, elements);
                written(store.map.dtype, elements, tally);
            }
        }
        Kind::CopyMap(copy) => {
            let elements = (copy.to.channels * copy.to.width * rows.len()) as f64;
            tally.add(Work::Copied, elements);
            written(copy.to.dtype, elements, tally);
        }
        Kind::MaxPool(pool) => {
            let elements = (pool.output.channels * pool.output.width * rows.len()) as f64;
            let work = if pool.output.dtype == DType::U8 { Work::PooledBytes } else { Work::PooledFloats };
            tally.add(work, elements * (pool.kernel[0] + pool.kernel[1]) as f64);
            written(pool.output.dtype, elements, tally);
        }
        Kind::AveragePool(pool) => {
            let elements = (pool.output.channels * pool.output.width * rows.len()) as f64;
            tally.add(Work::Averaged, elements * (pool.kernel[0] * pool.kernel[1]) as f64);
            written(pool.output.dtype, elements, tally);
        }
        Kind::Resize(resize) => {
            let elements = (resize.output.channels * resize.output.width * rows.len()) as f64;
            tally.add(Work::Resized, elements);
            tally.add(Work::ResizedRow, (resize.output.channels * rows.len()) as f64);
            written(resize.output.dtype, elements, tally);
        }
        Kind::DetectHead(head) => {
            let cells = head.levels.iter().map(|l| l.anchors.len() * l.map.height * l.map.width).sum::<usize>();
            let elements = (cells * head.outputs) as f64;
            tally.add(Work::Decoded, elements);
            written(DType::F32, elements, tally);
        }
        Kind::Unary(unary) => {
            let elements = unary.y.shape.iter().product::<usize>() as f64;
            let hard = matches!(unary.function, UnaryFn::Activation(f) if exponential(f));
            tally.add(if hard { Work::StridedExponential } else { Work::Strided }, elements);
            written(unary.y.dtype, elements, tally);
        }
        Kind::Binary(binary) => {
            let elements = binary.y.shape.iter().product::<usize>() as f64;
            tally.add(Work::Strided, elements);
            written(DType::F32, elements, tally);
        }
        Kind::Softmax(softmax) => {
            let elements = softmax.y.shape.iter().product::<usize>() as f64;
            tally.add(Work::StridedExponential, elements);
            written(DType::F32, elements, tally);
        }
        Kind::MatMul(product) => {
            let inner = product.a.shape.last().copied().unwrap_or(1);
            let elements = product.y.shape.iter().product::<usize>() as f64;
            tally.add(Work::MatMul, elements * inner as f64);
            written(DType::F32, elements, tally);
        }
    }
    if rows.start == 0 {
        tally.add(Work::Layer, 1.0);
        for map in layer.pads.iter() {
            let planes = map.channels * map.split[0] * map.split[1];
            let padding = map.plane_len().saturating_sub(map.plane_height() * map.plane_width());
            tally.add(Work::Padding, (planes * padding * map.dtype.size()) as f64);
        }
    }
}

fn written(dtype: DType, elements: f64, tally: &mut Tally) {
    let bytes = elements * dtype.size() as f64;
    tally.add(if bytes <= NEAR as f64 { Work::NearBytes } else { Work::WrittenBytes }, bytes);
}

fn exponential(activation: Activation) -> bool {
    matches!(activation, Activation::Silu | Activation::Sigmoid)
}

/// How the pixels of a layer are cut.
struct Cut {
    /// Linear input positions from the first pixel to the last.
    pixels: usize,
    /// Tiles of every chunk.
    chunks: Vec<usize>,
    /// Blocks of outputs.
    blocks: usize,
    pass_tiles: usize,
}

impl Cut {
    fn new(conv: &Conv, table: &Table, rows: &Range<usize>) -> Cut {
        let pixels = (rows.len().max(1) - 1) * conv.input.row + conv.out_width;
        let tiles = pixels.div_ceil(conv.arithmetic.tile());
        let chunk = conv.blocking.chunk_tiles;
        let chunks = (0..tiles).step_by(chunk).map(|first| chunk.min(tiles - first)).collect();
        let blocks = table.groups.len().div_ceil(conv.blocking.outputs / table.group);
        Cut { pixels, chunks, blocks, pass_tiles: conv.blocking.pass_tiles }
    }

    /// Passes over all chunks.
    fn passes(&self) -> f64 {
        self.chunks.iter().map(|tiles| tiles.div_ceil(self.pass_tiles)).sum::<usize>() as f64
    }

    /// Runs of so many tiles that are computed at once.
    fn runs(&self, tiles: usize) -> f64 {
        let of_chunk = |&chunk: &usize| -> usize {
            (0..chunk).step_by(self.pass_tiles).map(|at| self.pass_tiles.min(chunk - at).div_ceil(tiles)).sum()
        };
        self.chunks.iter().map(of_chunk).sum::<usize>() as f64
    }
}

fn conv(conv: &Conv, form: Form, rows: &Range<usize>, tally: &mut Tally) {
    let table = match form {
        Form::Unrolled => conv.source_of_code().unwrap_or(&conv.table),
        Form::Quads | Form::DotPanels => conv.quads.as_ref().unwrap_or(&conv.table),
        _ => &conv.table,
    };
    let cut = Cut::new(conv, table, rows);
    match form {
        Form::Pairs => pairs(table, cut.runs(PAIRS_TILES), tally),
        Form::Unrolled if conv.unrolled.is_some() => coded_pairs(table, &cut, tally),
        Form::Unrolled | Form::Rows => rows_of(table, form, cut.runs(1), tally),
        Form::Quads => dots(table, cut.runs(2), tally),
        Form::Panels if conv.arithmetic == Arithmetic::U8S8 => quad_panels(conv, &cut, tally),
        Form::DotPanels => dot_panels(conv, table, &cut, tally),
        Form::Panels => float_panels(conv, &cut, tally),
        Form::DensePanels => dense_panels(conv, &cut, tally),
        Form::Points => points(conv, rows, tally),
    }
    let panels = matches!(form, Form::Panels | Form::DotPanels | Form::DensePanels);
    if panels && conv.arithmetic == Arithmetic::F32 {
        let rows = (conv.packed.len() * cut.blocks) as f64;
        tally.add(Work::FloatPacked, rows * cut.runs(f32_panels::PASS_TILES));
    } else if !conv.packed.is_empty() && !panels {
        let lines = conv.packed.len() * conv.pass_bytes() / 64 * cut.blocks;
        tally.add(Work::LinePacked, lines as f64 * cut.passes());
    }
    let input = conv.input.channels * conv.input.height * conv.input.width * conv.input.dtype.size();
    let work = if input <= NEAR { Work::NearBytes } else { Work::FarBytes };
    tally.add(work, (input * cut.blocks * rows.len()) as f64 / conv.out_height as f64);
    tally.add(Work::Run, (conv.epilogue.bias.len() * cut.chunks.len()) as f64);
    epilogue(conv, cut.pixels, rows, tally);
}

fn pairs(table: &Table, runs: f64, tally: &mut Tally) {
    for group in table.groups.iter() {
        for segment in table.segments(group) {
            let work = if segment.mask.count_ones() > 1 { Work::PairForBoth } else { Work::PairForOne };
            tally.add(work, segment.entries() as f64 * runs);
        }
        tally.add(Work::PairGroup, runs);
    }
}

fn coded_pairs(table: &Table, cut: &Cut, tally: &mut Tally) {
    let runs = cut.runs(1);
    for group in table.groups.iter() {
        let segments = table.segments(group);
        tally.add(Work::CodedPair, segments.iter().map(Segment::entries).sum::<usize>() as f64 * runs);
        tally.add(Work::CodedProduct, segments.iter().map(Segment::slots).sum::<usize>() as f64 * runs);
        tally.add(Work::CodedGroup, runs);
    }
}

fn rows_of(table: &Table, form: Form, runs: f64, tally: &mut Tally) {
    let coded = form == Form::Unrolled;
    for group in table.groups.iter() {
        for segment in table.segments(group) {
            let shared = segment.mask.count_ones() > 1 || !coded;
            tally.add(Work::FloatRow, if shared { segment.entries() as f64 * runs } else { 0.0 });
            let product = if coded { Work::FloatCodedProduct } else { Work::FloatProduct };
            tally.add(product, segment.slots() as f64 * runs);
            tally.add(Work::FloatLoop, if coded { 0.0 } else { runs });
        }
        tally.add(Work::FloatGroup, runs);
    }
}

fn dots(table: &Table, runs: f64, tally: &mut Tally) {
    for group in table.groups.iter() {
        for segment in table.segments(group) {
            let half_cycles = segment.entries() * entry_cost(segment.mask.count_ones());
            tally.add(Work::DotEntry, half_cycles as f64 / 2.0 * runs);
            tally.add(Work::DotLoop, runs);
        }
        tally.add(Work::DotGroup, runs);
    }
}

fn quad_panels(conv: &Conv, cut: &Cut, tally: &mut Tally) {
    let runs = cut.runs(u8s8_panels::PASS_TILES);
    for (segment, (block, run)) in conv.table.segments.iter().zip(BLOCKS.iter().cycle()) {
        let blocks = f64::from(segment.count);
        let quad = if *run { Work::RunQuad } else { Work::ListedQuad };
        tally.add(quad, blocks * *block as f64 * runs);
        tally.add(Work::QuadBlock, blocks * runs);
        tally.add(Work::QuadKind, if segment.count > 0 { runs } else { 0.0 });
    }
    tally.add(Work::QuadOutput, conv.table.offsets.len() as f64 * runs);
    tally.add(Work::QuadPacked, (conv.packed.len() / QUAD * cut.blocks) as f64 * runs);
}

fn dot_panels(conv: &Conv, table: &Table, cut: &Cut, tally: &mut Tally) {
    let runs = cut.runs(u8s8_panels::PASS_TILES);
    for (segment, quads) in table.segments.iter().zip(STEPS_OF_TWO.iter().cycle()) {
        for outputs in *quads {
            let work = if outputs.count_ones() > 1 { Work::DotQuadForBoth } else { Work::DotQuadForOne };
            tally.add(work, segment.entries() as f64 * runs);
        }
    }
    tally.add(Work::DotPair, table.offsets.len() as f64 * runs);
    tally.add(Work::QuadPacked, (conv.packed.len() / QUAD * cut.blocks) as f64 * runs);
}

fn float_panels(conv: &Conv, cut: &Cut, tally: &mut Tally) {
    let runs = cut.runs(f32_panels::PASS_TILES);
    let kinds = PanelTile::Sparse2x48.steps();
    for (segment, rows) in conv.table.segments.iter().zip(kinds.iter().cycle()) {
        for outputs in *rows {
            let work = if outputs.count_ones() > 1 { Work::PanelForBoth } else { Work::PanelForOne };
            tally.add(work, segment.entries() as f64 * runs);
        }
    }
    tally.add(Work::PanelGroup, (conv.table.segments.len() / kinds.len()) as f64 * runs);
}

fn dense_panels(conv: &Conv, cut: &Cut, tally: &mut Tally) {
    let slots: usize = conv.table.segments.iter().map(Segment::slots).sum();
    tally.add(Work::DenseProduct, slots as f64 * cut.runs(1));
    tally.add(Work::DenseGroup, conv.table.segments.len() as f64 * cut.runs(1));
}

fn points(conv: &Conv, rows: &Range<usize>, tally: &mut Tally) {
    use f32_winograd::{GROUP, LANES, POINTS, TILE};
    let winograd = conv.winograd.expect("layers by points say how");
    let (channels, outputs) = (conv.input.channels, conv.table.groups.len() * GROUP);
    let blocks = outputs.div_ceil(conv.blocking.outputs);
    let across = conv.out_width.div_ceil(TILE);
    let down = rows.len().div_ceil(TILE);
    for first in (0..down).step_by(winograd.tile_rows) {
        let tiles = winograd.tile_rows.min(down - first) * across;
        let vectors = tiles.div_ceil(LANES);
        tally.add(Work::PointProduct, (POINTS * vectors * channels * outputs) as f64);
        tally.add(Work::PointData, (tiles * TILE * TILE * channels * blocks) as f64);
        tally.add(Work::PointResult, (tiles * TILE * TILE * outputs) as f64);
        tally.add(Work::PointWeight, (POINTS * channels * outputs) as f64);
    }
}

fn epilogue(conv: &Conv, pixels: usize, rows: &Range<usize>, tally: &mut Tally) {
    let epilogue = &conv.epilogue;
    let outputs = epilogue.bias.len();
    let run = (outputs * pixels) as f64;
    let stored = (outputs * rows.len() * conv.out_width) as f64;
    let bytes = epilogue.residual.is_none() && epilogue.stores.iter().all(|store| store.map.dtype == DType::U8);
    let at_once = bytes && conv.arithmetic == Arithmetic::U8S8 && epilogue.activation == Activation::Silu;
    match epilogue.activation {
        _ if at_once => tally.add(Work::SiluBytes, run),
        Activation::Identity => {}
        f if exponential(f) => tally.add(Work::Exponential, run),
        _ => tally.add(Work::Cheap, run),
    }
    if epilogue.residual.is_some() {
        tally.add(Work::Residual, run);
    }
    let mut quantised = Vec::new();
    for store in epilogue.stores.iter() {
        let map = &store.map;
        let linear = !map.is_split() && map.row == conv.input.row;
        let only = epilogue.stores.iter().filter(|s| s.map.dtype == map.dtype).count() == 1;
        if map.dtype == DType::U8 && !quantised.contains(&store.quantizer) {
            quantised.push(store.quantizer);
            tally.add(Work::Quantise, if at_once && quantised.len() == 1 { 0.0 } else { run });
        }
        if map.is_split() {
            tally.add(Work::Split, stored);
        } else if !(linear && only) {
            tally.add(Work::Moved, stored);
        }
        written(map.dtype, stored, tally);
    }
}
