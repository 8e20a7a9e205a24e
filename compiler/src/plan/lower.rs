//! Drafts to the runtime's layers, once every buffer has its address.

mod conv;
mod info;
mod view;

use super::draft::{Draft, Source};
use super::kernel::{Candidate, Choice};
use super::memory::Layout;
use super::place::{Placement, Places, UNSPLIT, is_map};
use super::{Note, PlanError, Port};
use crate::ir::{self, DType, Graph, Node, Op, Tensor, ValueId};
use peristyle_runtime::engine::{self, Kind, Layer};
use peristyle_runtime::kernels::Activation;
use peristyle_runtime::kernels::conv::StoreTo;
use peristyle_runtime::kernels::detect_head::{DetectHead, Level};
use peristyle_runtime::kernels::map::Map;
use peristyle_runtime::kernels::pool::{AveragePool, MaxPool, Resize};
use peristyle_runtime::kernels::strided::{AXES, Base, Binary, BinaryFn, MatMul, Softmax, Unary, UnaryFn};
use peristyle_runtime::kernels::transfer::{CopyMap, LoadInput};
use peristyle_runtime::simd::math::Quantizer;

/// For every draft that is a convolution, what its kernel is chosen from.
pub fn candidates(graph: &Graph, places: &Places, drafts: &[Draft]) -> Vec<Option<Candidate>> {
    let candidate = |draft: &Draft| {
        let Source::Node(index) = draft.source else { return None };
        let node = &graph.nodes[index];
        let Op::Conv(conv) = &node.op else { return None };
        let shape = &graph.ty(node.outputs[0]).shape;
        let row = places.map(graph, node.inputs[0], places.placement(node.inputs[0], conv.geometry.stride)).row;
        Some(Candidate::new(conv, weights(graph, node), [shape[2], shape[3]], row))
    };
    drafts.iter().map(candidate).collect()
}

/// Element types and shapes of model inputs or outputs.
pub fn ports(graph: &Graph, values: &[ValueId]) -> Vec<Result<Port, PlanError>> {
    let port = |&value: &ValueId| {
        let info = graph.value(value);
        Ok(Port { name: info.name.clone(), dtype: element_type(graph, value)?, shape: info.ty.shape.clone() })
    };
    values.iter().map(port).collect()
}

fn element_type(graph: &Graph, value: ValueId) -> Result<engine::DType, PlanError> {
    let info = graph.value(value);
    match info.ty.dtype {
        DType::F32 => Ok(engine::DType::F32),
        DType::U8 => Ok(engine::DType::U8),
        dtype => Err(PlanError::ElementType { value: info.name.clone(), dtype }),
    }
}

fn weights<'a>(graph: &'a Graph, node: &Node) -> &'a Tensor {
    graph.constant(node.inputs[1]).expect("weights are constants (invariant 6)")
}

/// What lowering looks things up in.
pub struct Lowering<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Where values live.
    pub places: &'a Places,
    /// Where buffers live.
    pub layout: &'a Layout,
}

