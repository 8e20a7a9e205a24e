//! Elementwise functions of constants, with NumPy broadcasting.

use super::{Positions, broadcast_strides};
use crate::ir::{Binary, DType, Data, Tensor};

/// Pairs of positions that broadcast `a` and `b` to `shape`.
fn pairs(a: &Tensor, b: &Tensor, shape: &[usize]) -> impl Iterator<Item = (usize, usize)> + use<> {
    let of = |t: &Tensor| Positions::new(shape, 0, &broadcast_strides(&t.shape, shape));
    of(a).zip(of(b))
}

fn mismatch(a: &Tensor, b: &Tensor) -> String {
    format!("its inputs are {} and {}, expected one numeric element type", a.ty(), b.ty())
}

/// `a op b`, broadcast to `shape`.
pub(in crate::onnx) fn arithmetic(op: Binary, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    let at = pairs(a, b, shape);
    let overflow = || format!("{op:?} of constants overflows or divides by zero");
    let data = match (&a.data, &b.data) {
        (Data::F32(x), Data::F32(y)) => {
            let of = |x: f32, y: f32| match op {
                Binary::Add => x + y,
                Binary::Sub => x - y,
                Binary::Mul => x * y,
                Binary::Div => x / y,
                Binary::Pow => x.powf(y),
                Binary::Max => x.max(y),
                Binary::Min => x.min(y),
            };
            Data::F32(at.map(|(i, j)| of(x[i], y[j])).collect())
        }
        (Data::I64(x), Data::I64(y)) => {
            Data::I64(at.map(|(i, j)| integer(op, x[i], y[j])).collect::<Option<_>>().ok_or_else(overflow)?)
        }
        (Data::I32(x), Data::I32(y)) => {
            let of = |(i, j): (usize, usize)| i32::try_from(integer(op, x[i].into(), y[j].into())?).ok();
            Data::I32(at.map(of).collect::<Option<_>>().ok_or_else(overflow)?)
        }
        _ => return Err(mismatch(a, b)),
    };
    Ok(Tensor::new(shape, data))
}

fn integer(op: Binary, x: i64, y: i64) -> Option<i64> {
    match op {
        Binary::Add => x.checked_add(y),
        Binary::Sub => x.checked_sub(y),
        Binary::Mul => x.checked_mul(y),
        Binary::Div => x.checked_div(y),
        Binary::Pow => x.checked_pow(u32::try_from(y).ok()?),
        Binary::Max => Some(x.max(y)),
        Binary::Min => Some(x.min(y)),
    }
}

/// Remainder: with the sign of the divisor, or of the dividend when `truncated`.
pub(in crate::onnx) fn remainder(a: &Tensor, b: &Tensor, truncated: bool, shape: &[usize]) -> Result<Tensor, String> {
    let at = pairs(a, b, shape);
    let of = |x: i64, y: i64| {
        let r = x.checked_rem(y)?;
        Some(if !truncated && r != 0 && (r < 0) != (y < 0) { r + y } else { r })
    };
    let zero = || "a remainder of constants divides by zero".to_owned();
    let data = match (&a.data, &b.data) {
        (Data::F32(x), Data::F32(y)) => Data::F32(at.map(|(i, j)| x[i] % y[j]).collect()),
        (Data::I64(x), Data::I64(y)) => {
            Data::I64(at.map(|(i, j)| of(x[i], y[j])).collect::<Option<_>>().ok_or_else(zero)?)
        }
        (Data::I32(x), Data::I32(y)) => {
            let of = |(i, j): (usize, usize)| i32::try_from(of(x[i].into(), y[j].into())?).ok();
            Data::I32(at.map(of).collect::<Option<_>>().ok_or_else(zero)?)
        }
        _ => return Err(mismatch(a, b)),
    };
    Ok(Tensor::new(shape, data))
}

/// Functions of two constants with a truth value.
#[derive(Clone, Copy, Debug)]
pub(in crate::onnx) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

/// `a op b`, broadcast to `shape`.
pub(in crate::onnx) fn compare(op: Comparison, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    fn of<T: PartialOrd>(op: Comparison, x: T, y: T) -> bool {
        match op {
            Comparison::Equal => x == y,
            Comparison::Less => x < y,
            Comparison::LessOrEqual => x <= y,
            Comparison::Greater => x > y,
            Comparison::GreaterOrEqual => x >= y,
            Comparison::And | Comparison::Or => false,
        }
    }
    let at = pairs(a, b, shape);
    let truths = match (&a.data, &b.data) {
        (Data::Bool(x), Data::Bool(y)) => at
            .map(|(i, j)| match op {
                Comparison::And => x[i] && y[j],
                Comparison::Or => x[i] || y[j],
                _ => of(op, x[i], y[j]),
            })
            .collect(),
        (Data::F32(x), Data::F32(y)) => at.map(|(i, j)| of(op, x[i], y[j])).collect(),
        _ if a.dtype() == b.dtype() => match (a.to_i64s(), b.to_i64s()) {
            (Some(x), Some(y)) => at.map(|(i, j)| of(op, x[i], y[j])).collect(),
            _ => return Err(mismatch(a, b)),
        },
        _ => return Err(mismatch(a, b)),
    };
    Ok(Tensor::new(shape, Data::Bool(truths)))
}

