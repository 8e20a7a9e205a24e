//! The type rule of every operator.

mod layout;
mod window;

use layout::{broadcast, check_slice, infer_concat, infer_mat_mul, infer_transpose};

use crate::ir::{Conv, DType, DetectHead, Epilogue, Op, Quantization, Store, Type};

/// Output types of `op` for inputs of the given types.
///
/// # Errors
/// What is wrong with the inputs or the attributes. [`Op::Reshape`] and [`Op::Slice`] are errors too: their output
/// shape is not determined by their inputs, so they can only be [checked](check).
pub fn infer(op: &Op, inputs: &[&Type]) -> Result<Vec<Type>, String> {
    let output = match op {
        Op::Conv(conv) => return infer_conv(conv, inputs),
        Op::ConvInteger { geometry, w_zero, .. } => {
            let [x, w] = operands(inputs)?;
            expect_dtype("x", x, &[DType::U8, DType::I8])?;
            expect_dtype("the weight", w, &[DType::U8, DType::I8])?;
            let shape = window::conv_shape(geometry, x, w)?;
            expect_count("weight zero points", w_zero.len(), &[1, shape[1]])?;
            Type::new(DType::I32, shape)
        }
        Op::BatchNorm { .. } => infer_batch_norm(inputs)?,
        Op::Activation(_) => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[DType::F32])?;
            x.clone()
        }
        Op::Binary(_) => {
            let [a, b] = operands(inputs)?;
            expect_dtype("the first input", a, &[DType::F32, DType::I32, DType::I64])?;
            expect_dtype("the second input", b, &[a.dtype])?;
            Type::new(a.dtype, broadcast(&a.shape, &b.shape)?)
        }
        Op::Quantize(q) => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[DType::F32])?;
            check_channels(q, x)?;
            if !matches!(q.dtype, DType::U8 | DType::I8) {
                return Err(format!("quantises to {}; only u8 and i8 are possible", q.dtype));
            }
            Type::new(q.dtype, x.shape.clone())
        }
        Op::Dequantize(q) => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[q.dtype])?;
            check_channels(q, x)?;
            if !matches!(q.dtype, DType::U8 | DType::I8 | DType::I32) {
                return Err(format!("dequantises {}; only u8, i8 and i32 are possible", q.dtype));
            }
            Type::new(DType::F32, x.shape.clone())
        }
        Op::Cast(dtype) => {
            let [x] = operands(inputs)?;
            Type::new(*dtype, x.shape.clone())
        }
        Op::MaxPool(pool) => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[DType::F32, DType::U8, DType::I8])?;
            Type::new(x.dtype, window::pool_shape(pool, x)?)
        }
        Op::AveragePool { pool, .. } => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[DType::F32])?;
            Type::new(DType::F32, window::pool_shape(pool, x)?)
        }
        Op::GlobalAveragePool => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[DType::F32])?;
            let [channels, ..] = feature_map("the input", x)?;
            Type::new(DType::F32, [1, channels, 1, 1])
        }
        Op::ResizeNearest { scale } => {
            let [x] = operands(inputs)?;
            let [c, h, w] = feature_map("the input", x)?;
            let larger = |extent: usize, factor: usize| match factor {
                0 => Err("a scale factor is 0".to_string()),
                _ => extent.checked_mul(factor).ok_or_else(|| format!("{extent} times {factor} overflows")),
            };
            Type::new(x.dtype, [1, c, larger(h, scale[0])?, larger(w, scale[1])?])
        }
        Op::Concat { axis } => infer_concat(*axis, inputs)?,
        Op::Transpose { perm } => infer_transpose(perm, inputs)?,
        Op::MatMul => infer_mat_mul(inputs)?,
        Op::Softmax { axis } => {
            let [x] = operands(inputs)?;
            expect_dtype("the input", x, &[DType::F32])?;
            if *axis >= x.shape.len() {
                return Err(format!("axis {axis} of an input of rank {}", x.shape.len()));
            }
            x.clone()
        }
        Op::DetectHead(head) => infer_head(head, inputs)?,
        Op::Reshape | Op::Slice { .. } => return Err("the output shape is not determined by the input".into()),
    };
    Ok(vec![output])
}

/// Whether `op` maps inputs of the given types to outputs of the given types.
///
/// # Errors
/// What is wrong.
pub fn check(op: &Op, inputs: &[&Type], outputs: &[&Type]) -> Result<(), String> {
    match op {
        Op::Reshape => {
            let ([x], [y]) = (operands(inputs)?, results(outputs)?);
            expect_dtype("the output", y, &[x.dtype])?;
            if x.len() != y.len() {
                return Err(format!("{x} has {} elements, the output {y} has {}", x.len(), y.len()));
            }
            Ok(())
        }
        Op::Slice { starts, steps } => check_slice(starts, steps, inputs, outputs),
        _ => {
            let inferred = infer(op, inputs)?;
            if inferred.len() != outputs.len() {
                return Err(format!("has {} outputs, the operator makes {}", outputs.len(), inferred.len()));
            }
            for (i, (expected, declared)) in inferred.iter().zip(outputs).enumerate() {
                if expected != *declared {
                    return Err(format!("output {i} is declared {declared}, the operator makes {expected}"));
                }
            }
            Ok(())
        }
    }
}

