//! The optimal brain surgeon on one output channel: which weights cost least when the others make up for them.
//!
//! The squared error of an output channel is `(w - w*)ᵀ H (w - w*)` with `H` the second moments of its inputs. Removing
//! the weights of a block `B` and moving the others to the best place costs `w_Bᵀ ((H⁻¹)_BB)⁻¹ w_B`; the inverse of what
//! is left follows by elimination. [`trace`] removes the cheapest block again and again until none is left, so that
//! one trace serves every sparsity. It takes blocks one by one, exactly; only the update of the whole inverse is put
//! off until several can be applied at once.

/// Removals after which the inverse is brought up to date.
const PENDING: usize = 16;

/// What removing the weights of one output channel costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Blocks in the order of their removal.
    pub order: Vec<u32>,
    /// How much the squared error grew with each.
    pub cost: Vec<f64>,
}

/// The inverse of a matrix of second moments, as every channel starts from it.
pub struct Inverse {
    size: usize,
    /// Row-major, whole.
    elements: Vec<f32>,
}

impl Inverse {
    /// From the elements of a symmetric matrix, row-major.
    pub fn new(elements: &[f64], size: usize) -> Self {
        assert_eq!(elements.len(), size * size, "a square matrix");
        Self { size, elements: elements.iter().map(|&x| x as f32).collect() }
    }
}

/// Memory of a trace, kept from channel to channel.
#[derive(Default)]
pub struct Workspace {
    inverse: Vec<f32>,
    pending: Vec<Vec<f32>>,
}

/// Removes all blocks of `block` consecutive weights; the last weight, the bias, stays. `weights` are the best ones as
/// long as all are there.
pub fn trace(inverse: &Inverse, weights: &[f64], block: usize, work: &mut Workspace) -> Trace {
    assert_eq!(weights.len(), inverse.size, "one weight per input");
    let blocks = (weights.len() - 1) / block;
    let mut state = State::new(inverse, weights, block, blocks, work);
    let mut trace = Trace { order: Vec::with_capacity(blocks), cost: Vec::with_capacity(blocks) };
    for _ in 0..blocks {
        let (place, cost) = state.cheapest();
        trace.order.push(state.names[place]);
        trace.cost.push(cost);
        state.remove(place);
    }
    trace
}

/// The channel in the middle of a trace. Everything is compact: removed weights leave at the next flush.
struct State<'w> {
    block: usize,
    /// Rows and columns of `inverse`, some of which belong to removed blocks.
    size: usize,
    stride: usize,
    /// Lower triangle of the inverse, without what is pending.
    inverse: &'w mut [f32],
    /// Vectors whose outer products are still to be subtracted from it.
    pending: &'w mut Vec<Vec<f32>>,
    weights: Vec<f32>,
    /// The true blocks on the diagonal of the inverse.
    diagonal: Vec<f32>,
    /// What each block was called in the beginning.
    names: Vec<u32>,
    removed: Vec<bool>,
}

impl<'w> State<'w> {
    fn new(from: &Inverse, weights: &[f64], block: usize, blocks: usize, work: &'w mut Workspace) -> Self {
        let size = from.size;
        work.inverse.clear();
        work.inverse.extend_from_slice(&from.elements);
        work.pending.clear();
        let mut diagonal = Vec::with_capacity(blocks * block * block);
        for b in 0..blocks {
            for i in 0..block {
                let row = &from.elements[(b * block + i) * size..][..size];
                diagonal.extend_from_slice(&row[b * block..][..block]);
            }
        }
        State {
            block,
            size,
            stride: size,
            inverse: &mut work.inverse,
            pending: &mut work.pending,
            weights: weights.iter().map(|&w| w as f32).collect(),
            diagonal,
            names: (0..blocks as u32).collect(),
            removed: vec![false; blocks],
        }
    }

    /// The block that costs least, and its cost.
    fn cheapest(&self) -> (usize, f64) {
        let block = self.block;
        let mut best = (usize::MAX, f64::INFINITY);
        for place in (0..self.names.len()).filter(|&p| !self.removed[p]) {
            let weights = &self.weights[place * block..][..block];
            let cost = if block == 1 {
                f64::from(weights[0] * weights[0]) / f64::from(self.diagonal[place])
            } else {
                quadratic(&self.diagonal[place * block * block..][..block * block], weights)
            };
            // What rounding made of a worthless block must not keep it.
            let cost = if cost.is_finite() { cost.max(0.0) } else { 0.0 };
            if cost < best.1 {
                best = (place, cost);
            }
        }
        best
    }

