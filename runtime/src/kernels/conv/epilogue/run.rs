//! A run of linear input positions, and its way into maps of any layout.

use super::{Conv, Map, StoreTo};
use crate::engine::DType;
use core::ops::Range;

/// Linear input positions of one unit of work: output pixels, and the padding columns between rows.
#[derive(Clone, Copy)]
pub(super) struct Run {
    first: usize,
    end: usize,
    /// Elements per row of the input, and output pixels in it.
    row: usize,
    width: usize,
    /// Output row and column of the first position; the column may lie in the padding.
    start: [usize; 2],
}

impl Run {
    #[inline(always)]
    pub(super) fn new(conv: &Conv, pixels: Range<usize>) -> Run {
        let (row, width) = (conv.input.row, conv.out_width);
        let start = [pixels.start / row, pixels.start % row];
        Run { first: pixels.start, end: pixels.end, row, width, start }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.end - self.first
    }

    /// The parts that are output pixels: row, first column, and range within the run.
    #[inline(always)]
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, usize, Range<usize>)> + use<> {
        let Run { row, width, mut start, .. } = *self;
        let (mut at, len) = (0, self.len());
        core::iter::from_fn(move || {
            let [mut y, mut x] = start;
            if x >= width {
                at += row - x;
                (y, x) = (y + 1, 0);
            }
            if at >= len {
                return None;
            }
            let count = (width - x).min(len - at);
            let part = at..at + count;
            at += count;
            start = [y, x + count];
            Some((y, x, part))
        })
    }

    /// Whether the run is a run of this map, its padding columns between rows included.
    #[inline(always)]
    pub(super) fn same_rows(&self, map: &Map) -> bool {
        !map.is_split() && map.row == self.row
    }

    /// Writes the whole run to a map with the input's rows, and puts its padding columns back.
    ///
    /// # Safety
    /// `arena` is laid out for the map, and nobody else accesses the run but to write padding and to read what is not used.
    #[inline(always)]
    unsafe fn store_linear<T: Copy>(&self, map: &Map, channel: usize, arena: *mut u8, values: &[T], padding: T) {
        // SAFETY: by the contract.
        unsafe {
            self.linear::<T>(map, channel, arena).copy_from_nonoverlapping(values.as_ptr(), values.len());
            self.restore_padding(map, channel, arena, padding);
        }
    }

    /// Where the run lies in a map with the input's rows.
    ///
    /// # Safety
    /// `arena` is laid out for the map.
    #[inline(always)]
    pub(super) unsafe fn linear<T>(&self, map: &Map, channel: usize, arena: *mut u8) -> *mut T {
        // SAFETY: the run starts and ends at pixels of the channel.
        unsafe { map.ptr::<T>(arena).add(channel * map.plane + self.first) }
    }

    /// Puts back the padding columns of a run that was written to a map with the input's rows.
    ///
    /// # Safety
    /// As for [`Run::store_linear`].
    #[inline(always)]
    pub(super) unsafe fn restore_padding<T: Copy>(&self, map: &Map, channel: usize, arena: *mut u8, padding: T) {
        let gap = self.row - self.width;
        // Rows of a map without padding may be longer than its pixels; nobody reads what follows them.
        if gap == 0 || map.pad[1].max(map.pad[3]) == 0 {
            return;
        }
        // SAFETY: the run lies in the map.
        let to = unsafe { core::slice::from_raw_parts_mut(self.linear::<T>(map, channel, arena), self.len()) };
        // Behind the pixels of every row, and before those of the first when the run starts in its padding.
        let mut at = self.width as isize - self.start[1] as isize;
        while at < to.len() as isize {
            for position in at.max(0) as usize..to.len().min((at + gap as isize) as usize) {
                to[position] = padding;
            }
            at += self.row as isize;
        }
    }

    /// Writes a run of bytes. `halves` is scratch of twice their length, needed where the map has two column phases.
    ///
    /// # Safety
    /// `arena` is laid out for the map, which has the output's extents, and nobody else accesses the run but to write
    /// padding.
    #[inline(always)]
    pub(super) unsafe fn store_bytes(
        &self,
        map: &Map,
        channel: usize,
        arena: *mut u8,
        bytes: &[u8],
        halves: &mut [u8],
    ) {
        // SAFETY: forwarded; every part lies within one row of the output.
        unsafe {
            if self.same_rows(map) {
                return self.store_linear(map, channel, arena, bytes, map.pad_value);
            }
            if map.split[1] == 2 {
                return self.store_halves(map, channel, arena, bytes, halves);
            }
            let base = map.ptr::<u8>(arena);
            for (y, x, part) in self.rows() {
                if map.split[1] == 1 {
                    copy_short(base.add(map.index(channel, y, x)), &bytes[part]);
                } else {
                    write_row(map, channel, y, x, &bytes[part], arena, |v| v);
                }
            }
        }
    }

    /// Writes a run of bytes to a map with two column phases: bytes are parted by the parity of their position once,
    /// and every row copies a piece of either half.
    ///
    /// # Safety
    /// As for [`Run::store_bytes`].
    #[inline(always)]
    unsafe fn store_halves(&self, map: &Map, channel: usize, arena: *mut u8, bytes: &[u8], halves: &mut [u8]) {
        let (even, odd) = halves.split_at_mut(bytes.len().div_ceil(2));
        let pairs = bytes.chunks_exact(2);
        if let ([last], Some(to)) = (pairs.remainder(), even.last_mut()) {
            *to = *last;
        }
        for ((pair, even), odd) in pairs.zip(even.iter_mut()).zip(odd.iter_mut()) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        // SAFETY: by the contract; pieces lie within one row of a phase.
        unsafe {
            let base = map.ptr::<u8>(arena);
            for (y, x, part) in self.rows() {
                for first in part.start..part.end.min(part.start + 2) {
                    let count = (part.end - first).div_ceil(2);
                    let half: &[u8] = if first % 2 == 0 { even } else { odd };
                    let to = base.add(map.index(channel, y, x + first - part.start));
                    copy_short(to, &half[first / 2..first / 2 + count]);
                }
            }
        }
    }

    /// Writes a run of numbers.
    ///
    /// # Safety
    /// As for [`Run::store_bytes`].
    #[inline(always)]
    pub(super) unsafe fn store_floats(&self, map: &Map, channel: usize, arena: *mut u8, values: &[f32]) {
        // SAFETY: forwarded; every part lies within one row of the output.
        unsafe {
            if self.same_rows(map) {
                return self.store_linear(map, channel, arena, values, 0.0);
            }
            for (y, x, part) in self.rows() {
                write_row(map, channel, y, x, &values[part], arena, |v| v);
            }
        }
    }

    /// Adds the map's elements to those of the run.
    ///
    /// # Safety
    /// `arena` is laid out for the map, which has the output's extents, and nobody writes the pixels of the run. Others may
    /// write padding between its rows.
    #[inline(always)]
    pub(super) unsafe fn add(&self, map: &Map, channel: usize, arena: *mut u8, values: &mut [f32]) {
        // SAFETY: the residual has the output's extents, and as the rows of the run if it has its pitch; what is added in
        // padding columns is not kept.
        unsafe {
            let map_at = map.ptr::<f32>(arena).cast_const();
            let add = |values: &mut [f32], from: *const f32| {
                values.iter_mut().enumerate().for_each(|(i, v)| *v += from.add(i).read());
            };
            if self.same_rows(map) {
                return add(values, map_at.add(channel * map.plane + self.first));
            }
            for (y, x, part) in self.rows() {
                add(&mut values[part], map_at.add(map.index(channel, y, x)));
            }
        }
    }
}

