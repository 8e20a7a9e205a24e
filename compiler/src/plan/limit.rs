//! Plans whose straight-line code and tables stay within a number of bytes.

use super::cost::size;
use super::{KernelUse, Options, Plan, PlanError, PlanErrors, unlimited};
use crate::ir::Graph;
use std::fmt;

/// Budgets of straight-line code below this are not tried.
const LEAST_CODE: usize = 16 << 10;
/// Layers that an error names.
const NAMED: usize = 8;

/// Sizes of tables, largest first, in the words of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSizes(Vec<(String, usize)>);

impl TableSizes {
    fn of(plan: &Plan) -> TableSizes {
        let named = plan.layers.iter().zip(size::of(plan)).map(|(layer, size)| (layer.name.to_string(), size.data));
        let mut sizes: Vec<(String, usize)> = named.filter(|(_, bytes)| *bytes > 0).collect();
        sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        TableSizes(sizes)
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl fmt::Display for TableSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, bytes)) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{}{} of `{name}`", if at > 0 { ", " } else { "" }, megabytes(*bytes))?;
        }
        let others = self.0.len().saturating_sub(NAMED);
        if others > 0 {
            let bytes: usize = self.0[NAMED..].iter().map(|(_, bytes)| bytes).sum();
            write!(f, ", {} of {others} other layers", megabytes(bytes))?;
        }
        Ok(())
    }
}

/// Bytes in words.
pub fn megabytes(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

fn bytes(plan: &Plan) -> usize {
    size::total(plan).total()
}

/// The plan of a graph in at most so many bytes: with less straight-line code, and if that is not enough without the
/// tables of points, which take four times the room of the weights they are made from.
pub(super) fn within(graph: &Graph, options: &Options, most: usize) -> Result<Plan, PlanErrors> {
    let plan = unlimited(graph, options)?;
    if bytes(&plan) <= most {
        return Ok(plan);
    }
    let mut options = Options { code_budget: 0, ..*options };
    let mut tables = unlimited(graph, &options)?;
    if bytes(&tables) > most {
        options.winograd = KernelUse::Never;
        tables = unlimited(graph, &options)?;
    }
    if bytes(&tables) > most {
        return Err(PlanErrors(vec![PlanError::CodeSize { most, sizes: TableSizes::of(&tables) }]));
    }
    let mut budget = most - bytes(&tables);
    while budget >= LEAST_CODE {
        let plan = unlimited(graph, &Options { code_budget: budget, ..options })?;
        if bytes(&plan) <= most {
            return Ok(plan);
        }
        budget = budget / 4 * 3;
    }
    Ok(tables)
}
