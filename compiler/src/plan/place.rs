//! Where every value lives: which buffers hold it, in which layout, and which values share one.
//!
//! A concatenation is not an operation: its inputs are placed in slices of its buffer, and their producers write
//! there. A channel slice is a view of its input. A value that several concatenations want, or that convolutions
//! of different strides read, has several placements, and its producer writes them all.

use super::halo::Taps;
use super::{PlanError, PlanErrors};
use crate::ir::{DType, Graph, Op, ValueId};
use peristyle_runtime::engine::DType as MapType;
use peristyle_runtime::kernels::map::Map;
use std::collections::{BTreeMap, BTreeSet};

/// Vertical and horizontal stride phases of a layout.
pub type Split = [usize; 2];
/// The layout without phases.
pub const UNSPLIT: Split = [1, 1];

/// Index of a buffer.
pub type BufferId = usize;

/// A region of the arena.
#[derive(Clone, Debug)]
pub enum Buffer {
    /// A feature map; its `offset` counts from the start of the buffer to pixel (0, 0).
    Map(Map),
    /// This many bytes of row-major elements.
    Flat(usize),
}

impl Buffer {
    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            // A map that was refused has no layout.
            Buffer::Map(map) if map.plane == 0 => 0,
            Buffer::Map(map) => {
                let planes = map.channels * map.split[0] * map.split[1] * map.plane * map.dtype.size();
                planes + map.offset - map.lead() * map.dtype.size()
            }
            Buffer::Flat(bytes) => *bytes,
        }
    }

    /// Size in bytes of a map of which nothing but the rows is laid out yet; `None` when it overflows.
    fn needed(map: &Map) -> Option<usize> {
        let [top, left, bottom, right] = map.pad;
        let rows = map.plane_height().checked_add(top)?.checked_add(bottom)?;
        let plane = rows.checked_mul(map.row)?.checked_add(left)?.checked_add(right)?;
        // A plane is rounded up to cache lines, and one more.
        let bytes = plane.checked_mul(map.dtype.size())?.checked_add(2 * 64)?;
        let planes = bytes.checked_mul(map.channels)?.checked_mul(map.split[0])?.checked_mul(map.split[1])?;
        planes.checked_add(64)
    }
}

/// A run of channels of a map buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The buffer.
    pub buffer: BufferId,
    /// First channel of the buffer.
    pub first: usize,
    /// Layout of the buffer.
    pub split: Split,
}

/// Where a value that is not a map lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flat {
    /// In a buffer of its own.
    Buffer(BufferId),
    /// In the caller's input.
    Input(usize),
    /// In the caller's output.
    Output(usize),
}

/// Where every value of a graph lives.
#[derive(Debug)]
pub struct Places {
    /// All buffers.
    pub buffers: Vec<Buffer>,
    /// For every value that is a map, its placements.
    pub maps: Vec<Vec<Placement>>,
    /// For every other value that is not a constant, its place.
    pub flats: Vec<Option<Flat>>,
    /// Nodes that do nothing because their output is made of, or is a view of, their inputs.
    pub views: Vec<bool>,
}

/// Whether a value is a feature map `[1, c, h, w]`.
pub fn is_map(graph: &Graph, value: ValueId) -> bool {
    let v = graph.value(value);
    v.constant.is_none() && v.ty.shape.len() == 4 && v.ty.shape[0] == 1
}

/// The first channel when the slice takes a run of channels of a map and all of its pixels.
pub fn channel_slice(graph: &Graph, node: usize) -> Option<usize> {
    let node = &graph.nodes[node];
    let Op::Slice { starts, steps } = &node.op else { return None };
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let whole = graph.ty(x).shape.iter().zip(&graph.ty(y).shape).enumerate().all(|(a, (i, o))| a == 1 || i == o);
    let plain = steps.iter().all(|&s| s == 1) && starts.iter().enumerate().all(|(a, &s)| a == 1 || s == 0);
    (is_map(graph, x) && is_map(graph, y) && whole && plain).then(|| starts[1])
}

