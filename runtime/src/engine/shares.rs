//! Which member of a team computes which units of a step.
//!
//! Units of a layer follow each other from the top of the map to its bottom, and every member begins with a share of its
//! own: what it reads is then, for the most part, what it wrote as its share of the layer before, and lies in its own
//! cache. Whoever is done with its share takes units of the others.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

/// Counters in a cache line.
const LINE: usize = 16;

/// Counters that members rarely share.
#[derive(Debug)]
#[repr(align(64))]
struct Line([AtomicU32; LINE]);

/// How many units of every step are claimed, of every member's share.
#[derive(Debug)]
pub struct Shares {
    members: usize,
    /// Lines of a member.
    lines: usize,
    claimed: Vec<Line>,
}

/// The share of a member of `units` units, in order.
pub fn share(units: usize, member: usize, members: usize) -> Range<usize> {
    units * member / members..units * (member + 1) / members
}

impl Shares {
    /// Nothing is claimed of any of `steps` steps.
    pub fn new(members: usize, steps: usize) -> Shares {
        let lines = steps.div_ceil(LINE);
        let line = || Line(core::array::from_fn(|_| AtomicU32::new(0)));
        Shares { members, lines, claimed: (0..members * lines).map(|_| line()).collect() }
    }

    /// Makes all units free again.
    pub fn reset(&mut self) {
        self.claimed.iter_mut().flat_map(|line| &mut line.0).for_each(|claimed| *claimed.get_mut() = 0);
    }

    /// A unit of step `step`, which has `units`, that nobody else is given; none when all are claimed.
    pub fn claim(&self, step: usize, units: usize, member: usize) -> Option<usize> {
        (member..self.members).chain(0..member).find_map(|owner| {
            let Range { start, end } = share(units, owner, self.members);
            let claimed = &self.claimed[owner * self.lines + step / LINE].0[step % LINE];
            let free = |claimed: u32| (claimed as usize) < end - start;
            // Others' counters are only written when they promise something.
            if !free(claimed.load(Ordering::Relaxed)) {
                return None;
            }
            Some(claimed.fetch_add(1, Ordering::Relaxed)).filter(|&n| free(n)).map(|n| start + n as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    #[test]
    fn every_unit_is_claimed_once_by_whoever_is_free() {
        for (members, units) in [(1, 7), (2, 1), (3, 2), (3, 100), (4, 64), (5, 0)] {
            let mut shares = Shares::new(members, 40);
            for step in [0, 39, 39] {
                let all = Mutex::new(Vec::new());
                std::thread::scope(|scope| {
                    for member in 0..members {
                        let (shares, all) = (&shares, &all);
                        scope.spawn(move || {
                            while let Some(unit) = shares.claim(step, units, member) {
                                all.lock().unwrap().push(unit);
                            }
                        });
                    }
                });
                let all = all.into_inner().unwrap();
                assert_eq!(all.len(), units, "{members} members");
                assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (0..units).collect());
                shares.reset();
            }
        }
    }

    #[test]
    fn members_begin_with_their_own_share() {
        let shares = Shares::new(2, 1);
        assert_eq!(shares.claim(0, 5, 1), Some(2));
        assert_eq!(shares.claim(0, 5, 0), Some(0));
        assert_eq!(shares.claim(0, 5, 0), Some(1));
        // The rest of the other one's.
        assert_eq!(shares.claim(0, 5, 0), Some(3));
        assert_eq!(shares.claim(0, 5, 1), Some(4));
        assert_eq!([shares.claim(0, 5, 0), shares.claim(0, 5, 1)], [None, None]);
    }
}