fn operands<'a, const N: usize>(inputs: &[&'a Type]) -> Result<[&'a Type; N], String> {
    inputs.try_into().map_err(|_| format!("has {} inputs, the operator takes {N}", inputs.len()))
}

fn results<'a>(outputs: &[&'a Type]) -> Result<[&'a Type; 1], String> {
    outputs.try_into().map_err(|_| format!("has {} outputs, the operator makes 1", outputs.len()))
}

fn expect_dtype(what: &str, ty: &Type, allowed: &[DType]) -> Result<(), String> {
    if allowed.contains(&ty.dtype) {
        return Ok(());
    }
    let allowed: Vec<String> = allowed.iter().map(DType::to_string).collect();
    Err(format!("{what} is {ty}, expected {}", allowed.join(" or ")))
}

fn expect_type(what: &str, ty: &Type, expected: &Type) -> Result<(), String> {
    if ty == expected { Ok(()) } else { Err(format!("{what} is {ty}, expected {expected}")) }
}

fn expect_count(what: &str, count: usize, allowed: &[usize]) -> Result<(), String> {
    if allowed.contains(&count) {
        return Ok(());
    }
    let allowed: Vec<String> = allowed.iter().map(usize::to_string).collect();
    Err(format!("{count} {what}, expected {}", allowed.join(" or ")))
}

/// Channels, height and width of a map `[1, c, h, w]`.
fn feature_map(what: &str, ty: &Type) -> Result<[usize; 3], String> {
    match ty.shape[..] {
        [1, c, h, w] => Ok([c, h, w]),
        _ => Err(format!("{what} is {ty}, expected a feature map [1, channels, height, width]")),
    }
}

fn infer_conv(conv: &Conv, inputs: &[&Type]) -> Result<Vec<Type>, String> {
    let Epilogue { residual, stores, .. } = &conv.epilogue;
    let expected = if residual.is_some() { 4 } else { 3 };
    if inputs.len() != expected {
        return Err(format!("has {} inputs, the operator takes {expected}", inputs.len()));
    }
    let (x, w) = (inputs[0], inputs[1]);
    let (x_dtype, w_dtype) = if conv.quant.is_some() { (DType::U8, DType::I8) } else { (DType::F32, DType::F32) };
    expect_dtype("x", x, &[x_dtype])?;
    expect_dtype("the weight", w, &[w_dtype])?;
    let shape = window::conv_shape(&conv.geometry, x, w)?;
    expect_type("the bias", inputs[2], &Type::new(DType::F32, [shape[1]]))?;
    if residual.is_some() {
        expect_type("the residual", inputs[3], &Type::new(DType::F32, shape.clone()))?;
    }
    if let Some(quant) = &conv.quant {
        expect_count("accumulator scales", quant.scale.len(), &[shape[1]])?;
        expect_count("accumulator biases", quant.acc_bias.len(), &[shape[1]])?;
    }
    if stores.is_empty() {
        return Err("the epilogue stores nothing".into());
    }
    let dtype = |store: &Store| if matches!(store, Store::F32) { DType::F32 } else { DType::U8 };
    Ok(stores.iter().map(|store| Type::new(dtype(store), shape.clone())).collect())
}

fn infer_batch_norm(inputs: &[&Type]) -> Result<Type, String> {
    let [x, parameters @ ..] = operands::<5>(inputs)?;
    expect_dtype("x", x, &[DType::F32])?;
    let Some(&channels) = x.shape.get(1) else {
        return Err(format!("x is {x}, expected at least two axes"));
    };
    for (what, ty) in ["the scale", "the bias", "the mean", "the variance"].into_iter().zip(parameters) {
        expect_type(what, ty, &Type::new(DType::F32, [channels]))?;
    }
    Ok(x.clone())
}

fn check_channels(q: &Quantization, x: &Type) -> Result<(), String> {
    expect_count("zero points", q.zero.len(), &[q.scale.len()])?;
    if q.scale.len() == 1 {
        return Ok(());
    }
    match x.shape.get(q.axis) {
        Some(&extent) => expect_count("scales", q.scale.len(), &[1, extent]),
        None => Err(format!("quantisation axis {} of an input of rank {}", q.axis, x.shape.len())),
    }
}

fn infer_head(head: &DetectHead, inputs: &[&Type]) -> Result<Type, String> {
    if inputs.is_empty() || inputs.len() != head.levels.len() {
        return Err(format!("has {} inputs and {} levels", inputs.len(), head.levels.len()));
    }
    if head.outputs < 5 {
        return Err(format!("{} outputs per anchor, expected at least 5", head.outputs));
    }
    let mut candidates = 0usize;
    for (i, (ty, level)) in inputs.iter().zip(&head.levels).enumerate() {
        let what = format!("level {i}");
        expect_dtype(&what, ty, &[DType::F32])?;
        let [c, h, w] = feature_map(&what, ty)?;
        let anchors = level.anchors.len();
        if anchors == 0 || anchors.checked_mul(head.outputs) != Some(c) {
            return Err(format!("{what} is {ty}, expected {anchors} anchors of {} channels", head.outputs));
        }
        let count = anchors.checked_mul(h).and_then(|n| n.checked_mul(w));
        candidates = count.and_then(|n| n.checked_add(candidates)).ok_or("the candidates overflow")?;
    }
    Ok(Type::new(DType::F32, [1, candidates, head.outputs]))
}
