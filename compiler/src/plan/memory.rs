//! The arena: buffers that are never needed at the same time share memory.

use std::ops::Range;

/// Alignment of every buffer: a cache line.
const ALIGN: usize = 64;
/// Bytes after the last buffer: register tiles read past the last pixel of a map by less than one tile.
const TAIL: usize = 4096;

/// Offsets of buffers, and the size of the arena that holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte offset of every buffer.
    pub offsets: Vec<usize>,
    /// Size in bytes.
    pub bytes: usize,
}

/// Places buffers of `sizes[i]` bytes, alive during the steps `lives[i]` (empty when unused).
///
/// Greedy: largest first, each at the lowest offset where it overlaps no buffer that is alive at the same time.
pub fn layout(sizes: &[usize], lives: &[Range<usize>]) -> Layout {
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&i| !lives[i].is_empty()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(sizes[i]), i));
    let mut offsets = vec![0; sizes.len()];
    let mut placed: Vec<usize> = Vec::new();
    // The first tile may read padding before the first buffer's first pixel, which lies inside that buffer.
    let mut bytes = 0;
    for i in order {
        let size = sizes[i].next_multiple_of(ALIGN);
        let overlaps = |j: &&usize| lives[**j].start < lives[i].end && lives[i].start < lives[**j].end;
        let mut taken: Vec<Range<usize>> = placed
            .iter()
            .filter(overlaps)
            .map(|&j| offsets[j]..offsets[j] + sizes[j].next_multiple_of(ALIGN))
            .collect();
        taken.sort_by_key(|r| r.start);
        let mut at = 0;
        for range in taken {
            if range.start >= at + size {
                break;
            }
            at = at.max(range.end);
        }
        offsets[i] = at;
        bytes = bytes.max(at + size);
        placed.push(i);
    }
    Layout { offsets, bytes: bytes + TAIL }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn buffers_alive_together_never_overlap(
            buffers in proptest::collection::vec((1usize..5000, 0usize..20, 0usize..6), 1..40)
        ) {
            let sizes: Vec<usize> = buffers.iter().map(|b| b.0).collect();
            let lives: Vec<Range<usize>> = buffers.iter().map(|b| b.1..b.1 + b.2).collect();
            let layout = layout(&sizes, &lives);
            for i in 0..sizes.len() {
                for j in 0..i {
                    let together = lives[i].start < lives[j].end && lives[j].start < lives[i].end
                        && !lives[i].is_empty() && !lives[j].is_empty();
                    let apart = layout.offsets[i] + sizes[i] <= layout.offsets[j]
                        || layout.offsets[j] + sizes[j] <= layout.offsets[i];
                    prop_assert!(!together || apart);
                }
                prop_assert!(lives[i].is_empty() || layout.offsets[i] + sizes[i] + TAIL <= layout.bytes);
            }
        }
    }
}
