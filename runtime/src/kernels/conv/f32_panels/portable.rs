//! Panels in plain Rust.

use super::{PASS, Panels, Pass, f32_spconv};

/// # Safety
/// As for [`Panels::run_pass`].
pub unsafe fn run(panels: &Panels, pass: &Pass<'_>) {
    let pixels = pass.tiles * f32_spconv::TILE;
    for (g, (group, &[offset, weight])) in pass.groups.iter().zip(pass.cursors).enumerate() {
        let (mut offset, mut weight) = (offset as usize, weight as usize);
        // SAFETY: by the contract.
        let sums = |j: usize| unsafe {
            let first = pass.accumulators.add((g * panels.group() + j) * pass.stride);
            core::slice::from_raw_parts_mut(first, pixels)
        };
        if pass.block == 0 {
            (0..group.outputs.len()).for_each(|j| sums(j).fill(0.0));
        }
        for segment in panels.block_segments(pass.table, group, pass.block) {
            for _ in 0..segment.count {
                let row = (pass.table.offsets[offset] as usize - pass.base) / (PASS * 4);
                offset += 1;
                // SAFETY: rows of the block lie in the panel.
                let row = unsafe { core::slice::from_raw_parts(pass.panel.add(row * PASS), pixels) };
                for j in (0..group.outputs.len()).filter(|j| segment.mask & (1 << j) != 0) {
                    let w = f32::from_bits(pass.table.weights[weight]);
                    weight += 1;
                    sums(j).iter_mut().zip(row).for_each(|(sum, x)| *sum += w * x);
                }
            }
        }
    }
}
