//! Drafts to the runtime's layers, once every buffer has its address.

use super::draft::{Draft, Source};
use super::halo::Taps;
use super::kernel::{Candidate, Choice};
use super::memory::Layout;
use super::pack::{Row, pack_f32, pack_u8s8};
use super::place::{Flat, Placement, Places, UNSPLIT, is_map};
use super::{ConvNote, Note, PlanError, Port};
use crate::ir::{self, DType, Graph, Node, Op, Tensor, ValueId};
use peristyle_runtime::engine::{self, Kind, Layer};
use peristyle_runtime::kernels::Activation;
use peristyle_runtime::kernels::conv::{Arithmetic, Conv, Epilogue, Residual, ResidualAt, StoreTo, Table};
use peristyle_runtime::kernels::detect_head::{DetectHead, Level};
use peristyle_runtime::kernels::map::Map;
use peristyle_runtime::kernels::pool::{AveragePool, MaxPool, Resize};
use peristyle_runtime::kernels::strided::{AXES, Base, Binary, BinaryFn, MatMul, Softmax, Unary, UnaryFn, View};
use peristyle_runtime::kernels::transfer::{CopyMap, LoadInput};

/// For every draft that is a convolution, what its kernel is chosen from.
pub fn candidates(graph: &Graph, drafts: &[Draft]) -> Vec<Option<Candidate>> {
    let candidate = |draft: &Draft| {
        let Source::Node(index) = draft.source else { return None };
        let node = &graph.nodes[index];
        let Op::Conv(conv) = &node.op else { return None };
        let shape = &graph.ty(node.outputs[0]).shape;
        Some(Candidate::new(conv, weights(graph, node), shape[2] * shape[3]))
    };
    drafts.iter().map(candidate).collect()
}

