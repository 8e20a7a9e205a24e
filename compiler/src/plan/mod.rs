//! From a graph to a program: layouts, kernels, columns, arena, packed nonzeros.
//!
//! A [`Plan`] is the contract between analysis and emission: after it no ONNX idea survives, and the emitter decides
//! nothing. Its layers are the runtime's own types, so a plan can also be run in this process (see
//! [`Plan::leak`]), which is how the kernels are tested against the interpreter.

mod blocking;
mod channels;
pub mod column;
pub mod cost;
mod draft;
pub mod halo;
pub mod kernel;
mod limit;
mod lower;
pub mod memory;
mod needs;
pub mod pack;
mod panels;
pub mod place;
mod print;
mod winograd;

pub use channels::{ChannelZeros, channel_zeros};
pub use column::Columns;
pub use kernel::KernelUse;
pub use limit::{TableSizes, megabytes};

use crate::ir::{DType, Graph, Type, ValueId};
use column::Column;
use draft::{Draft, Source};
use kernel::{Candidate, Choice, Sparsity};
use peristyle_runtime::engine::{self, Kind, Layer, ModelSpec, Program, Step};
use place::Places;
use std::fmt;

/// What the planner may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which layers run in columns.
    pub columns: Columns,
    /// Bytes of straight-line code that unrolling may cost.
    pub code_budget: usize,
    /// Most bytes of straight-line code and tables together.
    pub max_code_size: Option<usize>,
    /// Which layers are computed from panels.
    pub panels: KernelUse,
    /// Which `f32` layers are computed by Winograd's minimal filtering.
    pub winograd: KernelUse,
    /// Whether integer layers get tables for AVX-512; without them such machines run the kernels of 256 bits.
    pub wide: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            columns: Columns::Auto,
            code_budget: 1 << 20,
            max_code_size: None,
            panels: KernelUse::Faster,
            winograd: KernelUse::Faster,
            wide: true,
        }
    }
}

/// A part of a graph that cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum PlanError {
    #[error("value `{value}` is {dtype}; compiled networks hold f32 and u8 maps only")]
    ElementType { value: String, dtype: DType },
    #[error("convolution `{node}` reads a padded map with another zero point than its other readers do")]
    ZeroPoints { node: String },
    #[error("node `{node}` ({op}): {reason}")]
    Unsupported { node: String, op: String, reason: String },
    #[error(
        "node `{node}`: its feature map {ty} takes {} in memory with its padding, and 2 GiB is the most that \
         kernels can address: compile the model for a smaller input (--imgsz)",
        size(*bytes)
    )]
    MapSize { node: String, ty: Type, bytes: Option<usize> },
    #[error(
        "its tables take {}, without any straight-line code, and --max-code-size allows {}: {sizes}; allow more, or prune \
         the model",
        megabytes(sizes.bytes()), megabytes(*most)
    )]
    CodeSize { most: usize, sizes: TableSizes },
}

/// Bytes in words, `None` being more than can be counted.
fn size(bytes: Option<usize>) -> String {
    bytes.map_or("far more than that".to_string(), |n| format!("{:.1} GiB", n as f64 / f64::from(1 << 30)))
}

/// All parts of a graph that cannot be planned, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl PlanErrors {
    /// Adds an error unless it is there already.
    fn push(&mut self, error: PlanError) {
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }
}

impl std::error::Error for PlanErrors {}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return write!(f, "{only}");
        }
        write!(f, "{} parts of the model cannot be compiled:", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// A compiled network before it becomes source code.
#[derive(Debug)]
pub struct Plan {
    /// Inputs and outputs: name, element type, shape for one image.
    pub inputs: Vec<Port>,
    /// As `inputs`.
    pub outputs: Vec<Port>,
    /// Layers in order, in the runtime's form.
    pub layers: Vec<Layer>,
    /// What a reader of the emitted code wants to know about each layer.
    pub notes: Vec<Note>,
    /// The order of the work.
    pub schedule: Vec<Step>,
    /// The runs of layers that the schedule stripes.
    pub columns: Vec<Column>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
}

/// A model input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name in the source model.
    pub name: String,
    /// Element type.
    pub dtype: engine::DType,
    /// Shape for one image.
    pub shape: Vec<usize>,
}

/// Facts about a layer that its code does not show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// What the layer computes, in the words of the source model.
    pub summary: String,
    /// Facts about a convolution.
    pub conv: Option<ConvNote>,
}

/// Facts about a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvNote {
    /// The zeros of its weights.
    pub sparsity: Sparsity,
    /// Multiply-accumulates per image when no weight is skipped.
    pub macs: u64,
    /// Those of the nonzeros.
    pub nnz_macs: u64,
    /// The kernel, and why.
    pub choice: Choice,
}

