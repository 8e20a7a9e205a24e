//! The layers of two inspections side by side.

use super::{Inspection, LayerRow};

/// A layer of one inspection and the same one of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'a> {
    /// Of the first.
    pub before: Option<&'a LayerRow>,
    /// Of the second.
    pub after: Option<&'a LayerRow>,
}

impl<'a> Pair<'a> {
    /// Whichever there is, the first if there are both.
    pub fn either(&self) -> &'a LayerRow {
        self.before.or(self.after).expect("a pair has a layer")
    }
}

/// Pairs layers of the same name and operator, in the order of the first inspection; layers that only the second one has
/// stand behind the one they follow there.
pub fn pairs<'a>(before: &'a Inspection, after: &'a Inspection) -> Vec<Pair<'a>> {
    let mut taken = vec![false; after.layers.len()];
    let mut pairs = Vec::new();
    let mut next = 0;
    for layer in &before.layers {
        let same = |other: &LayerRow| other.name == layer.name && other.op == layer.op;
        let found = (0..after.layers.len()).find(|&at| !taken[at] && same(&after.layers[at]));
        if let Some(at) = found {
            let between = next..at.max(next);
            for (layer, taken) in after.layers[between.clone()].iter().zip(&mut taken[between]) {
                let comes_later = before.layers.iter().any(|b| b.name == layer.name && b.op == layer.op);
                if !*taken && !comes_later {
                    *taken = true;
                    pairs.push(Pair { before: None, after: Some(layer) });
                }
            }
            taken[at] = true;
            next = next.max(at + 1);
        }
        pairs.push(Pair { before: Some(layer), after: found.map(|at| &after.layers[at]) });
    }
    let left = after.layers.iter().zip(&taken).filter(|(_, taken)| !**taken);
    pairs.extend(left.map(|(layer, _)| Pair { before: None, after: Some(layer) }));
    pairs
}
