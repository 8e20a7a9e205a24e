//! Checks that a program reads and writes nothing but its arena, constants, inputs and outputs.
//!
//! What is not checked is trusted: the code of unrolled kernels, that layers which share memory do not need it at the same
//! time, and what steps say they need of the step before.

use super::program::{Kind, Program, Step};
use super::spec::{DType, TensorSpec};
use crate::kernels::conv::u8s8_spconv::{PAIR, PAIR_BLOCKS, PAIR_MASKS, PAIR_SEGMENTS, PAIRS_AHEAD, PAIRS_GROUP, QUAD};
use crate::kernels::conv::{Arithmetic, Conv, MAX_GROUP, PanelTile, Segment, Table};
use crate::kernels::detect_head::DetectHead;
use crate::kernels::map::Map;
use crate::kernels::strided::{AXES, Base, MatMul, UnaryFn, View};
use crate::kernels::transfer::LoadInput;
use alloc::format;
use alloc::string::String;

/// What is wrong with a layer.
type Fault = Result<(), &'static str>;

/// A program that an engine refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the compiled model is damaged: {place}: {reason}")]
pub struct ProgramError {
    /// The layer, or another part.
    pub place: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Largest extent, padding, stride or count: products of two of them stay far from overflow.
const MAX: usize = 1 << 31;
/// Register tiles that kernels may read past the last pixel.
const TILES_PAST_END: usize = 4;
/// Columns that the head decode may read past the end of a row.
const HEAD_BLOCK: usize = 16;

/// Checks every layer and step.
///
/// # Errors
/// The first fault.
pub fn validate(program: &Program) -> Result<(), ProgramError> {
    let fault = |place: String, fault: Fault| fault.map_err(|reason| ProgramError { place, reason });
    let spec = program.spec;
    for tensor in spec.inputs.iter().chain(spec.outputs) {
        let fits = tensor.shape.iter().try_fold(tensor.dtype.size(), |n, &d| n.checked_mul(d).filter(|&n| n > 0));
        fault(format!("tensor `{}`", tensor.name), ensure(fits.is_some(), "its shape is empty or too large"))?;
    }
    let memory = Memory { program };
    for (index, layer) in program.layers.iter().enumerate() {
        let checked = layer.pads.iter().try_for_each(|map| memory.map(map)).and_then(|()| memory.kind(&layer.kind));
        fault(format!("layer {index} `{}`", layer.name), checked)?;
    }
    for (index, step) in program.schedule.iter().enumerate() {
        fault(format!("step {index}"), memory.step(step))?;
    }
    Ok(())
}

fn ensure(holds: bool, reason: &'static str) -> Fault {
    if holds { Ok(()) } else { Err(reason) }
}

/// Whether two maps have the same channels and pixels.
fn same_pixels(a: &Map, b: &Map) -> bool {
    (a.channels, a.height, a.width) == (b.channels, b.height, b.width)
}

/// The memory that layers may use.
struct Memory<'a> {
    program: &'a Program,
}