impl Lowering<'_> {
    /// Lowers one draft.
    pub fn lower(&self, draft: &Draft, choice: Option<Choice>) -> Result<(Layer, Note), PlanError> {
        let mut note = Note::default();
        let mut pads: Vec<Map> = Vec::new();
        let mut written = |values: &[ValueId]| {
            pads.extend(values.iter().flat_map(|&v| self.maps(v)));
        };
        let kind = match &draft.source {
            Source::Load { input, value } => {
                written(&[*value]);
                note.summary = format!("model input {input} into the arena");
                self.load(*input, *value)?
            }
            Source::Copy { value, from, to } => {
                note.summary = "copy into another layout".to_string();
                pads.push(self.map(*value, *to));
                Kind::CopyMap(CopyMap { from: self.map(*value, *from), to: self.map(*value, *to) })
            }
            Source::Output { value, output } => {
                note.summary = format!("model output {output}");
                let (x, y) = (self.view(*value)?, self.contiguous(*value, Base::Output(*output), 0)?);
                Kind::Unary(Unary { x, y, function: UnaryFn::Copy })
            }
            Source::Node(index) => {
                let node = &self.graph.nodes[*index];
                note.summary = self.summary(node);
                match &node.op {
                    Op::Conv(_) => written(&node.outputs),
                    _ => {
                        let maps = node.outputs.iter().filter(|&&o| is_map(self.graph, o));
                        pads.extend(maps.map(|&o| self.map(o, self.places.placement(o, UNSPLIT))));
                    }
                }
                self.node(node, choice, &mut note)?
            }
        };
        let info = self.info(draft, &kind, note.conv.as_ref());
        pads.retain(|m| m.pad != [0; 4] || !m.height.is_multiple_of(m.split[0]) || !m.width.is_multiple_of(m.split[1]));
        Ok((Layer { name: draft.name.clone().into(), pads: pads.into(), info, kind }, note))
    }

    fn summary(&self, node: &Node) -> String {
        let shapes = |values: &[ValueId]| {
            let live = values.iter().filter(|&&v| self.graph.constant(v).is_none());
            live.map(|&v| self.graph.ty(v).to_string()).collect::<Vec<_>>().join(", ")
        };
        let op = op_name(&node.op);
        format!("{op}: {} -> {}", shapes(&node.inputs), shapes(&node.outputs))
    }

    fn map(&self, value: ValueId, placement: Placement) -> Map {
        let mut map = self.places.map(self.graph, value, placement);
        map.offset += self.layout.offsets[placement.buffer];
        map
    }

    fn maps(&self, value: ValueId) -> Vec<Map> {
        self.places.maps[value.index()].iter().map(|&p| self.map(value, p)).collect()
    }

    fn unsplit(&self, value: ValueId) -> Map {
        self.map(value, self.places.placement(value, UNSPLIT))
    }

    fn stores(&self, value: ValueId, scale: f32, zero: u8) -> Vec<StoreTo> {
        let quantizer = Quantizer::new(scale, zero);
        self.maps(value).into_iter().map(|map| StoreTo { map, quantizer }).collect()
    }

    fn load(&self, input: usize, value: ValueId) -> Result<Kind, PlanError> {
        let source = self.graph.inputs[input];
        let (scale, zero) = if source == value {
            (1.0, 0)
        } else {
            let node = self.graph.nodes.iter().find(|n| n.outputs.contains(&value)).expect("values have a producer");
            let Op::Quantize(q) = &node.op else { unreachable!("only quantising loads rename a value") };
            self.per_tensor(node, q)?
        };
        let dtype = element_type(self.graph, source)?;
        Ok(Kind::LoadInput(LoadInput { input, dtype, stores: self.stores(value, scale, zero).into() }))
    }

    fn per_tensor(&self, node: &Node, q: &ir::Quantization) -> Result<(f32, u8), PlanError> {
        match (q.as_per_tensor(), q.dtype) {
            (Some((scale, zero)), DType::U8) => Ok((scale, zero as u8)),
            (None, _) => Err(unsupported(node, "activations quantised per channel have no compiled form")),
            (_, dtype) => Err(unsupported(node, &format!("activations quantised to {dtype} have no compiled form"))),
        }
    }

    fn node(&self, node: &Node, choice: Option<Choice>, note: &mut Note) -> Result<Kind, PlanError> {
        let graph = self.graph;
        let (x, y) = (node.inputs[0], node.outputs[0]);
        if graph.ty(y).is_empty() {
            return Err(unsupported(node, "its output has no elements"));
        }
        Ok(match &node.op {
            Op::Conv(conv) => {
                let choice = choice.expect("convolutions have a kernel");
                let (kind, conv_note) = self.conv(node, conv, choice)?;
                note.conv = Some(conv_note);
                kind
            }
            Op::MaxPool(pool) => Kind::MaxPool(MaxPool {
                input: self.unsplit(x),
                output: self.unsplit(y),
                kernel: pool.kernel,
                stride: pool.stride,
                pad: [pool.pad[0], pool.pad[1]],
            }),
            Op::AveragePool { pool, count_include_pad } => Kind::AveragePool(AveragePool {
                input: self.unsplit(x),
                output: self.unsplit(y),
                kernel: pool.kernel,
                stride: pool.stride,
                pad: pool.pad,
                count_include_pad: *count_include_pad,
            }),
            Op::GlobalAveragePool => {
                let input = self.unsplit(x);
                Kind::AveragePool(AveragePool {
                    input,
                    output: self.unsplit(y),
                    kernel: [input.height, input.width],
                    stride: [1, 1],
                    pad: [0; 4],
                    count_include_pad: false,
                })
            }
            Op::ResizeNearest { scale } => {
                Kind::Resize(Resize { input: self.unsplit(x), output: self.unsplit(y), scale: *scale })
            }
            Op::DetectHead(head) => Kind::DetectHead(DetectHead {
                outputs: head.outputs,
                levels: head
                    .levels
                    .iter()
                    .zip(&node.inputs)
                    .map(|(level, &map)| Level {
                        map: self.unsplit(map),
                        stride: level.stride,
                        anchors: level.anchors.clone().into(),
                    })
                    .collect(),
                y: self.view(y)?,
            }),
            Op::Activation(f) => self.unary(node, UnaryFn::Activation(activation(*f)))?,
            Op::Quantize(q) => {
                let (scale, zero) = self.per_tensor(node, q)?;
                self.unary(node, UnaryFn::Quantize(Quantizer::new(scale, zero)))?
            }
            Op::Dequantize(q) => {
                let (scale, zero) = self.per_tensor(node, q)?;
                self.unary(node, UnaryFn::Dequantize { scale, zero })?
            }
            Op::Binary(f) => self.binary(node, binary(*f))?,
            Op::Reshape => {
                let (from, to) = view::refine(&self.view(x)?, &self.view(y)?)
                    .ok_or_else(|| unsupported(node, "has no compiled form between these layouts"))?;
                Kind::Unary(Unary { x: from, y: to, function: UnaryFn::Copy })
            }
            Op::Transpose { perm } => {
                let mut from = self.view(x)?;
                let lead = AXES - perm.len();
                let strides = from.strides;
                for (axis, &source) in perm.iter().enumerate() {
                    from.strides[lead + axis] = strides[lead + source];
                }
                let to = self.view(y)?;
                from.shape = to.shape;
                Kind::Unary(Unary { x: from, y: to, function: UnaryFn::Copy })
            }
            Op::Slice { starts, steps } => {
                let mut from = self.view(x)?;
                let lead = AXES - starts.len();
                for axis in 0..starts.len() {
                    from.offset += starts[axis] * from.strides[lead + axis] * from.dtype.size();
                    from.strides[lead + axis] *= steps[axis];
                }
                let to = self.view(y)?;
                from.shape = to.shape;
                Kind::Unary(Unary { x: from, y: to, function: UnaryFn::Copy })
            }
            Op::Softmax { axis } => {
                let rank = graph.ty(y).shape.len();
                Kind::Softmax(Softmax { x: self.view(x)?, y: self.view(y)?, axis: AXES - rank + axis })
            }
            Op::MatMul => {
                let mut views = [self.view(x)?, self.view(node.inputs[1])?];
                let y = self.view(y)?;
                for v in &mut views {
                    for axis in 0..AXES - 2 {
                        if v.shape[axis] == 1 {
                            v.strides[axis] = 0;
                        }
                    }
                }
                let [a, b] = views;
                Kind::MatMul(MatMul { a, b, y })
            }
            op @ (Op::Concat { .. } | Op::Cast(_) | Op::BatchNorm { .. } | Op::ConvInteger { .. }) => {
                let reason = match op {
                    Op::Concat { .. } => {
                        "joining along an axis other than the channels of feature maps has no compiled form"
                    }
                    _ => "no pass could fold it, and it has no compiled form",
                };
                return Err(unsupported(node, reason));
            }
        })
    }

    fn unary(&self, node: &Node, function: UnaryFn) -> Result<Kind, PlanError> {
        Ok(Kind::Unary(Unary { x: self.view(node.inputs[0])?, y: self.view(node.outputs[0])?, function }))
    }

    fn binary(&self, node: &Node, function: BinaryFn) -> Result<Kind, PlanError> {
        let y = self.view(node.outputs[0])?;
        let mut operands = [self.view(node.inputs[0])?, self.view(node.inputs[1])?];
        for view in &mut operands {
            for axis in 0..AXES {
                if view.shape[axis] == 1 {
                    view.strides[axis] = 0;
                }
            }
            view.shape = y.shape;
        }
        if y.dtype != engine::DType::F32 {
            return Err(unsupported(node, "arithmetic on anything but f32 has no compiled form"));
        }
        let [a, b] = operands;
        Ok(Kind::Binary(Binary { a, b, y, function }))
    }
}