/// `!a`
pub(in crate::onnx) fn logical_not(a: &Tensor) -> Option<Tensor> {
    let Data::Bool(v) = &a.data else { return None };
    Some(Tensor::new(a.shape.clone(), Data::Bool(v.iter().map(|x| !x).collect())))
}

/// Elements of `a` where `condition` holds and of `b` elsewhere, all broadcast to `shape`.
pub(in crate::onnx) fn select(condition: &Tensor, a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor, String> {
    let Data::Bool(truths) = &condition.data else {
        return Err(format!("its condition is {}, expected bool", condition.ty()));
    };
    let truth = Positions::new(shape, 0, &broadcast_strides(&condition.shape, shape));
    let at = truth.zip(pairs(a, b, shape)).map(|(t, (i, j))| (truths[t], i, j));
    macro_rules! selected {
        ($variant:ident, $x:expr, $y:expr) => {
            Data::$variant(at.map(|(truth, i, j)| if truth { $x[i] } else { $y[j] }).collect())
        };
    }
    let data = match (&a.data, &b.data) {
        (Data::F32(x), Data::F32(y)) => selected!(F32, x, y),
        (Data::U8(x), Data::U8(y)) => selected!(U8, x, y),
        (Data::I8(x), Data::I8(y)) => selected!(I8, x, y),
        (Data::I32(x), Data::I32(y)) => selected!(I32, x, y),
        (Data::I64(x), Data::I64(y)) => selected!(I64, x, y),
        (Data::Bool(x), Data::Bool(y)) => selected!(Bool, x, y),
        _ => return Err(mismatch(a, b)),
    };
    Ok(Tensor::new(shape, data))
}

/// Functions of one constant.
#[derive(Clone, Copy, Debug)]
pub(in crate::onnx) enum Unary {
    Abs,
    Ceil,
    Exp,
    Floor,
    Log,
    Neg,
    Reciprocal,
    Round,
    Sqrt,
}

/// `op(a)`; integers are left to `Abs` and `Neg`.
pub(in crate::onnx) fn unary(op: Unary, a: &Tensor) -> Result<Tensor, String> {
    let of = |x: f32| match op {
        Unary::Abs => x.abs(),
        Unary::Ceil => x.ceil(),
        Unary::Exp => x.exp(),
        Unary::Floor => x.floor(),
        Unary::Log => x.ln(),
        Unary::Neg => -x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Round => x.round_ties_even(),
        Unary::Sqrt => x.sqrt(),
    };
    let data = match (&a.data, op) {
        (Data::F32(v), _) => Data::F32(v.iter().map(|&x| of(x)).collect()),
        (Data::I64(v), Unary::Abs) => Data::I64(v.iter().map(|x| x.saturating_abs()).collect()),
        (Data::I64(v), Unary::Neg) => Data::I64(v.iter().map(|x| x.saturating_neg()).collect()),
        (Data::I32(v), Unary::Abs) => Data::I32(v.iter().map(|x| x.saturating_abs()).collect()),
        (Data::I32(v), Unary::Neg) => Data::I32(v.iter().map(|x| x.saturating_neg()).collect()),
        _ => return Err(format!("its input is {}, expected f32", a.ty())),
    };
    Ok(Tensor::new(a.shape.clone(), data))
}

/// Conversion of the element type: floats round toward zero and saturate, integers wrap.
pub(in crate::onnx) fn cast(a: &Tensor, to: DType) -> Tensor {
    macro_rules! converted {
        ($v:expr) => {
            match to {
                DType::F32 => Data::F32($v.iter().map(|&x| x as f32).collect()),
                DType::U8 => Data::U8($v.iter().map(|&x| x as u8).collect()),
                DType::I8 => Data::I8($v.iter().map(|&x| x as i8).collect()),
                DType::I32 => Data::I32($v.iter().map(|&x| x as i32).collect()),
                DType::I64 => Data::I64($v.iter().map(|&x| x as i64).collect()),
                DType::Bool => Data::Bool($v.iter().map(|&x| x as f64 != 0.0).collect()),
            }
        };
    }
    let data = match &a.data {
        Data::F32(v) => converted!(v),
        Data::U8(v) => converted!(v),
        Data::I8(v) => converted!(v),
        Data::I32(v) => converted!(v),
        Data::I64(v) => converted!(v),
        Data::Bool(v) => {
            let bytes: Vec<u8> = v.iter().map(|&x| x.into()).collect();
            converted!(bytes)
        }
    };
    Tensor::new(a.shape.clone(), data)
}
