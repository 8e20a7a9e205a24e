//! What a layer says about itself.

use super::{Lowering, op_name};
use crate::ir::{Op, ValueId};
use crate::plan::ConvNote;
use crate::plan::draft::{Draft, Source};
use peristyle_runtime::engine::{Kind, LayerInfo, Shape, Window};
use peristyle_runtime::kernels::conv::Arithmetic;
use peristyle_runtime::kernels::strided::AXES;
use peristyle_runtime::simd::Isa;

impl Lowering<'_> {
    pub(super) fn info(&self, draft: &Draft, kind: &Kind, conv: Option<&ConvNote>) -> LayerInfo {
        let (op, inputs, outputs, window) = match &draft.source {
            Source::Load { input, value } => ("Load".to_string(), vec![self.graph.inputs[*input]], vec![*value], None),
            Source::Copy { value, .. } => ("Copy".to_string(), vec![*value], vec![*value], None),
            Source::Output { value, .. } => ("Store".to_string(), vec![*value], vec![*value], None),
            Source::Node(index) => {
                let node = &self.graph.nodes[*index];
                (op_name(&node.op), node.inputs.clone(), node.outputs.clone(), self.window(&node.op, node.inputs[0]))
            }
        };
        let mut info = LayerInfo {
            op: op.into(),
            inputs: self.shapes(&inputs),
            outputs: self.shapes(&outputs),
            window,
            ..LayerInfo::default()
        };
        match conv {
            Some(conv) => {
                info.weights = (conv.sparsity.weights as u64, conv.sparsity.nnz as u64);
                info.weight_bits = match conv.choice.arithmetic {
                    Arithmetic::F32 => 32,
                    Arithmetic::U8S8 => 8,
                };
                info.macs = (conv.macs, conv.nnz_macs);
                info.kernel = conv.choice.kernel(Isa::Avx2).name.into();
                info.reason = conv.choice.reason.clone().into();
            }
            None => {
                info.kernel = kind.family().into();
                if let Kind::MatMul(product) = kind {
                    let macs = (product.y.shape.iter().product::<usize>() * product.a.shape[AXES - 1]) as u64;
                    info.macs = (macs, macs);
                }
            }
        }
        info
    }

    fn window(&self, op: &Op, input: ValueId) -> Option<Window> {
        match op {
            Op::Conv(conv) => Some(Window { size: conv.geometry.kernel, stride: conv.geometry.stride }),
            Op::MaxPool(pool) | Op::AveragePool { pool, .. } => Some(Window { size: pool.kernel, stride: pool.stride }),
            Op::GlobalAveragePool => {
                let shape = &self.graph.ty(input).shape;
                Some(Window { size: [shape[2], shape[3]], stride: [1, 1] })
            }
            _ => None,
        }
    }

    /// Shapes of the values that are not constants.
    fn shapes(&self, values: &[ValueId]) -> std::borrow::Cow<'static, [Shape]> {
        let live = values.iter().filter(|&&v| self.graph.constant(v).is_none());
        live.map(|&v| Shape::from(self.graph.ty(v).shape.clone())).collect()
    }
}