    fn remove(&mut self, place: usize) {
        for i in 0..self.block {
            self.eliminate(place * self.block + i);
        }
        self.removed[place] = true;
        if self.pending.len() + self.block > PENDING {
            self.flush();
        }
    }

    /// Sets weight `q` to zero and the others to the best place without it.
    fn eliminate(&mut self, q: usize) {
        let size = self.size;
        let mut column = Vec::with_capacity(size);
        column.extend_from_slice(&self.inverse[q * self.stride..][..q]);
        column.extend((q..size).map(|i| self.inverse[i * self.stride + q]));
        for earlier in self.pending.iter() {
            let factor = earlier[q];
            for (c, e) in column.iter_mut().zip(earlier) {
                *c -= factor * e;
            }
        }
        let pivot = column[q];
        if pivot > 0.0 && pivot.is_finite() {
            let root = pivot.sqrt().recip();
            column.iter_mut().for_each(|c| *c *= root);
            let step = self.weights[q] * root;
            for (w, c) in self.weights.iter_mut().zip(&column) {
                *w -= step * c;
            }
            let square = self.block * self.block;
            for (corner, u) in self.diagonal.chunks_exact_mut(square).zip(column.chunks_exact(self.block)) {
                for i in 0..self.block {
                    for j in 0..self.block {
                        corner[i * self.block + j] -= u[i] * u[j];
                    }
                }
            }
            self.pending.push(column);
        }
        self.weights[q] = 0.0;
    }

    /// Applies what is pending and drops what was removed.
    fn flush(&mut self) {
        let block = self.block;
        let alive: Vec<usize> = (0..self.size).filter(|&i| self.removed.get(i / block) != Some(&true)).collect();
        for vector in self.pending.iter_mut() {
            for (to, &from) in alive.iter().enumerate() {
                vector[to] = vector[from];
            }
            vector.truncate(alive.len());
        }
        for (to, &from) in alive.iter().enumerate() {
            // Rows move up and elements move left, so nothing is overwritten before it is read.
            for (column, &source) in alive[..=to].iter().enumerate() {
                self.inverse[to * self.stride + column] = self.inverse[from * self.stride + source];
            }
            let row = &mut self.inverse[to * self.stride..][..=to];
            for four in self.pending.chunks(4) {
                subtract(row, four, to);
            }
            self.weights[to] = self.weights[from];
        }
        self.weights.truncate(alive.len());
        self.pending.clear();
        self.size = alive.len();
        let kept: Vec<usize> = (0..self.names.len()).filter(|&p| !self.removed[p]).collect();
        let square = block * block;
        for (to, &from) in kept.iter().enumerate() {
            self.names[to] = self.names[from];
            self.diagonal.copy_within(from * square..(from + 1) * square, to * square);
        }
        self.names.truncate(kept.len());
        self.diagonal.truncate(kept.len() * square);
        self.removed = vec![false; kept.len()];
    }
}

/// Subtracts from a row of the lower triangle the outer products of up to four vectors with themselves.
fn subtract(row: &mut [f32], vectors: &[Vec<f32>], index: usize) {
    let n = row.len();
    if let [a, b, c, d] = vectors {
        let factors = [a[index], b[index], c[index], d[index]];
        let (a, b, c, d) = (&a[..n], &b[..n], &c[..n], &d[..n]);
        for i in 0..n {
            row[i] -= (factors[0] * a[i] + factors[1] * b[i]) + (factors[2] * c[i] + factors[3] * d[i]);
        }
        return;
    }
    for vector in vectors {
        let factor = vector[index];
        for (r, v) in row.iter_mut().zip(vector) {
            *r -= factor * v;
        }
    }
}

