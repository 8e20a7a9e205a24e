//! The text form of a graph: a header, the constants, and one line per node.
//!
//! ```text
//! graph main_graph
//! inputs %0: f32[1x3x640x640] images
//! outputs %9: f32[1x25200x85] output0
//! const %1: f32[16x3x6x6] nnz 45% -0.5..0.75 // model.0.conv.weight
//! %3: f32[1x16x320x320] = conv(%0, w=%1[16x3x6x6 nnz 45%], b=%2) k=6x6 s=2x2 p=2,2,2,2 silu store=[f32] // /model.0/conv/Conv
//! ```
//!
//! Only constants that a node or a graph output reads are shown. The text depends on nothing but the graph.

mod attributes;
mod constant;

use super::op::Op;
use super::{Graph, Node, ValueId};
use attributes::Attributes;
use constant::{Extents, Percent, Summary, nonzeros};
use std::fmt::{self, Display, Formatter};

impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name)?;
        self.fmt_ends(f, "inputs", &self.inputs)?;
        self.fmt_ends(f, "outputs", &self.outputs)?;
        if !self.metadata.class_names.is_empty() {
            writeln!(f, "classes {} {:?}", self.metadata.class_names.len(), self.metadata.class_names)?;
        }
        if let Some(stride) = self.metadata.stride {
            writeln!(f, "stride {stride}")?;
        }
        for (key, value) in &self.metadata.properties {
            writeln!(f, "property {key:?} {value:?}")?;
        }
        for id in self.read_constants() {
            let value = self.value(id);
            if let Some(tensor) = &value.constant {
                writeln!(f, "const {id}: {} {} // {}", value.ty, Summary(tensor), value.name)?;
            }
        }
        self.nodes.iter().try_for_each(|node| self.fmt_node(f, node))
    }
}

impl Graph {
    fn fmt_ends(&self, f: &mut Formatter<'_>, title: &str, ids: &[ValueId]) -> fmt::Result {
        f.write_str(title)?;
        for (i, &id) in ids.iter().enumerate() {
            let separator = if i > 0 { ", " } else { " " };
            match self.values.get(id.index()) {
                Some(value) => write!(f, "{separator}{id}: {} {}", value.ty, value.name)?,
                None => write!(f, "{separator}{id}: ?")?,
            }
        }
        writeln!(f)
    }

    /// Constants that a node or a graph output reads, by id.
    fn read_constants(&self) -> Vec<ValueId> {
        let read = self.nodes.iter().flat_map(|n| &n.inputs).chain(&self.outputs);
        let is_constant = |id: &ValueId| self.values.get(id.index()).is_some_and(|v| v.constant.is_some());
        let mut ids: Vec<ValueId> = read.copied().filter(is_constant).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn fmt_node(&self, f: &mut Formatter<'_>, node: &Node) -> fmt::Result {
        for (i, &id) in node.outputs.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            match self.values.get(id.index()) {
                Some(value) => write!(f, "{separator}{id}: {}", value.ty)?,
                None => write!(f, "{separator}{id}: ?")?,
            }
        }
        write!(f, " = {}(", node.op.name())?;
        for (i, &id) in node.inputs.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            write!(f, "{separator}{}{id}", input_label(&node.op, i))?;
            let weight = self.values.get(id.index()).and_then(|v| v.constant.as_deref());
            if let (true, Some(tensor)) = (is_weight(&node.op, i), weight) {
                let nnz = Percent(nonzeros(tensor, weight_zeros(&node.op)), tensor.len());
                write!(f, "[{} nnz {nnz}]", Extents(&tensor.shape))?;
            }
        }
        writeln!(f, "){} // {}", Attributes(&node.op), node.name)
    }
}

impl Op {
    /// Short lower-case name of the operator, as the text form shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(conv) if conv.quant.is_some() => "qconv",
            Op::Conv(_) => "conv",
            Op::ConvInteger { .. } => "conv_integer",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Activation(_) => "activation",
            Op::Binary(_) => "binary",
            Op::Quantize(_) => "quantize",
            Op::Dequantize(_) => "dequantize",
            Op::Cast(_) => "cast",
            Op::MaxPool(_) => "max_pool",
            Op::AveragePool { .. } => "average_pool",
            Op::GlobalAveragePool => "global_average_pool",
            Op::ResizeNearest { .. } => "resize_nearest",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Reshape => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::MatMul => "mat_mul",
            Op::Softmax { .. } => "softmax",
            Op::DetectHead(_) => "detect_head",
        }
    }
}

fn is_weight(op: &Op, input: usize) -> bool {
    input == 1 && matches!(op, Op::Conv(_) | Op::ConvInteger { .. })
}

/// Zero points of the weights, one or one per output channel.
fn weight_zeros(op: &Op) -> &[i32] {
    if let Op::ConvInteger { w_zero, .. } = op { w_zero } else { &[] }
}

fn input_label(op: &Op, input: usize) -> &'static str {
    match (op, input) {
        (Op::Conv(_) | Op::ConvInteger { .. }, 1) => "w=",
        (Op::Conv(_), 2) => "b=",
        (Op::Conv(_), 3) => "residual=",
        (Op::BatchNorm { .. }, 1) => "scale=",
        (Op::BatchNorm { .. }, 2) => "bias=",
        (Op::BatchNorm { .. }, 3) => "mean=",
        (Op::BatchNorm { .. }, 4) => "variance=",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use crate::ir::*;

    #[test]
    fn a_node_is_one_line_with_its_constants_summarised() {
        let mut g = Graph { name: "g".into(), ..Graph::default() };
        let x = g.add_value("images", Type::new(DType::F32, [1, 2, 4, 4]));
        let w = g.add_constant("weight", Tensor::f32([3, 2, 3, 3], (0..54).map(|i| (i % 3) as f32).collect()));
        let b = g.add_constant("bias", Tensor::f32([3], vec![0.5, -1.0, 0.0]));
        let unused = Tensor::i64([2], vec![1, 2]);
        g.add_constant("unused", unused);
        let conv = Conv {
            geometry: ConvGeometry { kernel: [3, 3], stride: [2, 2], pad: [1; 4], dilation: [1, 1], group: 1 },
            quant: None,
            epilogue: Epilogue { activation: Activation::Silu, ..Epilogue::default() },
        };
        let y = g.add_node("/0/Conv", Op::Conv(conv), vec![x, w, b], Type::new(DType::F32, [1, 3, 2, 2]));
        let q = Quantization::per_tensor(0.25, 114, DType::U8);
        let q = g.add_node("/0/Quantize", Op::Quantize(q), vec![y], Type::new(DType::U8, [1, 3, 2, 2]));
        g.inputs = vec![x];
        g.outputs = vec![q];
        g.metadata.class_names = vec!["person".into()];
        g.metadata.stride = Some(32);
        insta::assert_snapshot!(g, @r#"
        graph g
        inputs %0: f32[1x2x4x4] images
        outputs %5: u8[1x3x2x2] /0/Quantize
        classes 1 ["person"]
        stride 32
        const %1: f32[3x2x3x3] nnz 67% 0.0..2.0 // weight
        const %2: f32[3] [0.5, -1.0, 0.0] // bias
        %4: f32[1x3x2x2] = conv(%0, w=%1[3x2x3x3 nnz 67%], b=%2) k=3x3 s=2x2 p=1,1,1,1 silu store=[f32] // /0/Conv
        %5: u8[1x3x2x2] = quantize(%4) u8 scale=0.25 zero=114 // /0/Quantize
        "#);
    }
}
