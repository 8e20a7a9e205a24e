//! Panels in plain Rust.

use super::{Cursor, PITCH, PanelTile, Pass, f32_spconv};

/// # Safety
/// As for [`super::run_pass`].
pub unsafe fn run(pass: &Pass<'_>) -> Cursor {
    let pixels = pass.tiles * f32_spconv::TILE;
    let Cursor { mut offset, mut weight } = pass.tables;
    for (g, group) in pass.groups.iter().enumerate() {
        let outputs = group.outputs.len();
        // SAFETY: by the contract.
        let sums = |j: usize| unsafe {
            let first = pass.accumulators.add((g * pass.tile.group() + j) * pass.stride);
            core::slice::from_raw_parts_mut(first, pixels)
        };
        if !pass.add {
            (0..outputs).for_each(|j| sums(j).fill(0.0));
        }
        // SAFETY: by the contract: rows of the block lie in the panel, those of dense layers in order.
        unsafe {
            for (segment, rows) in pass.segments_of(g).iter().zip(pass.tile.steps()) {
                for step in 0..usize::from(segment.count) {
                    for &mask in *rows {
                        let at = match pass.tile {
                            PanelTile::Dense4x24 => step * PITCH,
                            _ => {
                                let at = usize::from(*offset);
                                offset = offset.add(1);
                                at
                            }
                        };
                        let row = core::slice::from_raw_parts(pass.panel.byte_add(at), pixels);
                        for j in (0..8).filter(|j| segment.mask & mask & (1 << j) != 0) {
                            let w = *weight;
                            weight = weight.add(1);
                            sums(j).iter_mut().zip(row).for_each(|(sum, x)| *sum += w * x);
                        }
                    }
                }
            }
        }
    }
    Cursor { offset, weight }
}