/// `wᵀ D⁻¹ w` for a small positive definite `D`.
fn quadratic(matrix: &[f32], weights: &[f32]) -> f64 {
    let n = weights.len();
    let mut lower = [0.0f64; 16 * 16];
    let mut solved = [0.0f64; 16];
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..=i {
            let product: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
            let rest = f64::from(matrix[i * n + j]) - product;
            // A direction that rounding has used up carries nothing.
            lower[i * n + j] = if i == j { rest.max(1e-30).sqrt() } else { rest / lower[j * n + j] };
        }
        let known: f64 = (0..i).map(|k| lower[i * n + k] * solved[k]).sum();
        solved[i] = (f64::from(weights[i]) - known) / lower[i * n + i];
        sum += solved[i] * solved[i];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{Inverse, Workspace, trace};
    use crate::sparsify::prune::cholesky::{Cholesky, dot};

    /// Second moments of correlated inputs, the last of which is the constant 1.
    fn moments(size: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        let mut sum = vec![0.0; size * size];
        for _ in 0..6 * size {
            let shared = random();
            let mut x: Vec<f64> = (0..size).map(|i| random() + shared * (i % 3) as f64).collect();
            x[size - 1] = 1.0;
            for i in 0..size {
                for j in 0..size {
                    sum[i * size + j] += x[i] * x[j];
                }
            }
        }
        sum
    }

    /// The least squared error with only the weights in `kept`.
    fn error(h: &[f64], best: &[f64], kept: &[usize]) -> f64 {
        let size = best.len();
        let y: Vec<f64> = (0..size).map(|i| dot(&h[i * size..][..size], best)).collect();
        let part = kept.iter().flat_map(|&i| kept.iter().map(move |&j| h[i * size + j])).collect();
        let mut w: Vec<f64> = kept.iter().map(|&i| y[i]).collect();
        let target = w.clone();
        Cholesky::new(part, kept.len()).expect("positive definite").solve(&mut w);
        dot(best, &y) - dot(&w, &target)
    }

    fn traced(h: &[f64], best: &[f64], block: usize) -> super::Trace {
        let inverse = Cholesky::new(h.to_vec(), best.len()).expect("positive definite").inverse();
        trace(&Inverse::new(&inverse, best.len()), best, block, &mut Workspace::default())
    }

    #[test]
    fn costs_add_up_to_the_least_error_without_what_was_removed() {
        for (block, size) in [(1, 42), (4, 41)] {
            let h = moments(size, 7);
            let best: Vec<f64> = (0..size).map(|i| ((i * 37 % 11) as f64 - 5.0) / 5.0).collect();
            let trace = traced(&h, &best, block);
            assert_eq!(trace.order.len(), (size - 1) / block);
            let mut sum = 0.0;
            let mut kept: Vec<usize> = (0..size).collect();
            let whole = error(&h, &best, &[size - 1]);
            for (&removed, cost) in trace.order.iter().zip(&trace.cost) {
                sum += cost;
                kept.retain(|&i| i == size - 1 || i / block != removed as usize);
                let least = error(&h, &best, &kept);
                assert!((sum - least).abs() < 2e-4 * whole, "block {block}: {sum} of {least}, {} left", kept.len());
            }
        }
    }

    #[test]
    fn the_first_block_is_the_best_one_and_later_ones_are_near_the_best_set() {
        let size = 11;
        for seed in 1..6 {
            let h = moments(size, seed);
            let best: Vec<f64> = (0..size).map(|i| ((i * 29 % 17) as f64 - 8.0) / 4.0).collect();
            let trace = traced(&h, &best, 1);
            for remove in [1, 4, 6] {
                let sets = (0u32..1 << (size - 1)).filter(|set| set.count_ones() == remove);
                let optimum = sets
                    .map(|set| {
                        let kept: Vec<usize> = (0..size).filter(|&i| i == size - 1 || set >> i & 1 == 0).collect();
                        error(&h, &best, &kept)
                    })
                    .fold(f64::INFINITY, f64::min);
                let kept = |order: &[u32]| -> Vec<usize> {
                    (0..size).filter(|&i| !order[..remove as usize].contains(&(i as u32))).collect()
                };
                let ours = error(&h, &best, &kept(&trace.order));
                let mut by_magnitude: Vec<u32> = (0..size as u32 - 1).collect();
                by_magnitude.sort_by(|&a, &b| best[a as usize].abs().total_cmp(&best[b as usize].abs()));
                let magnitude = error(&h, &best, &kept(&by_magnitude));
                assert!(ours >= optimum - 1e-9);
                let allowed = if remove == 1 { 1.0 + 1e-4 } else { 1.35 };
                assert!(ours <= allowed * optimum, "seed {seed}: {ours} where {optimum} is possible");
                assert!(ours <= magnitude * (1.0 + 1e-4), "seed {seed}: {ours}, by magnitude {magnitude}");
            }
        }
    }
}
