//! Reductions of constants.

use super::{Positions, strides};
use crate::ir::{Data, Tensor};

/// How elements are combined.
#[derive(Clone, Copy, Debug)]
pub(in crate::onnx) enum Reduction {
    Max,
    Mean,
    Min,
    Prod,
    Sum,
}

/// Combines the elements along the axes marked in `reduced`; the result keeps them with extent 1.
pub(in crate::onnx) fn reduce(op: Reduction, a: &Tensor, reduced: &[bool]) -> Result<Tensor, String> {
    let shape: Vec<usize> = a.shape.iter().zip(reduced).map(|(&d, &r)| if r { 1 } else { d }).collect();
    let len: usize = shape.iter().product();
    if a.is_empty() {
        return Err("a reduction of no elements".to_owned());
    }
    let into: Vec<isize> = strides(&shape).iter().zip(reduced).map(|(&s, &r)| if r { 0 } else { s }).collect();
    let targets = Positions::new(&a.shape, 0, &into);
    let data = match &a.data {
        Data::F32(v) => {
            let mut sums: Vec<Option<f32>> = vec![None; len];
            for (&x, t) in v.iter().zip(targets) {
                sums[t] = Some(sums[t].map_or(x, |s| match op {
                    Reduction::Max => s.max(x),
                    Reduction::Min => s.min(x),
                    Reduction::Prod => s * x,
                    Reduction::Sum | Reduction::Mean => s + x,
                }));
            }
            let divisor = if matches!(op, Reduction::Mean) { (a.len() / len) as f32 } else { 1.0 };
            Data::F32(sums.into_iter().map(|s| s.unwrap_or(0.0) / divisor).collect())
        }
        Data::I64(v) => {
            let mut sums: Vec<Option<i64>> = vec![None; len];
            for (&x, t) in v.iter().zip(targets) {
                let sum = match (sums[t], op) {
                    (None, _) => Some(x),
                    (Some(s), Reduction::Max) => Some(s.max(x)),
                    (Some(s), Reduction::Min) => Some(s.min(x)),
                    (Some(s), Reduction::Prod) => s.checked_mul(x),
                    (Some(s), Reduction::Sum | Reduction::Mean) => s.checked_add(x),
                };
                sums[t] = Some(sum.ok_or("a reduction of constants overflows")?);
            }
            let divisor = if matches!(op, Reduction::Mean) { (a.len() / len) as i64 } else { 1 };
            Data::I64(sums.into_iter().map(|s| s.unwrap_or(0) / divisor).collect())
        }
        _ => return Err(format!("its input is {}, expected f32 or i64", a.ty())),
    };
    Ok(Tensor::new(shape, data))
}