impl Places {
    /// Places every value of the graph. A value whose type or use no layout serves adds to `errors` and gets a place
    /// that is good for nothing but looking for further errors.
    pub fn new(graph: &Graph, errors: &mut PlanErrors) -> Places {
        let mut placing = Placing {
            graph,
            errors,
            owners: Vec::new(),
            needs: vec![BTreeSet::new(); graph.values.len()],
            aliases: vec![None; graph.nodes.len()],
            places: Places {
                buffers: Vec::new(),
                maps: vec![Vec::new(); graph.values.len()],
                flats: vec![None; graph.values.len()],
                views: vec![false; graph.nodes.len()],
            },
        };
        for output in graph.outputs.iter().filter(|&&o| is_map(graph, o)) {
            placing.needs[output.index()].insert(UNSPLIT);
        }
        for node in (0..graph.nodes.len()).rev() {
            placing.place_node(node);
        }
        for (index, &input) in graph.inputs.iter().enumerate() {
            if is_map(graph, input) {
                placing.settle(input, false);
            } else {
                placing.places.flats[input.index()] = Some(Flat::Input(index));
            }
        }
        placing.resolve_aliases();
        placing.pad();
        placing.finish_layouts();
        placing.places
    }

    /// The map that a placement of `value` denotes, its offset counted from the start of its buffer.
    pub fn map(&self, graph: &Graph, value: ValueId, placement: Placement) -> Map {
        let Buffer::Map(map) = &self.buffers[placement.buffer] else { unreachable!("placements name map buffers") };
        map.slice(placement.first, graph.ty(value).shape[1])
    }

    /// The placement that readers of `value` in this layout use.
    pub fn placement(&self, value: ValueId, split: Split) -> Placement {
        *self.maps[value.index()].iter().find(|p| p.split == split).expect("every needed layout is placed")
    }
}

/// Most bytes of a map: kernels reach its rows by 32-bit offsets.
const MAX_MAP_BYTES: usize = i32::MAX as usize;

struct Placing<'a> {
    graph: &'a Graph,
    errors: &'a mut PlanErrors,
    /// The value that each buffer was made for.
    owners: Vec<ValueId>,
    /// Layouts in which each value is read.
    needs: Vec<BTreeSet<Split>>,
    /// For nodes whose output is a view of a run of channels of their input: the first channel.
    aliases: Vec<Option<usize>>,
    places: Places,
}

