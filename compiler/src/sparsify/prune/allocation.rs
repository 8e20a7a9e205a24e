//! How many zeros each layer gets: the fixed total that costs least.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Points of a [`Curve`]: sparsity 0, 0.02, ..., 1.
pub const STEPS: usize = 50;

/// Cost at every step, from what each removal costs, in the order of the removals, which all take equally many weights.
pub fn steps(costs: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    let mut sum = 0.0;
    for &cost in costs {
        sum += cost;
        sums.push(sum);
    }
    (0..=STEPS).map(|step| sums[step * costs.len() / STEPS]).collect()
}

/// What zeros in a layer cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Weights of the layer, or whatever else is shared out.
    pub size: usize,
    /// Cost at every multiple of `1 / STEPS`, from 0 to 1, never falling.
    pub cost: Vec<f64>,
    /// Largest sparsity that the layer may get.
    pub limit: f64,
}

impl Curve {
    /// The corners of the greatest convex function below the curve, as steps, up to the limit.
    fn corners(&self) -> Vec<usize> {
        let last = ((self.limit * STEPS as f64).floor() as usize).min(STEPS);
        let mut corners: Vec<usize> = Vec::new();
        for step in 0..=last {
            while let [.., a, b] = corners[..] {
                if self.slope(a, b) < self.slope(a, step) {
                    break;
                }
                corners.pop();
            }
            corners.push(step);
        }
        corners
    }

    /// Cost per unit of size between two steps.
    fn slope(&self, from: usize, to: usize) -> f64 {
        (self.cost[to] - self.cost[from]) * STEPS as f64 / ((to - from) as f64 * self.size as f64)
    }
}

/// A piece of a layer's convex curve; the cheapest comes first out of a heap.
struct Piece {
    slope: f64,
    layer: usize,
    /// Index of its left corner.
    corner: usize,
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Piece {}

impl PartialOrd for Piece {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Piece {
    fn cmp(&self, other: &Self) -> Ordering {
        other.slope.total_cmp(&self.slope).then(other.layer.cmp(&self.layer))
    }
}

/// Sparsities of all layers that take `zeros` of their sizes together at the least cost; the limits of all layers when
/// they take less.
pub fn allocate(curves: &[Curve], zeros: f64) -> Vec<f64> {
    let corners: Vec<Vec<usize>> = curves.iter().map(Curve::corners).collect();
    let piece = |layer: usize, corner: usize| {
        let [from, to] = corners[layer].get(corner..corner + 2)?.try_into().ok()?;
        Some(Piece { slope: curves[layer].slope(from, to), layer, corner })
    };
    let mut heap: BinaryHeap<Piece> = (0..curves.len()).filter_map(|layer| piece(layer, 0)).collect();
    let mut sparsity = vec![0.0; curves.len()];
    let mut left = zeros;
    while let Some(Piece { layer, corner, .. }) = heap.pop() {
        let [from, to] = [corners[layer][corner], corners[layer][corner + 1]].map(|s| s as f64 / STEPS as f64);
        let wanted = (to - from) * curves[layer].size as f64;
        let share = (left / wanted).min(1.0);
        sparsity[layer] = from + share * (to - from);
        left -= share * wanted;
        if share < 1.0 {
            break;
        }
        heap.extend(piece(layer, corner + 1));
    }
    sparsity
}

#[cfg(test)]
mod tests {
    use super::{Curve, STEPS, allocate, steps};

    fn curve(size: usize, limit: f64, cost: impl Fn(f64) -> f64) -> Curve {
        Curve { size, cost: (0..=STEPS).map(|s| cost(s as f64 / STEPS as f64)).collect(), limit }
    }

    /// The cost at a sparsity, between the steps along straight lines.
    fn at(curve: &Curve, sparsity: f64) -> f64 {
        let place = sparsity * STEPS as f64;
        let below = (place as usize).min(STEPS - 1);
        let part = place - below as f64;
        curve.cost[below] * (1.0 - part) + curve.cost[below + 1] * part
    }

    #[test]
    fn the_sensitive_layer_keeps_more() {
        let curves = [curve(1000, 0.95, |s| 10.0 * s * s), curve(1000, 0.95, |s| s * s)];
        let [a, b] = allocate(&curves, 1000.0)[..] else { panic!("two layers") };
        assert!((a + b - 1.0).abs() < 1e-9, "{a} + {b}");
        // Equal slopes: 20 a = 2 b.
        assert!((a - 1.0 / 11.0).abs() < 0.02, "{a}");
    }

    #[test]
    fn limits_hold_and_the_rest_goes_elsewhere() {
        let curves = [curve(100, 0.5, |_| 0.0), curve(300, 0.9, |s| s)];
        let sparsity = allocate(&curves, 200.0);
        assert_eq!(sparsity[0], 0.5);
        assert!((sparsity[1] - 0.5).abs() < 1e-9);
        let all = allocate(&curves, 400.0);
        assert!((all[0] - 0.5).abs() < 1e-9 && (all[1] - 0.9).abs() < 1e-9);
    }

    #[test]
    fn no_other_division_is_cheaper() {
        let curves =
            [curve(100, 1.0, |s| s.powi(3)), curve(200, 1.0, |s| 2.0 * s * s), curve(400, 1.0, |s| 0.3 * s.powi(4))];
        let total = |s: &[f64]| curves.iter().zip(s).map(|(c, &s)| at(c, s)).sum::<f64>();
        let ours = allocate(&curves, 350.0);
        for a in 0..=20 {
            for b in 0..=20 {
                let (a, b) = (f64::from(a) / 20.0, f64::from(b) / 20.0);
                let c = (350.0 - 100.0 * a - 200.0 * b) / 400.0;
                if (0.0..=1.0).contains(&c) {
                    assert!(total(&ours) <= total(&[a, b, c]) + 1e-3);
                }
            }
        }
    }

    #[test]
    fn costs_add_up() {
        let steps = steps(&[1.0; 100]);
        assert_eq!((steps.len(), steps[0], steps[1], steps[STEPS]), (STEPS + 1, 0.0, 2.0, 100.0));
    }
}
