//! What a step waits for, by units.

use super::program::{Kind, Needs, Program, Step};
use crate::kernels::conv::Conv;
use crate::simd::Isa;
use core::ops::Range;

fn convolution<'a>(program: &'a Program, step: &Step) -> Option<&'a Conv> {
    match &program.layers[step.layer as usize].kind {
        Kind::Conv(conv) => Some(conv),
        _ => None,
    }
}

/// Whether a step may start before the one before it is complete.
pub fn overlaps(program: &Program, step: usize) -> bool {
    let is_conv = |step: &Step| convolution(program, step).is_some();
    match program.schedule[step].needs {
        _ if step == 0 => false,
        Needs::All => false,
        Needs::Nothing => true,
        Needs::Window { .. } => is_conv(&program.schedule[step - 1]) && is_conv(&program.schedule[step]),
    }
}

/// The units of the step before `step`, with which it overlaps, that must be done before a unit of it: those that write
/// what it reads. That includes the padding between rows, which units write with the pixels beside it.
pub fn units_read(program: &Program, isa: Isa, step: usize, unit: usize) -> Range<usize> {
    let Needs::Window { stride, reach } = program.schedule[step].needs else { return 0..0 };
    let (reading, writing) = (&program.schedule[step], &program.schedule[step - 1]);
    let (Some(reader), Some(writer)) = (convolution(program, reading), convolution(program, writing)) else {
        return 0..0;
    };
    let stride = stride as isize;
    let [top, left, bottom, right] = reach.map(|n| n as isize);
    let [mut first, mut last] = reader.pixels_of_unit(isa, &reading.rows(), unit).map(|at| at.map(|n| n as isize));
    if stride != 1 || reader.out_width != writer.out_width {
        (first[1], last[1]) = (0, writer.out_width as isize - 1);
    }
    let first = [first[0] * stride - top, first[1] - left];
    let last = [last[0] * stride + bottom, last[1] + right];
    writer.units_of_pixels(isa, &writing.rows(), first, last)
}