/// Copies bytes of a row, in blocks of 16 of which the last may overlap the one before.
///
/// # Safety
/// `to` has room for them.
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: &[u8]) {
    const BLOCK: usize = 16;
    if from.len() < BLOCK {
        for (i, &byte) in from.iter().enumerate() {
            // SAFETY: by the contract.
            unsafe { to.add(i).write(byte) };
        }
        return;
    }
    let last = from.len() - BLOCK;
    for at in (0..last).step_by(BLOCK).chain(core::iter::once(last)) {
        // SAFETY: blocks end at the last byte at most.
        unsafe { to.add(at).cast::<[u8; BLOCK]>().write(from.as_ptr().add(at).cast::<[u8; BLOCK]>().read()) };
    }
}

impl StoreTo {
    /// Writes consecutive pixels of one row.
    ///
    /// # Safety
    /// The pixels lie within the map, `arena` is laid out for it, and nobody else accesses them.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, channel: usize, y: usize, x: usize, values: &[f32], arena: *mut u8) {
        let (map, quantizer) = (&self.map, self.quantizer);
        // SAFETY: forwarded.
        unsafe {
            match map.dtype {
                DType::F32 => write_row(map, channel, y, x, values, arena, |v| v),
                DType::U8 => write_row(map, channel, y, x, values, arena, |v| quantizer.quantize(v)),
            }
        }
    }
}

/// Writes consecutive pixels of one row of a map of `T`.
///
/// # Safety
/// As for [`StoreTo::write`].
#[inline(always)]
pub(crate) unsafe fn write_row<S: Copy, T>(
    map: &Map,
    channel: usize,
    y: usize,
    x: usize,
    values: &[S],
    arena: *mut u8,
    convert: impl Fn(S) -> T,
) {
    let columns = map.split[1];
    // SAFETY: by the caller's contract every index written is a pixel of the map.
    unsafe {
        let base = map.ptr::<T>(arena);
        if columns == 1 {
            let to = core::slice::from_raw_parts_mut(base.add(map.index(channel, y, x)), values.len());
            to.iter_mut().zip(values).for_each(|(to, &v)| *to = convert(v));
        } else if columns == 2 {
            for first in 0..2.min(values.len()) {
                let values = &values[first..];
                let to = base.add(map.index(channel, y, x + first));
                let to = core::slice::from_raw_parts_mut(to, values.len().div_ceil(2));
                let pairs = values.chunks_exact(2);
                if let (Some(to), [last]) = (to.last_mut(), pairs.remainder()) {
                    *to = convert(*last);
                }
                to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = convert(pair[0]));
            }
        } else {
            for (i, &v) in values.iter().enumerate() {
                base.add(map.index(channel, y, x + i)).write(convert(v));
            }
        }
    }
}
