//! Rules of broadcasting, joining, permuting, multiplying and slicing.

use super::{expect_dtype, operands, results};
use crate::ir::{DType, Type};

/// The shape that two shapes broadcast to by NumPy's rule.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(i) => shape[i],
        None => 1,
    };
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            (x, y) => Err(format!("shapes {a:?} and {b:?} do not broadcast: {x} against {y}")),
        })
        .collect()
}

/// The inputs joined along `axis`; every other axis and the element type agree.
pub(super) fn infer_concat(axis: usize, inputs: &[&Type]) -> Result<Type, String> {
    let Some((first, rest)) = inputs.split_first() else {
        return Err("joins no inputs".into());
    };
    let mut joined = (*first).clone();
    if axis >= joined.shape.len() {
        return Err(format!("axis {axis} of inputs of rank {}", joined.shape.len()));
    }
    for (i, ty) in rest.iter().enumerate() {
        let alike = ty.shape.len() == joined.shape.len()
            && (0..ty.shape.len()).all(|a| a == axis || ty.shape[a] == joined.shape[a]);
        if !alike || ty.dtype != joined.dtype {
            return Err(format!("input {} is {ty}, which does not join {first} along axis {axis}", i + 1));
        }
        joined.shape[axis] = joined.shape[axis].checked_add(ty.shape[axis]).ok_or("the joined axis overflows")?;
    }
    Ok(joined)
}

/// The input with its axes permuted.
pub(super) fn infer_transpose(perm: &[usize], inputs: &[&Type]) -> Result<Type, String> {
    let [x] = operands(inputs)?;
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.shape.len()) {
        return Err(format!("{perm:?} is not a permutation of the axes of {x}"));
    }
    Ok(Type::new(x.dtype, perm.iter().map(|&p| x.shape[p]).collect::<Vec<_>>()))
}

/// The product of two matrices, or of two stacks of them.
pub(super) fn infer_mat_mul(inputs: &[&Type]) -> Result<Type, String> {
    let [a, b] = operands(inputs)?;
    expect_dtype("the first input", a, &[DType::F32])?;
    expect_dtype("the second input", b, &[DType::F32])?;
    let (Some((a_lead, &[m, k])), Some((b_lead, &[inner, n]))) =
        (a.shape.split_last_chunk::<2>(), b.shape.split_last_chunk::<2>())
    else {
        return Err(format!("multiplies {a} by {b}; both need at least two axes"));
    };
    if k != inner {
        return Err(format!("multiplies {a} by {b}: {k} columns against {inner} rows"));
    }
    let mut shape = broadcast(a_lead, b_lead)?;
    shape.extend([m, n]);
    Ok(Type::new(DType::F32, shape))
}

/// Whether a slice of these starts and steps stays inside its input.
pub(super) fn check_slice(
    starts: &[usize],
    steps: &[usize],
    inputs: &[&Type],
    outputs: &[&Type],
) -> Result<(), String> {
    let ([x], [y]) = (operands(inputs)?, results(outputs)?);
    expect_dtype("the output", y, &[x.dtype])?;
    let rank = x.shape.len();
    if [starts.len(), steps.len(), y.shape.len()] != [rank; 3] {
        return Err(format!("starts {starts:?}, steps {steps:?} and output {y} must all have rank {rank}"));
    }
    for axis in 0..rank {
        let (start, step, extent) = (starts[axis], steps[axis], y.shape[axis]);
        if step == 0 {
            return Err(format!("the step of axis {axis} is 0"));
        }
        let Some(last) = extent.checked_sub(1) else { continue };
        let end = last.checked_mul(step).and_then(|n| n.checked_add(start));
        if end.is_none_or(|end| end >= x.shape[axis]) {
            return Err(format!("axis {axis} reads {extent} elements from {start} by {step}, past the end of {x}"));
        }
    }
    Ok(())
}