/// Element types and shapes of model inputs or outputs.
pub fn ports(graph: &Graph, values: &[ValueId]) -> Result<Vec<Port>, PlanError> {
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
        pads.retain(|m| m.pad != [0; 4] || !m.height.is_multiple_of(m.split[0]) || !m.width.is_multiple_of(m.split[1]));
        Ok((Layer { name: draft.name.clone().into(), pads: pads.into(), kind }, note))
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
        self.maps(value).into_iter().map(|map| StoreTo { map, inv_scale: 1.0 / scale, zero }).collect()
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
        Ok(match &node.op {
            Op::Conv(conv) => {
                let choice = choice.expect("convolutions have a kernel");
                let (kind, conv_note) = self.conv(node, conv, choice);
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
                self.unary(node, UnaryFn::Quantize { inv_scale: 1.0 / scale, zero })?
            }
            Op::Dequantize(q) => {
                let (scale, zero) = self.per_tensor(node, q)?;
                self.unary(node, UnaryFn::Dequantize { scale, zero })?
            }
            Op::Binary(f) => self.binary(node, binary(*f))?,
            Op::Reshape => {
                let (from, to) = refine(&self.view(x)?, &self.view(y)?)
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

    /// The view through which a value is read, or written when it has one placement.
    fn view(&self, value: ValueId) -> Result<View, PlanError> {
        if let Some(tensor) = self.graph.constant(value) {
            let info = self.graph.value(value);
            let values = tensor
                .as_f32()
                .ok_or_else(|| PlanError::ElementType { value: info.name.clone(), dtype: info.ty.dtype })?;
            return self.contiguous(value, Base::Constant(values.to_vec().into()), 0);
        }
        match self.places.flats[value.index()] {
            Some(Flat::Buffer(buffer)) => self.contiguous(value, Base::Arena, self.layout.offsets[buffer]),
            Some(Flat::Input(index)) => self.contiguous(value, Base::Input(index), 0),
            Some(Flat::Output(index)) => self.contiguous(value, Base::Output(index), 0),
            None => Ok(View::of_map(&self.unsplit(value))),
        }
    }

    fn contiguous(&self, value: ValueId, base: Base, offset: usize) -> Result<View, PlanError> {
        let shape = &self.graph.ty(value).shape;
        if shape.len() > AXES {
            let info = self.graph.value(value);
            return Err(PlanError::Unsupported {
                node: info.name.clone(),
                op: "value".to_string(),
                reason: format!("has {} axes, compiled networks have at most {AXES}", shape.len()),
            });
        }
        let view = View { base, dtype: element_type(self.graph, value)?, offset, shape: [1; AXES], strides: [0; AXES] };
        Ok(self.reinterpret(view, shape))
    }

    /// A row-major view under another shape.
    fn reinterpret(&self, mut view: View, shape: &[usize]) -> View {
        view.shape = [1; AXES];
        view.strides = [0; AXES];
        let mut stride = 1;
        for (axis, &extent) in shape.iter().enumerate().rev() {
            let axis = AXES - shape.len() + axis;
            view.shape[axis] = extent;
            view.strides[axis] = stride;
            stride *= extent;
        }
        view
    }

    fn conv(&self, node: &Node, conv: &ir::Conv, choice: Choice) -> (Kind, ConvNote) {
        let graph = self.graph;
        let input = self.map(node.inputs[0], self.places.placement(node.inputs[0], conv.geometry.stride));
        let weights = weights(graph, node);
        let shape = &graph.ty(node.outputs[0]).shape;
        let table = match choice.arithmetic {
            Arithmetic::F32 => {
                let w = weights.as_f32().expect("float convolutions have f32 weights");
                pack_f32(&rows(&input, conv, weights, |i| (w[i] != 0.0).then_some(w[i])), choice.group)
            }
            Arithmetic::U8S8 => {
                let w = weights.as_i8().expect("quantised convolutions have i8 weights");
                pack_u8s8(&rows(&input, conv, weights, |i| (w[i] != 0).then_some(w[i])), choice.group)
            }
        };
        let bias = graph.constant(node.inputs[2]).and_then(|b| b.as_f32()).expect("biases are f32 constants");
        let (acc_bias, scale) = match &conv.quant {
            None => (Vec::new(), Vec::new()),
            Some(quant) => {
                let w = weights.as_i8().expect("quantised convolutions have i8 weights");
                let sums = w.chunks(w.len() / shape[1]).map(|row| row.iter().map(|&w| i32::from(w)).sum::<i32>());
                let zero = i32::from(quant.x_zero);
                (quant.acc_bias.iter().zip(sums).map(|(b, sum)| b - zero * sum).collect(), quant.scale.clone())
            }
        };
        let residual = conv.epilogue.residual.map(|at| Residual {
            map: self.unsplit(node.inputs[3]),
            at: match at {
                ir::Residual::BeforeActivation => ResidualAt::BeforeActivation,
                ir::Residual::AfterActivation => ResidualAt::AfterActivation,
            },
        });
        let stores = conv.epilogue.stores.iter().zip(&node.outputs).flat_map(|(store, &value)| match *store {
            ir::Store::F32 => self.stores(value, 1.0, 0),
            ir::Store::U8 { scale, zero } => self.stores(value, scale, zero),
        });
        let pixels = (shape[2] * shape[3]) as u64;
        let sparsity = super::kernel::Sparsity::of(weights);
        let kind = Kind::Conv(Conv {
            arithmetic: choice.arithmetic,
            input,
            out_height: shape[2],
            out_width: shape[3],
            table: Table { ..table },
            chunk_tiles: choice.chunk_tiles,
            epilogue: Epilogue {
                acc_bias: acc_bias.into(),
                scale: scale.into(),
                bias: bias.to_vec().into(),
                activation: activation(conv.epilogue.activation),
                residual,
                stores: stores.collect(),
            },
        });
        let (macs, nnz_macs) = (sparsity.weights as u64 * pixels, sparsity.nnz as u64 * pixels);
        (kind, ConvNote { sparsity, macs, nnz_macs, choice })
    }
}

/// Nonzeros of every output channel by the byte offset of the input row they multiply.
fn rows<W>(input: &Map, conv: &ir::Conv, weights: &Tensor, weight: impl Fn(usize) -> Option<W>) -> Vec<Row<W>> {
    let [out, inputs, kh, kw] = weights.shape[..] else { unreachable!("weights have four axes (invariant 4)") };
    let taps = Taps::new(&conv.geometry);
    let [sh, sw] = input.split;
    let per_group = out / conv.geometry.group;
    let row = |o: usize| {
        let mut row = Vec::new();
        for i in 0..inputs {
            let channel = o / per_group * inputs + i;
            for ky in 0..kh {
                for kx in 0..kw {
                    let Some(w) = weight(((o * inputs + i) * kh + ky) * kw + kx) else { continue };
                    let ((phase_y, y), (phase_x, x)) = (taps.rows[ky], taps.columns[kx]);
                    let plane = (channel * sh + phase_y) * sw + phase_x;
                    let element = (plane * input.plane) as isize + y * input.row as isize + x;
                    let offset = element * input.dtype.size() as isize;
                    row.push((i32::try_from(offset).expect("maps are smaller than 2 GiB"), w));
                }
            }
        }
        row.sort_by_key(|e| e.0);
        row
    };
    (0..out).map(row).collect()
}

/// Two views whose elements correspond in row-major order, cut into axes that both have. `None` when that takes more
/// than [`AXES`] axes or the extents do not divide each other.
fn refine(from: &View, to: &View) -> Option<(View, View)> {
    let mut axes = Vec::new();
    let mut next = [AXES; 2];
    let mut left = [1, 1];
    let mut step = [0, 0];
    loop {
        for (side, view) in [from, to].into_iter().enumerate() {
            while left[side] == 1 && next[side] > 0 {
                next[side] -= 1;
                left[side] = view.shape[next[side]];
                step[side] = view.strides[next[side]];
            }
        }
        let extent = left[0].min(left[1]);
        if left == [1, 1] {
            break;
        }
        if extent == 1 || left[0] % extent != 0 || left[1] % extent != 0 {
            return None;
        }
        axes.push((extent, step));
        for side in 0..2 {
            left[side] /= extent;
            step[side] *= extent;
        }
    }
    if axes.len() > AXES {
        return None;
    }
    let (mut from, mut to) = (from.clone(), to.clone());
    for view in [&mut from, &mut to] {
        view.shape = [1; AXES];
        view.strides = [0; AXES];
    }
    for (at, (extent, [step_from, step_to])) in axes.into_iter().enumerate() {
        let axis = AXES - 1 - at;
        (from.shape[axis], to.shape[axis]) = (extent, extent);
        (from.strides[axis], to.strides[axis]) = (step_from, step_to);
    }
    Some((from, to))
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
