//! The batch that a model was exported with.
//!
//! A static extent above 1 on axis 0 of the inputs is compiled as a batch: values that depend on the inputs lose it,
//! constants keep the extents of the model. That is right only while no node looks across axis 0 or moves it, so every
//! node that reads such a value is checked here or, where its result is a shape, in its import function. "Exported"
//! shapes are those of the model, with the batch.

use super::attr::Attributes;
use super::constant;
use super::error::{Fault, listed};
use super::node::{NodeContext, Outcome, axis};
use crate::ir::ValueId;

impl NodeContext<'_, '_> {
    /// The batch that axis 0 of a value has in the model and lacks in the graph; `None` when they are the same.
    pub(super) fn batch_of(&self, id: ValueId) -> Option<usize> {
        self.importer.baked_batch.filter(|_| self.importer.batched.contains(&id))
    }

    /// The shape of a value in the model.
    pub(super) fn exported_shape(&self, id: ValueId) -> Vec<usize> {
        let mut shape = self.shape(id);
        if let (Some(batch), Some(lead)) = (self.batch_of(id), shape.first_mut()) {
            *lead *= batch;
        }
        shape
    }

    /// The shape in the graph of what has `exported` in the model and the elements of `x` in their order.
    pub(super) fn shape_of_image(&self, x: ValueId, exported: &[usize]) -> Result<Vec<usize>, Fault> {
        let mut shape = exported.to_vec();
        if let Some(batch) = self.batch_of(x) {
            match shape.first_mut() {
                Some(lead) if lead.is_multiple_of(batch) => *lead /= batch,
                _ => return mixes(batch, &format!("it moves axis 0 to form the shape [{}]", listed(exported))),
            }
        }
        Ok(shape)
    }

    /// `id` beside batched values of `lead` entries per image on axis 0: itself when it has one entry there, the
    /// entries of one image when it is a constant that repeats them for every image.
    pub(super) fn beside_batch(&mut self, id: ValueId, lead: usize) -> Result<ValueId, Fault> {
        let Some(batch) = self.importer.baked_batch else { return Ok(id) };
        let shape = self.shape(id);
        if self.batch_of(id).is_some() || shape.first() == Some(&1) {
            return Ok(id);
        }
        if shape.first() != Some(&(batch * lead)) {
            let (ty, expected) = (self.ty(id).clone(), batch * lead);
            return Fault::malformed(format!("axis 0 of its input {ty} is not {expected}"));
        }
        let mut one = shape.clone();
        one[0] = lead;
        let repeated = match self.constant_of(id) {
            Some(tensor) => {
                self.charge(Some(2 * tensor.len()))?;
                let first = constant::view(&tensor, &one, 0, &constant::strides(&one));
                let images = [&[batch], &one[..]].concat();
                let all = constant::expand(&first.clone().reshaped([&[1], &one[..]].concat()), &images);
                (all.reshaped(shape) == *tensor).then_some(first)
            }
            None => None,
        };
        match repeated {
            Some(first) => Ok(self.add_constant("image", first)),
            None => mixes(batch, &format!("its input `{}` differs along axis 0", self.value_name(id))),
        }
    }
}

/// The fault of a node that does `what` and so does not treat the images of a batch apart.
pub(super) fn mixes<T>(batch: usize, what: &str) -> Result<T, Fault> {
    Fault::unsupported(format!(
        "{what}, but the {batch} entries of axis 0 are compiled as a batch of images that know nothing of each other: \
         export the model with an extent of 1 on axis 0 of its inputs"
    ))
}

