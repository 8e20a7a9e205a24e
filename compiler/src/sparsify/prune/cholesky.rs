//! Cholesky factors of symmetric positive definite matrices, row-major in `f64`.

/// A lower triangular factor `L` of `A = L Lᵀ`.
pub struct Cholesky {
    size: usize,
    /// Row-major; what lies above the diagonal is not read.
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors the matrix `a` of `size * size` elements, of which the lower triangle is read. `None` when it is not
    /// positive definite.
    pub fn new(mut a: Vec<f64>, size: usize) -> Option<Self> {
        for i in 0..size {
            let (above, from_i) = a.split_at_mut(i * size);
            let row = &mut from_i[..size];
            for j in 0..i {
                let pivot = &above[j * size..][..=j];
                row[j] = (row[j] - dot(&row[..j], &pivot[..j])) / pivot[j];
            }
            let square = row[i] - dot(&row[..i], &row[..i]);
            if !(square > 0.0 && square.is_finite()) {
                return None;
            }
            row[i] = square.sqrt();
        }
        Some(Self { size, lower: a })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.size..][..=i]
    }

    /// Replaces `b` by the solution of `A x = b`.
    pub fn solve(&self, b: &mut [f64]) {
        for i in 0..self.size {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
        for i in (0..self.size).rev() {
            let row = self.row(i);
            let x = b[i] / row[i];
            b[i] = x;
            for (b, l) in b[..i].iter_mut().zip(row) {
                *b -= x * l;
            }
        }
    }

    /// Rounds the unknowns of a least squares problem of matrix `A` and solution `best` from the last one to the second:
    /// `round(i, x)` is given the best value of unknown `i` for what is fixed already, and returns what it becomes.
    /// Returns the best value of the first unknown, which stays free.
    pub fn nearest_plane(&self, best: &[f64], mut round: impl FnMut(usize, f64) -> f64) -> f64 {
        // Row i of Lᵀ times the errors fixed so far.
        let mut carried = vec![0.0; self.size];
        for i in (1..self.size).rev() {
            let row = self.row(i);
            let value = best[i] - carried[i] / row[i];
            let error = round(i, value) - best[i];
            for (carried, l) in carried[..i].iter_mut().zip(row) {
                *carried += l * error;
            }
        }
        best[0] - carried[0] / self.row(0)[0]
    }

    /// `A⁻¹`, whole.
    pub fn inverse(&self) -> Vec<f64> {
        let n = self.size;
        // Row j of `columns` is column j of L⁻¹, which is zero before j.
        let mut columns = vec![0.0; n * n];
        for j in 0..n {
            let column = &mut columns[j * n..][..n];
            column[j] = 1.0 / self.row(j)[j];
            for i in j + 1..n {
                let row = self.row(i);
                column[i] = -dot(&row[j..i], &column[j..i]) / row[i];
            }
        }
        let mut inverse = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let product = dot(&columns[i * n + i..(i + 1) * n], &columns[j * n + i..(j + 1) * n]);
                inverse[i * n + j] = product;
                inverse[j * n + i] = product;
            }
        }
        inverse
    }
}

/// The inner product, in eight sums that fit vector registers.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::Cholesky;

    #[test]
    fn solves_and_inverts() {
        let a = [4.0, 2.0, 0.6, 2.0, 5.0, 1.5, 0.6, 1.5, 3.8];
        let factor = Cholesky::new(a.to_vec(), 3).expect("positive definite");
        let inverse = factor.inverse();
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| a[i * 3 + k] * inverse[k * 3 + j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12, "{i} {j}: {product}");
            }
        }
        let mut x = [1.0, -2.0, 0.5];
        factor.solve(&mut x);
        for i in 0..3 {
            let back: f64 = (0..3).map(|k| a[i * 3 + k] * x[k]).sum();
            assert!((back - [1.0, -2.0, 0.5][i]).abs() < 1e-12);
        }
    }

    #[test]
    fn rounding_in_turn_beats_rounding_alone() {
        let a = [4.0, 3.0, 2.0, 3.0, 5.0, 3.5, 2.0, 3.5, 3.8];
        let factor = Cholesky::new(a.to_vec(), 3).expect("positive definite");
        let best = [0.3, 1.3, -2.7];
        let error = |w: [f64; 3]| -> f64 {
            let e: Vec<f64> = w.iter().zip(best).map(|(w, b)| w - b).collect();
            (0..9).map(|k| a[k] * e[k / 3] * e[k % 3]).sum()
        };
        let mut w = [0.0; 3];
        w[0] = factor.nearest_plane(&best, |i, x| {
            w[i] = x.round();
            w[i]
        });
        let mut alone = [0.0, best[1].round(), best[2].round()];
        // The first one is free in both.
        alone[0] = best[0] - (3.0 * (alone[1] - best[1]) + 2.0 * (alone[2] - best[2])) / 4.0;
        assert!(error(w) < error(alone), "{w:?} {alone:?}");
        for step in [-0.01, 0.01] {
            assert!(error(w) < error([w[0] + step, w[1], w[2]]));
        }
    }

    #[test]
    fn refuses_what_is_not_positive_definite() {
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
    }
}
