//! Constants and per-channel tables in short form.

use crate::ir::{Data, Tensor};
use std::fmt::{self, Debug, Display, Formatter};

/// Constants with at most this many elements are shown in full.
const SHOWN_IN_FULL: usize = 8;

/// Elements other than zero, or other than the zero point of their index along axis 0.
pub(super) fn nonzeros(tensor: &Tensor, zeros: &[i32]) -> usize {
    match &tensor.data {
        Data::F32(v) => v.iter().filter(|x| **x != 0.0).count(),
        Data::Bool(v) => v.iter().filter(|x| **x).count(),
        Data::U8(v) => count_unlike(v, zeros),
        Data::I8(v) => count_unlike(v, zeros),
        Data::I32(v) => count_unlike(v, zeros),
        Data::I64(v) => count_unlike(v, zeros),
    }
}

fn count_unlike<T: Copy + Into<i64>>(values: &[T], zeros: &[i32]) -> usize {
    let per_channel = (values.len() / zeros.len().max(1)).max(1);
    let zero_at = |i: usize| zeros.get(i / per_channel).copied().map_or(0, i64::from);
    values.iter().enumerate().filter(|&(i, &x)| x.into() != zero_at(i)).count()
}

/// A share in whole percent.
pub(super) struct Percent(pub(super) usize, pub(super) usize);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}%", 100.0 * self.0 as f64 / self.1.max(1) as f64)
    }
}

/// A shape as `64x32x3x3`.
pub(super) struct Extents<'a>(pub(super) &'a [usize]);

impl Display for Extents<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, extent) in self.0.iter().enumerate() {
            let separator = if i > 0 { "x" } else { "" };
            write!(f, "{separator}{extent}")?;
        }
        Ok(())
    }
}

/// A constant in full when it is short, else its density and range.
pub(super) struct Summary<'a>(pub(super) &'a Tensor);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.len() > SHOWN_IN_FULL {
            write!(f, "nnz {} ", Percent(nonzeros(self.0, &[]), self.0.len()))?;
        }
        match &self.0.data {
            Data::F32(v) => short_form(f, v),
            Data::U8(v) => short_form(f, v),
            Data::I8(v) => short_form(f, v),
            Data::I32(v) => short_form(f, v),
            Data::I64(v) => short_form(f, v),
            Data::Bool(v) => short_form(f, v),
        }
    }
}

/// Per-channel numbers: one alone, few in full, many as count and range.
pub(super) struct Channels<'a, T>(pub(super) &'a [T]);

impl<T: PartialOrd + Copy + Debug> Display for Channels<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let [one] = self.0 {
            return write!(f, "{one:?}");
        }
        if self.0.len() <= SHOWN_IN_FULL {
            return short_form(f, self.0);
        }
        write!(f, "[{}: ", self.0.len())?;
        short_form(f, self.0)?;
        f.write_str("]")
    }
}

/// All values when few, else least and greatest.
fn short_form<T: PartialOrd + Copy + Debug>(f: &mut Formatter<'_>, values: &[T]) -> fmt::Result {
    if values.len() <= SHOWN_IN_FULL {
        return write!(f, "{values:?}");
    }
    let least = values.iter().copied().reduce(|a, b| if b < a { b } else { a });
    let greatest = values.iter().copied().reduce(|a, b| if b > a { b } else { a });
    match (least, greatest) {
        (Some(least), Some(greatest)) => write!(f, "{least:?}..{greatest:?}"),
        _ => Ok(()),
    }
}