impl Placing<'_> {
    fn place_node(&mut self, index: usize) {
        let graph = self.graph;
        let node = &graph.nodes[index];
        if let Some(first) = channel_slice(graph, index)
            && self.places.maps[node.outputs[0].index()].is_empty()
        {
            self.aliases[index] = Some(first);
            self.places.views[index] = true;
            let needs = std::mem::take(&mut self.needs[node.outputs[0].index()]);
            let input = &mut self.needs[node.inputs[0].index()];
            if needs.is_empty() {
                input.insert(UNSPLIT);
            } else {
                input.extend(needs.iter().copied());
            }
            self.needs[node.outputs[0].index()] = needs;
            return;
        }
        let stores_every_layout = match node.op {
            Op::Conv(_) | Op::Concat { axis: 1 } => true,
            Op::Quantize(_) => graph.inputs.contains(&node.inputs[0]),
            _ => false,
        };
        for &output in &node.outputs {
            if is_map(graph, output) {
                self.settle(output, !stores_every_layout);
            } else {
                self.place_flat(output);
            }
        }
        match &node.op {
            Op::Concat { axis: 1 } if node.inputs.iter().all(|&i| is_map(graph, i)) => {
                self.places.views[index] = true;
                for placement in self.places.maps[node.outputs[0].index()].clone() {
                    let mut first = placement.first;
                    for &input in &node.inputs {
                        self.places.maps[input.index()].push(Placement { first, ..placement });
                        first += graph.ty(input).shape[1];
                    }
                }
            }
            op => {
                for (i, &input) in node.inputs.iter().enumerate() {
                    let split = match op {
                        Op::Conv(conv) if i == 0 => conv.geometry.stride,
                        _ => UNSPLIT,
                    };
                    self.needs[input.index()].insert(split);
                }
            }
        }
    }

    /// Gives a map buffers for the layouts that are needed and not placed by a concatenation.
    fn settle(&mut self, value: ValueId, unsplit: bool) {
        let mut needs = self.needs[value.index()].clone();
        if needs.is_empty() && self.places.maps[value.index()].is_empty() || unsplit {
            needs.insert(UNSPLIT);
        }
        for split in needs {
            if self.places.maps[value.index()].iter().any(|p| p.split == split) {
                continue;
            }
            let info = self.graph.value(value);
            let dtype = match info.ty.dtype {
                DType::F32 => MapType::F32,
                DType::U8 => MapType::U8,
                other => {
                    self.errors.push(PlanError::ElementType { value: info.name.clone(), dtype: other });
                    MapType::F32
                }
            };
            let shape = &info.ty.shape;
            let map = Map {
                dtype,
                offset: 0,
                channels: shape[1],
                height: shape[2],
                width: shape[3],
                split,
                row: 0,
                plane: 0,
                pad: [0; 4],
                pad_value: 0,
            };
            self.places.maps[value.index()].push(Placement { buffer: self.places.buffers.len(), first: 0, split });
            self.places.buffers.push(Buffer::Map(map));
            self.owners.push(value);
        }
    }

    fn place_flat(&mut self, value: ValueId) {
        let mut outputs = self.graph.outputs.iter().enumerate().filter(|(_, o)| **o == value);
        let flat = match (outputs.next(), outputs.next()) {
            (Some((output, _)), None) => Flat::Output(output),
            _ => {
                let ty = self.graph.ty(value);
                self.places.buffers.push(Buffer::Flat(ty.len() * ty.dtype.size()));
                self.owners.push(value);
                Flat::Buffer(self.places.buffers.len() - 1)
            }
        };
        self.places.flats[value.index()] = Some(flat);
    }

    fn resolve_aliases(&mut self) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let Some(first) = self.aliases[index] else { continue };
            let (x, y) = (node.inputs[0], node.outputs[0]);
            let mut splits = self.needs[y.index()].clone();
            if splits.is_empty() {
                splits.insert(UNSPLIT);
            }
            for split in splits {
                let of = self.places.placement(x, split);
                self.places.maps[y.index()].push(Placement { first: of.first + first, ..of });
            }
        }
    }

    /// Grows the padding of every buffer to what the convolutions that read it reach.
    fn pad(&mut self) {
        let mut values: Vec<Option<u8>> = vec![None; self.places.buffers.len()];
        for node in &self.graph.nodes {
            let Op::Conv(conv) = &node.op else { continue };
            let placement = self.places.placement(node.inputs[0], conv.geometry.stride);
            let zero = conv.quant.as_ref().map_or(0, |q| q.x_zero);
            let Buffer::Map(map) = &mut self.places.buffers[placement.buffer] else { unreachable!("a map") };
            let out = &self.graph.ty(node.outputs[0]).shape;
            let taps = Taps::new(&conv.geometry);
            let reach = taps.padding([map.plane_height(), map.plane_width()], [out[2], out[3]]);
            if reach == [0; 4] && map.height.is_multiple_of(map.split[0]) && map.width.is_multiple_of(map.split[1]) {
                continue;
            }
            if values[placement.buffer].is_some_and(|v| v != zero) {
                self.errors.push(PlanError::ZeroPoints { node: node.name.clone() });
            }
            values[placement.buffer] = Some(zero);
            map.pad_value = zero;
            for (pad, reach) in map.pad.iter_mut().zip(reach) {
                *pad = (*pad).max(reach);
            }
        }
    }

    /// Lays every map out; those that are too large are refused and take no memory.
    ///
    /// Planes of equal extents get rows of equal length, the longest that any of them needs: a convolution then writes
    /// a run of output pixels as one run of the map, padding columns included, whatever the layouts of its neighbours.
    fn finish_layouts(&mut self) {
        let extents = |map: &Map| (map.plane_height(), map.plane_width());
        let mut gaps = BTreeMap::new();
        for buffer in &self.places.buffers {
            let Buffer::Map(map) = buffer else { continue };
            let gap = gaps.entry(extents(map)).or_insert(0);
            *gap = map.pad[1].max(map.pad[3]).max(*gap);
        }
        for (buffer, &value) in self.places.buffers.iter_mut().zip(&self.owners) {
            let Buffer::Map(map) = buffer else { continue };
            map.row = map.plane_width().saturating_add(gaps[&extents(map)]);
            let bytes = Buffer::needed(map);
            if bytes.is_some_and(|n| n <= MAX_MAP_BYTES) {
                finish_layout(map);
                continue;
            }
            let producer = self.graph.nodes.iter().find(|n| n.outputs.contains(&value));
            let node = producer.map_or(&self.graph.value(value).name, |n| &n.name).clone();
            self.errors.push(PlanError::MapSize { node, ty: self.graph.ty(value).clone(), bytes });
        }
    }
}

/// Sets the strides and the origin of a map from its extents, padding and row length.
fn finish_layout(map: &mut Map) {
    let size = map.dtype.size();
    // An odd number of cache lines keeps the same pixel of neighbouring planes out of the same cache set.
    let lines = (map.plane_len() * size).div_ceil(64) | 1;
    map.plane = lines * 64 / size;
    // Pixel (0, 0) starts a cache line: windows of one pixel then read whole lines.
    map.offset = (map.lead() * size).next_multiple_of(64);
}