fn op_name(op: &Op) -> String {
    let text = format!("{op:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_string()
}

fn unsupported(node: &Node, reason: &str) -> PlanError {
    PlanError::Unsupported { node: node.name.clone(), op: op_name(&node.op), reason: reason.to_string() }
}

fn activation(activation: ir::Activation) -> Activation {
    match activation {
        ir::Activation::Identity => Activation::Identity,
        ir::Activation::Relu => Activation::Relu,
        ir::Activation::LeakyRelu { alpha } => Activation::LeakyRelu { alpha },
        ir::Activation::Silu => Activation::Silu,
        ir::Activation::Sigmoid => Activation::Sigmoid,
        ir::Activation::HardSwish => Activation::HardSwish,
        ir::Activation::HardSigmoid { alpha, beta } => Activation::HardSigmoid { alpha, beta },
        ir::Activation::Clip { lo, hi } => Activation::Clip { lo, hi },
    }
}

fn binary(function: ir::Binary) -> BinaryFn {
    match function {
        ir::Binary::Add => BinaryFn::Add,
        ir::Binary::Sub => BinaryFn::Sub,
        ir::Binary::Mul => BinaryFn::Mul,
        ir::Binary::Div => BinaryFn::Div,
        ir::Binary::Pow => BinaryFn::Pow,
        ir::Binary::Max => BinaryFn::Max,
        ir::Binary::Min => BinaryFn::Min,
    }
}