/// Plans a graph that went through all passes.
///
/// # Errors
/// Everything in the graph that no layer computes, or tables that are larger than the options allow.
pub fn build(graph: &Graph, options: &Options) -> Result<Plan, PlanErrors> {
    match options.max_code_size {
        Some(most) => limit::within(graph, options, most),
        None => unlimited(graph, options),
    }
}

/// As [`build`], of any size.
fn unlimited(graph: &Graph, options: &Options) -> Result<Plan, PlanErrors> {
    let mut errors = PlanErrors::default();
    let places = Places::new(graph, &mut errors);
    let drafts = draft::drafts(graph, &places);
    let sizes: Vec<usize> = places.buffers.iter().map(place::Buffer::bytes).collect();
    let columns = column::columns(&drafts, options.columns);
    let mut schedule = column::schedule(graph, &drafts, &columns);
    needs::set(graph, &drafts, &mut schedule);
    let layout = memory::layout(&sizes, &needs::lives(&drafts, &schedule, sizes.len()));
    let candidates = lower::candidates(graph, &places, &drafts);
    let known: Vec<Candidate> = candidates.iter().flatten().copied().collect();
    let mut choices = kernel::choose(&known, options).into_iter();
    let choices: Vec<Option<Choice>> =
        candidates.iter().map(|c| c.map(|_| choices.next().expect("one choice per candidate"))).collect();
    let lowering = lower::Lowering { graph, places: &places, layout: &layout };
    let mut layers = Vec::new();
    let mut notes = Vec::new();
    for (draft, choice) in drafts.iter().zip(choices) {
        match lowering.lower(draft, choice) {
            Ok((mut layer, note)) => {
                if let (Kind::Conv(conv), false) = (&mut layer.kind, options.wide) {
                    conv.quads = None;
                }
                layers.push(layer);
                notes.push(note);
            }
            Err(error) => errors.push(error),
        }
    }
    let mut ports = |values| {
        let ports = lower::ports(graph, values);
        ports.into_iter().filter_map(|port| port.map_err(|error| errors.push(error)).ok()).collect::<Vec<_>>()
    };
    let (inputs, outputs) = (ports(&graph.inputs), ports(&graph.outputs));
    if !errors.0.is_empty() {
        return Err(errors);
    }
    Ok(Plan { inputs, outputs, layers, notes, schedule, columns, arena_bytes: layout.bytes })
}

/// For every layer of the plan of a graph, in order, the value that the layer writes first.
pub fn written_values(graph: &Graph) -> Vec<ValueId> {
    let places = Places::new(graph, &mut PlanErrors::default());
    let is_placed = |value: &&ValueId| !places.maps[value.index()].is_empty();
    let written = |draft: &Draft| match draft.source {
        Source::Load { value, .. } | Source::Copy { value, .. } | Source::Output { value, .. } => value,
        Source::Node(index) => {
            let outputs = &graph.nodes[index].outputs;
            *outputs.iter().find(is_placed).unwrap_or(&outputs[0])
        }
    };
    draft::drafts(graph, &places).iter().map(written).collect()
}

impl Plan {
    /// Weights of all convolutions, and how many are not zero.
    pub fn weights(&self) -> (u64, u64) {
        self.convs().fold((0, 0), |(w, n), c| (w + c.sparsity.weights as u64, n + c.sparsity.nnz as u64))
    }

    /// Multiply-accumulates per image of all convolutions, and those left after skipping zeros.
    pub fn macs(&self) -> (u64, u64) {
        self.convs().fold((0, 0), |(m, n), c| (m + c.macs, n + c.nnz_macs))
    }

    fn convs(&self) -> impl Iterator<Item = &ConvNote> {
        self.notes.iter().filter_map(|n| n.conv.as_ref())
    }

    /// The plan as a program for this process, without unrolled code. The memory is never freed.
    pub fn leak(self) -> &'static Program {
        fn leak<T>(values: Vec<T>) -> &'static [T] {
            Vec::leak(values)
        }
        let (weights, macs) = (self.weights(), self.macs());
        let port = |p: Port| engine::TensorSpec { name: String::leak(p.name), dtype: p.dtype, shape: leak(p.shape) };
        let spec = Box::leak(Box::new(ModelSpec {
            name: "in-process",
            source: "",
            sha256: "",
            compiler: env!("CARGO_PKG_VERSION"),
            batch: 1,
            inputs: leak(self.inputs.into_iter().map(port).collect()),
            outputs: leak(self.outputs.into_iter().map(port).collect()),
            class_names: &[],
            detector: None,
            weights,
            macs,
        }));
        Box::leak(Box::new(Program {
            spec,
            arena_bytes: self.arena_bytes,
            layers: self.layers.into_iter().map(|l| &*Box::leak(Box::new(l))).collect(),
            schedule: self.schedule.into(),
            golden: &[],
        }))
    }
}