impl Memory<'_> {
    fn step(&self, step: &Step) -> Fault {
        let Some(layer) = self.program.layers.get(step.layer as usize) else { return Err("there is no such layer") };
        let height = match &layer.kind {
            Kind::LoadInput(load) => load.stores[0].map.height,
            Kind::CopyMap(copy) => copy.to.height,
            Kind::Conv(conv) => conv.out_height,
            Kind::MaxPool(pool) => pool.output.height,
            Kind::AveragePool(pool) => pool.output.height,
            Kind::Resize(resize) => resize.output.height,
            _ => 1,
        };
        ensure(step.first < step.end && step.end as usize <= height, "its rows are not rows of the layer")
    }

    /// A map whose planes, with their padding, lie in the arena.
    fn map(&self, map: &Map) -> Fault {
        let [top, left, bottom, right] = map.pad;
        let extents = [map.channels, map.height, map.width, map.split[0], map.split[1]];
        let bounded = [top, left, bottom, right, map.row].iter().all(|&n| n <= MAX);
        ensure(bounded && extents.iter().all(|n| (1..=MAX).contains(n)), "a map has impossible extents")?;
        ensure(map.plane_width() + left.max(right) <= map.row, "rows of a map overlap")?;
        ensure(map.plane_len() <= map.plane, "planes of a map overlap")?;
        let size = map.dtype.size();
        let planes = map.channels.checked_mul(map.split[0]).and_then(|n| n.checked_mul(map.split[1]));
        let bytes = planes.and_then(|n| n.checked_mul(map.plane)).and_then(|n| n.checked_mul(size));
        let start = map.lead().checked_mul(size).and_then(|lead| map.offset.checked_sub(lead));
        let end = start.zip(bytes).and_then(|(start, bytes)| start.checked_add(bytes));
        let inside = end.is_some_and(|end| end <= self.program.arena_bytes);
        ensure(inside && map.offset.is_multiple_of(size), "a map lies outside the arena")
    }

    fn unsplit(&self, map: &Map) -> Fault {
        self.map(map)?;
        ensure(!map.is_split(), "a map is split where it must not be")
    }

    /// A view of `dtype` that is read or written at `index * strides` for every index of `shape`.
    fn view(&self, view: &View, dtype: DType, shape: &[usize; AXES], strides: &[usize; AXES]) -> Fault {
        ensure(view.dtype == dtype, "a view has the wrong element type")?;
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(0usize, |last, (&extent, &stride)| last.checked_add(extent.checked_sub(1)?.checked_mul(stride)?));
        let end = last.and_then(|last| last.checked_add(1)?.checked_mul(dtype.size())?.checked_add(view.offset));
        self.within(view, end)
    }

    /// A view that ends at this byte of its base.
    fn within(&self, view: &View, end: Option<usize>) -> Fault {
        let tensor = |tensors: &[TensorSpec], index: usize| {
            let tensor = tensors.get(index).filter(|tensor| tensor.dtype == view.dtype)?;
            Some(tensor.len() * tensor.dtype.size())
        };
        let bytes = match &view.base {
            Base::Arena => Some(self.program.arena_bytes),
            &Base::Input(index) => tensor(self.program.spec.inputs, index),
            &Base::Output(index) => tensor(self.program.spec.outputs, index),
            Base::Constant(values) => (view.dtype == DType::F32).then_some(values.len() * 4),
        };
        let inside = end.zip(bytes).is_some_and(|(end, bytes)| end <= bytes);
        ensure(inside && view.offset.is_multiple_of(view.dtype.size()), "a view lies outside its memory")
    }

    fn read(&self, view: &View, dtype: DType, shape: &[usize; AXES]) -> Fault {
        self.view(view, dtype, shape, &view.strides)
    }

    /// A view whose elements are written, each by one thread.
    fn written(&self, view: &View, dtype: DType) -> Fault {
        ensure(matches!(view.base, Base::Arena | Base::Output(_)), "a constant or input is written")?;
        let repeats = view.shape.iter().zip(&view.strides).any(|(&extent, &stride)| extent > 1 && stride == 0);
        ensure(!repeats, "an element is written more than once")?;
        self.view(view, dtype, &view.shape, &view.strides)
    }

    fn kind(&self, kind: &Kind) -> Fault {
        match kind {
            Kind::LoadInput(load) => self.load(load),
            Kind::CopyMap(copy) => {
                self.map(&copy.from)?;
                self.map(&copy.to)?;
                ensure(same_pixels(&copy.from, &copy.to) && copy.from.dtype == copy.to.dtype, "the maps differ")
            }
            Kind::Conv(conv) => self.conv(conv),
            Kind::MaxPool(pool) => {
                self.unsplit(&pool.input)?;
                self.unsplit(&pool.output)?;
                let sane = pool.kernel.iter().chain(&pool.stride).chain(&pool.pad).all(|&n| n <= MAX);
                let fits = pool.input.dtype == pool.output.dtype && pool.output.channels <= pool.input.channels;
                ensure(sane && fits, "the maps differ")
            }
            Kind::AveragePool(pool) => {
                self.unsplit(&pool.input)?;
                self.unsplit(&pool.output)?;
                let sane = pool.kernel.iter().chain(&pool.stride).chain(&pool.pad).all(|&n| n <= MAX);
                let floats = pool.input.dtype == DType::F32 && pool.output.dtype == DType::F32;
                ensure(sane && floats && pool.output.channels <= pool.input.channels, "the maps differ")
            }
            Kind::Resize(resize) => {
                self.unsplit(&resize.input)?;
                self.unsplit(&resize.output)?;
                let ([rows, columns], to) = (resize.scale, &resize.output);
                let rows = resize.input.height.checked_mul(rows).is_some_and(|rows| to.height <= rows);
                let columns = resize.input.width.checked_mul(columns) == Some(to.width) && columns > 0;
                let fits = resize.input.dtype == to.dtype && to.channels <= resize.input.channels;
                ensure(rows && columns && fits, "the maps differ")
            }
            Kind::Unary(unary) => {
                let (x, y) = match unary.function {
                    UnaryFn::Copy => (unary.y.dtype, unary.y.dtype),
                    UnaryFn::Activation(_) => (DType::F32, DType::F32),
                    UnaryFn::Quantize(_) => (DType::F32, DType::U8),
                    UnaryFn::Dequantize { .. } => (DType::U8, DType::F32),
                };
                self.read(&unary.x, x, &unary.y.shape)?;
                self.written(&unary.y, y)
            }
            Kind::Binary(binary) => {
                self.read(&binary.a, DType::F32, &binary.y.shape)?;
                self.read(&binary.b, DType::F32, &binary.y.shape)?;
                self.written(&binary.y, DType::F32)
            }
            Kind::Softmax(softmax) => {
                ensure(softmax.axis < AXES, "there is no such axis")?;
                self.read(&softmax.x, DType::F32, &softmax.y.shape)?;
                self.written(&softmax.y, DType::F32)
            }
            Kind::MatMul(product) => self.product(product),
            Kind::DetectHead(head) => self.head(head),
        }
    }

    fn load(&self, load: &LoadInput) -> Fault {
        let (Some(input), Some(first)) = (self.program.spec.inputs.get(load.input), load.stores.first()) else {
            return Err("there is no such input, or nothing to store it in");
        };
        for store in load.stores.iter() {
            self.map(&store.map)?;
            let types = store.map.dtype == load.dtype || load.dtype == DType::F32;
            ensure(types && same_pixels(&store.map, &first.map), "the maps differ")?;
        }
        let image = first.map.channels.checked_mul(first.map.height).and_then(|n| n.checked_mul(first.map.width));
        let whole = input.dtype == load.dtype && image.is_some_and(|image| image <= input.len());
        ensure(whole, "the input does not hold the map")
    }

    fn conv(&self, conv: &Conv) -> Fault {
        let input = &conv.input;
        self.map(input)?;
        let (dtype, entry) = match conv.arithmetic {
            Arithmetic::F32 => (DType::F32, 1),
            Arithmetic::U8S8 => (DType::U8, PAIR),
        };
        ensure(input.dtype == dtype, "its input has the wrong element type")?;
        ensure((1..=MAX).contains(&conv.out_height) && conv.out_width > 0, "it has no output")?;
        ensure(conv.out_width <= input.row && conv.blocking.is_sane(), "its rows are too long")?;
        let together = conv.panels.is_some() || conv.blocking.chunk_tiles.is_multiple_of(4);
        ensure(together, "a kernel computes more tiles than it has room for")?;
        let channels = conv.epilogue.bias.len();
        let integer = conv.arithmetic == Arithmetic::U8S8;
        let scaled = conv.epilogue.acc_bias.len() == channels && conv.epilogue.scale.len() == channels;
        ensure(!integer || scaled, "its epilogue lacks channels")?;
        let outputs = |map: &Map| {
            self.map(map)?;
            let fits = (map.height, map.width) == (conv.out_height, conv.out_width) && channels <= map.channels;
            ensure(fits, "a map does not have its outputs")
        };
        conv.epilogue.stores.iter().try_for_each(|store| outputs(&store.map))?;
        if let Some(residual) = &conv.epilogue.residual {
            outputs(&residual.map)?;
            ensure(residual.map.dtype == DType::F32 && !residual.map.is_split(), "its residual has the wrong form")?;
        }
        let own = conv.panels.is_none_or(|panels| (panels.tile == PanelTile::Quads1x64) == integer);
        ensure(own, "its panels are those of another arithmetic")?;
        let mut reach = if conv.panels.is_some() {
            outputs_of_groups(&conv.table, channels)?;
            (0, 0)
        } else {
            table(&conv.table, entry, channels, dtype.size())?
        };
        if let Some(quads) = conv.quads.as_ref().filter(|_| conv.panels.is_none()) {
            let (low, high) = table(quads, QUAD, channels, dtype.size())?;
            reach = (reach.0.min(low), reach.1.max(high));
        }
        if integer && conv.panels.is_none() {
            parts(&conv.table)?;
        }
        if let Some(unrolled) = &conv.unrolled {
            outputs_of_groups(unrolled, channels)?;
        }
        if let Some(winograd) = &conv.winograd {
            ensure(!integer && conv.panels.is_none(), "it has two forms at once")?;
            winograd.fault(conv).map_or(Ok(()), Err)?;
        }
        ensure(conv.panels.is_none() || !conv.packed.is_empty(), "its panels have no rows")?;
        let alone = (conv.quads.is_none() || integer) && conv.unrolled.is_none();
        ensure(conv.panels.is_none() || alone, "it has other tables than its panels")?;
        let tile = conv.arithmetic.tile();
        let past = TILES_PAST_END.max(conv.blocking.pass_tiles);
        if !conv.packed.is_empty() {
            let pass = conv.pass_bytes() as i64;
            let inside = reach.0 >= 0 && i64::from(reach.1) + pass <= conv.packed.len() as i64 * pass;
            let whole = conv.pass_bytes().is_multiple_of(64) && inside;
            ensure(whole, "its weights reach outside the packed input")?;
            conv.panels.and_then(|panels| panels.fault(conv)).map_or(Ok(()), Err)?;
            reach = conv.packed.iter().fold((0, 0), |(low, high), &at| (low.min(at), high.max(at)));
        }
        let run = (conv.out_height - 1) * input.row + conv.out_width + past * tile;
        let first = input.offset as i128 + i128::from(reach.0);
        let end = input.offset as i128 + i128::from(reach.1) + run as i128 * dtype.size() as i128;
        ensure(first >= 0 && end <= self.program.arena_bytes as i128, "its weights reach outside the arena")
    }

    fn product(&self, product: &MatMul) -> Fault {
        let MatMul { a, b, y } = product;
        self.written(y, DType::F32)?;
        // The row of `b` and the column of `a` run over the inner extent instead.
        let inner = a.shape[AXES - 1];
        let (mut rows, mut columns) = (y.shape, y.shape);
        rows[AXES - 1] = inner;
        columns[AXES - 2] = inner;
        self.read(a, DType::F32, &rows)?;
        self.read(b, DType::F32, &columns)
    }

    fn head(&self, head: &DetectHead) -> Fault {
        ensure(matches!(head.y.base, Base::Arena | Base::Output(_)), "a constant or input is written")?;
        ensure(head.y.dtype == DType::F32 && (1..=MAX).contains(&head.outputs), "its rows are empty")?;
        let mut numbers = Some(0usize);
        for level in head.levels.iter() {
            let map = &level.map;
            self.unsplit(map)?;
            let channels = level.anchors.len().checked_mul(head.outputs);
            let fits = map.dtype == DType::F32 && channels.is_some_and(|n| n <= map.channels);
            ensure(fits, "a level has too few channels")?;
            let planes = (map.channels * map.plane + HEAD_BLOCK) * 4;
            ensure(map.offset + planes <= self.program.arena_bytes, "a level ends where the arena does")?;
            let level = channels.and_then(|n| n.checked_mul(map.height)).and_then(|n| n.checked_mul(map.width));
            numbers = numbers.zip(level).and_then(|(all, level)| all.checked_add(level));
        }
        let end = numbers.and_then(|n| n.checked_mul(4)).and_then(|n| n.checked_add(head.y.offset));
        self.within(&head.y, end)
    }
}