/// Checks that a node treats axis 0 of its batched inputs as a batch, and reduces constants beside them to one image.
pub(super) fn check(ctx: &mut NodeContext<'_, '_>) -> Outcome {
    let Some(batch) = ctx.importer.baked_batch else { return Ok(()) };
    let count = ctx.input_count();
    let batched = |ctx: &NodeContext<'_, '_>, i| ctx.optional(i).is_some_and(|id| ctx.batch_of(id).is_some());
    if !(0..count).any(|i| batched(ctx, i)) {
        return Ok(());
    }
    let rank = ctx.optional(0).map_or(0, |x| ctx.ty(x).shape.len());
    let op = ctx.op();
    let stated_axis = |attributes: Attributes<'_>, default: i64| match attributes.int("axis")? {
        Some(stated) => axis(stated, rank),
        None => axis(default, rank),
    };
    match op {
        // Elementwise, or along the channels and pixels of a map.
        "AveragePool"
        | "BatchNormalization"
        | "Cast"
        | "CastLike"
        | "Clip"
        | "Conv"
        | "ConvInteger"
        | "DepthToSpace"
        | "DequantizeLinear"
        | "Dropout"
        | "GlobalAveragePool"
        | "GlobalMaxPool"
        | "HardSigmoid"
        | "HardSwish"
        | "Identity"
        | "LeakyRelu"
        | "MaxPool"
        | "Neg"
        | "PRelu"
        | "Pad"
        | "QLinearAveragePool"
        | "QLinearConv"
        | "QLinearGlobalAveragePool"
        | "QLinearLeakyRelu"
        | "QLinearSigmoid"
        | "QuantizeLinear"
        | "QuickGelu"
        | "Reciprocal"
        | "Relu"
        | "Sigmoid"
        | "SpaceToDepth"
        | "Swish" => Ok(()),
        // They look at the exported shape themselves.
        "Expand" | "Flatten" | "Reshape" | "Resize" | "ScatterND" | "Shape" | "Size" | "Squeeze" | "Unsqueeze"
        | "Upsample" => Ok(()),
        // Of constants only, as they say themselves.
        "Abs" | "And" | "Ceil" | "ConstantOfShape" | "Equal" | "Exp" | "Floor" | "Greater" | "GreaterOrEqual"
        | "Less" | "LessOrEqual" | "Log" | "Mod" | "NonZero" | "Not" | "Or" | "Range" | "Round" | "Sqrt" | "Tile"
        | "Where" => Ok(()),
        "Add" | "Div" | "Max" | "Min" | "Mul" | "Pow" | "Sub" | "Sum" => align(ctx, batch, (0..count).collect()),
        "QLinearAdd" | "QLinearMul" => align(ctx, batch, vec![0, 3]),
        "Concat" | "QLinearConcat" => {
            let parts: Vec<usize> = if op == "Concat" { (0..count).collect() } else { (2..count).step_by(3).collect() };
            let rank = ctx.ty(ctx.input(parts[0])?).shape.len();
            if axis(ctx.attributes.int_or("axis", 1)?, rank)? == 0 {
                return mixes(batch, "it joins along axis 0");
            }
            align(ctx, batch, parts)
        }
        "MatMul" | "QLinearMatMul" => {
            let (a, b) = (0, if op == "MatMul" { 1 } else { 3 });
            if ctx.ty(ctx.input(a)?).shape.len().max(ctx.ty(ctx.input(b)?).shape.len()) > 2 {
                return align(ctx, batch, vec![a, b]);
            }
            if batched(ctx, b) { mixes(batch, "it sums along axis 0 of its right side") } else { Ok(()) }
        }
        "Gemm" | "QGemm" => {
            let b = if op == "Gemm" { 1 } else { 3 };
            if ctx.attributes.int_or("transA", 0)? != 0 || batched(ctx, b) {
                return mixes(batch, "it sums along axis 0");
            }
            if op == "Gemm" && ctx.optional(2).is_some() { align(ctx, batch, vec![0, 2]) } else { Ok(()) }
        }
        "Gather" if stated_axis(ctx.attributes, 0)? == 0 => mixes(batch, "it picks entries of axis 0"),
        "Split" if stated_axis(ctx.attributes, 0)? == 0 => mixes(batch, "it splits axis 0"),
        "Softmax" if stated_axis(ctx.attributes, if ctx.opset < 13 { 1 } else { -1 })? == 0 => {
            mixes(batch, "it sums along axis 0")
        }
        "Gather" | "Split" | "Softmax" => Ok(()),
        "Slice" => slice(ctx, batch),
        "Transpose" => match ctx.attributes.ints("perm")? {
            Some(perm) if perm.first().map(|&p| axis(p, rank)).transpose()? == Some(0) => Ok(()),
            _ => mixes(batch, "it moves axis 0"),
        },
        "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" => {
            let axes = ctx.integers_or_attribute(1, "axes")?.unwrap_or_default();
            if axes.is_empty() && ctx.attributes.int_or("noop_with_empty_axes", 0)? != 0 {
                return Ok(());
            }
            let axes = axes.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
            if axes.is_empty() || axes.contains(&0) { mixes(batch, "it reduces axis 0") } else { Ok(()) }
        }
        _ => mixes(batch, "it may look across axis 0"),
    }
}

/// Checks that the batches of all operands broadcast with each other and with nothing else.
fn align(ctx: &mut NodeContext<'_, '_>, batch: usize, operands: Vec<usize>) -> Outcome {
    let mut rank = 0;
    for &i in &operands {
        rank = rank.max(ctx.ty(ctx.input(i)?).shape.len());
    }
    let mut lead = None;
    for &i in &operands {
        let id = ctx.input(i)?;
        let shape = &ctx.ty(id).shape;
        if ctx.batch_of(id).is_none() {
            continue;
        }
        if shape.len() < rank {
            return mixes(batch, &format!("it broadcasts axis 0 of `{}` to another axis", ctx.value_name(id)));
        }
        if *lead.get_or_insert(shape[0]) != shape[0] {
            return Fault::malformed("its inputs differ on axis 0");
        }
    }
    let Some(lead) = lead else { return Ok(()) };
    for i in operands {
        let id = ctx.input(i)?;
        if ctx.ty(id).shape.len() == rank {
            let image = ctx.beside_batch(id, lead)?;
            ctx.replace_input(i, image);
        }
    }
    Ok(())
}

/// Checks that a slice takes all of axis 0.
fn slice(ctx: &NodeContext<'_, '_>, batch: usize) -> Outcome {
    let shape = ctx.exported_shape(ctx.input(0)?);
    let extent = shape.first().map_or(0, |&d| d as i64);
    let starts = ctx.integers_or_attribute(1, "starts")?.unwrap_or_default();
    let ends = ctx.integers_or_attribute(2, "ends")?.unwrap_or_default();
    let axes = ctx.integers_or_attribute(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = ctx.optional(4).map(|_| ctx.integers(4, "steps")).transpose()?;
    for (i, &a) in axes.iter().enumerate() {
        let (Some(&start), Some(&end)) = (starts.get(i), ends.get(i)) else { continue };
        let step = steps.as_ref().and_then(|s| s.get(i)).copied().unwrap_or(1);
        let whole = (start == 0 || start <= -extent) && end >= extent && step == 1;
        if axis(a, shape.len())? == 0 && !whole {
            return mixes(batch, "it takes a part of axis 0");
        }
    }
    Ok(())
}
