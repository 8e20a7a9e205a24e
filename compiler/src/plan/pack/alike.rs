//! Which outputs share a group: those that use the same rows, which are then loaded once for all of them.

use super::Row;
use std::collections::BTreeMap;

/// Sets, an even number, that are compared with each other: the comparisons of all would be the square of their number.
const WINDOW: usize = 2048;

/// Groups of `group` outputs, a power of two, of which the last may have fewer: outputs join in twos, and those again,
/// those first that have most rows in common. Outputs that have all rows in common stay in order.
pub fn alike<W>(rows: &[Row<W>], group: usize) -> Vec<Vec<usize>> {
    let mut sets: Vec<Set> = (0..).zip(bits(rows)).map(|(output, bits)| Set { outputs: vec![output], bits }).collect();
    let mut size = 1;
    while size < group {
        sets = twos(sets);
        size *= 2;
    }
    sets.into_iter().map(|set| set.outputs).collect()
}

/// Outputs, and the rows that any of them uses.
struct Set {
    outputs: Vec<usize>,
    bits: Vec<u64>,
}

impl Set {
    fn in_common(&self, other: &Set) -> u32 {
        self.bits.iter().zip(&other.bits).map(|(a, b)| (a & b).count_ones()).sum()
    }

    fn with(mut self, other: Set) -> Set {
        self.outputs.extend(other.outputs);
        self.bits.iter_mut().zip(other.bits).for_each(|(a, b)| *a |= b);
        self
    }
}

/// The rows of every output, a bit each.
fn bits<W>(rows: &[Row<W>]) -> Vec<Vec<u64>> {
    let mut numbers: BTreeMap<i32, usize> = rows.iter().flatten().map(|entry| (entry.0, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(at, number)| *number = at);
    let of = |row: &Row<W>| {
        let mut bits = vec![0; numbers.len().div_ceil(64)];
        for entry in row {
            let number = numbers[&entry.0];
            bits[number / 64] |= 1 << (number % 64);
        }
        bits
    };
    rows.iter().map(of).collect()
}

/// Joins sets in twos. One that is left over, or the smaller of two, comes last.
fn twos(sets: Vec<Set>) -> Vec<Set> {
    // Only the last set may be smaller than the others: it takes what is left, so that no other is short of outputs.
    let odd = !sets.len().is_multiple_of(2) || sets.windows(2).any(|two| two[0].outputs.len() != two[1].outputs.len());
    let free = if odd { sets.len() - 1 } else { sets.len() };
    let mut sets: Vec<Option<Set>> = sets.into_iter().map(Some).collect();
    let mut joined = Vec::new();
    for window in sets[..free].chunks_mut(WINDOW) {
        for [a, b] in matches(window) {
            let [first, second] = [a, b].map(|at| window[at].take().expect("a set is matched once"));
            joined.push(first.with(second));
        }
    }
    // Memory is written in the order of groups: channels that follow each other soon after each other.
    joined.sort_by_key(|set| set.outputs[0]);
    joined.extend(sets.into_iter().flatten().reduce(Set::with));
    joined
}

/// Pairs of sets, those first that have most rows in common; one may be left over.
fn matches(sets: &[Option<Set>]) -> Vec<[usize; 2]> {
    let sets: Vec<&Set> = sets.iter().flatten().collect();
    let mut candidates: Vec<(u32, usize, usize)> = (0..sets.len())
        .flat_map(|a| (a + 1..sets.len()).map(move |b| (a, b)))
        .map(|(a, b)| (sets[a].in_common(sets[b]), a, b))
        .collect();
    candidates.sort_by_key(|&(common, a, b)| (std::cmp::Reverse(common), a, b));
    let mut matched = vec![false; sets.len()];
    let mut matches = Vec::new();
    for (_, a, b) in candidates {
        if !matched[a] && !matched[b] {
            (matched[a], matched[b]) = (true, true);
            matches.push([a, b]);
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(used: &[&[i32]]) -> Vec<Row<i8>> {
        used.iter().map(|row| row.iter().map(|&offset| (offset, 1)).collect()).collect()
    }

    #[test]
    fn outputs_with_rows_in_common_share_a_group() {
        let rows = rows(&[&[0, 10, 20], &[30, 40], &[0, 10, 50], &[30, 40, 50], &[60]]);
        assert_eq!(alike(&rows, 2), [vec![0, 2], vec![1, 3], vec![4]]);
        assert_eq!(alike(&rows, 4), [vec![0, 2, 1, 3], vec![4]]);
        assert_eq!(alike(&rows[..0], 4), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn equal_outputs_stay_in_order_and_only_the_last_group_is_short() {
        for outputs in 1..20 {
            let same = rows(&vec![&[0, 4, 8][..]; outputs]);
            for group in [1, 2, 4] {
                let expected: Vec<Vec<usize>> =
                    (0..outputs).collect::<Vec<_>>().chunks(group).map(<[usize]>::to_vec).collect();
                assert_eq!(alike(&same, group), expected);
            }
            let mut state = outputs as u32;
            let mut other = rows(&vec![&[][..]; outputs]);
            for row in &mut other {
                for offset in 0..40 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if state >> 30 == 0 {
                        row.push((offset, 1));
                    }
                }
            }
            for group in [2, 4] {
                let groups = alike(&other, group);
                assert_eq!(groups.len(), outputs.div_ceil(group));
                assert!(groups[..groups.len() - 1].iter().all(|outputs| outputs.len() == group));
                let mut all = groups.concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..outputs));
            }
        }
    }
}