/// Checks that every group names outputs, and not too many.
fn outputs_of_groups(table: &Table, channels: usize) -> Fault {
    ensure(table.group > 0 && MAX_GROUP.is_multiple_of(table.group), "its groups have an impossible size")?;
    table.groups.iter().try_for_each(|group| {
        ensure((1..=table.group).contains(&group.outputs.len()), "a group has too many outputs")?;
        ensure(group.outputs.iter().all(|&o| usize::from(o) < channels), "a group has an unknown output")
    })
}

/// Checks that a table of pairs, whose indices are known to be right, consists of whole parts, and that kernels may read
/// ahead.
fn parts(table: &Table) -> Fault {
    ensure(table.group == PAIRS_GROUP, "its groups have an impossible size")?;
    let whole = |part: &[Segment]| {
        let forms = PAIR_MASKS.iter().flat_map(|&mask| PAIR_BLOCKS.map(|block| (mask, block)));
        part.iter().zip(forms).all(|(s, (mask, block))| s.mask == mask && usize::from(s.block) == block)
    };
    table.groups.iter().try_for_each(|group| {
        let segments = table.segments(group);
        let parts = segments.chunks_exact(PAIR_SEGMENTS);
        let known = !segments.is_empty() && parts.remainder().is_empty() && parts.clone().all(whole);
        ensure(known, "a part lacks segments")?;
        let pairs = segments.iter().map(Segment::entries).sum::<usize>() + PAIRS_AHEAD;
        ensure(group.offset as usize + pairs * PAIR <= table.offsets.len(), "its pairs end where their table does")
    })
}

