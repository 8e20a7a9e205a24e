//! Panels in plain Rust.

use super::{BLOCKS, PASS, Pass, QUAD, QUAD_BYTES, record_words};

/// # Safety
/// As for [`super::pack`].
pub unsafe fn pack(offsets: &[i32], x: *const u8, to: *mut u8) {
    for (quad, offsets) in offsets.chunks_exact(QUAD).enumerate() {
        // SAFETY: by the contract.
        unsafe {
            let to = core::slice::from_raw_parts_mut(to.add(quad * QUAD_BYTES), QUAD_BYTES);
            for (i, &offset) in offsets.iter().enumerate() {
                let row = core::slice::from_raw_parts(x.offset(offset as isize), PASS);
                to.iter_mut().skip(i).step_by(QUAD).zip(row).for_each(|(to, &byte)| *to = byte);
            }
        }
    }
}

/// # Safety
/// As for [`super::run_pass`].
pub unsafe fn run(pass: &Pass<'_>) {
    let mut weights = pass.weights;
    for segments in pass.segments.chunks_exact(BLOCKS.len()) {
        // SAFETY: the unit has sums of a pass for every output.
        let sums = unsafe {
            let first = pass.sums.add(usize::from(segments[0].mask) * pass.stride);
            core::slice::from_raw_parts_mut(first, PASS)
        };
        if !pass.add {
            sums.fill(0);
        }
        for (segment, (block, run)) in segments.iter().zip(BLOCKS) {
            for _ in 0..segment.count {
                // SAFETY: by the contract there is a record for every block, of quads of the panel.
                unsafe {
                    let numbers = weights.add(block);
                    for i in 0..block {
                        let w = weights.add(i).cast::<[i8; QUAD]>().read_unaligned().map(i32::from);
                        let number =
                            if run { *numbers as usize + i } else { usize::from(*numbers.cast::<u8>().add(i)) };
                        let quad = pass.panel.add(number * QUAD_BYTES).cast::<[u8; QUAD]>();
                        for (sum, x) in sums.iter_mut().zip(core::slice::from_raw_parts(quad, PASS)) {
                            *sum += (0..QUAD).map(|k| w[k] * i32::from(x[k])).sum::<i32>();
                        }
                    }
                    weights = weights.add(record_words(block, run));
                }
            }
        }
    }
}