/// Checks the indices of a table of entries of `rows` rows, and returns the lowest and the highest byte offset.
fn table(table: &Table, rows: usize, channels: usize, size: usize) -> Result<(i32, i32), &'static str> {
    outputs_of_groups(table, channels)?;
    for group in table.groups.iter() {
        let outputs = group.outputs.len();
        let (first, count) = (group.segments.0 as usize, group.segments.1 as usize);
        let segments = table.segments.get(first..).and_then(|segments| segments.get(..count));
        let segments = segments.ok_or("a group has unknown segments")?;
        let known = segments.iter().all(|s| s.entries() == 0 || usize::from(s.mask) >> outputs == 0);
        ensure(known, "a segment has an unknown output")?;
        ensure(rows == PAIR || segments.iter().all(|s| s.block == 1), "a segment has blocks")?;
        let entries: usize = segments.iter().map(Segment::entries).sum();
        let slots: usize = segments.iter().map(Segment::slots).sum();
        let words = if rows == PAIR { slots.div_ceil(2) } else { slots };
        let held = group.offset as usize + entries * rows <= table.offsets.len()
            && group.weight as usize + words <= table.weights.len();
        ensure(held, "a group has too few weights")?;
    }
    let aligned = table.offsets.iter().all(|&offset| (offset as isize).rem_euclid(size as isize) == 0);
    ensure(aligned, "an offset lies within an element")?;
    Ok(table.offsets.iter().fold((0, 0), |(low, high), &offset| (low.min(offset), high.max(offset))))
}
