//! Feature maps in the arena: planes with shared padding, optionally split by stride phase.

use crate::engine::DType;

/// A feature map `[channels, height, width]`, or a run of channels of one.
///
/// A plane holds one channel (or one stride phase of it) as rows of `row` elements. The padding columns to the
/// right of a row are also those to the left of the next, so a window that leaves a row reads padding, and any
/// run of consecutive elements of a plane is a run of output pixels.
///
/// With `split = [sh, sw]`, channel `c` owns `sh * sw` consecutive planes and pixel `(y, x)` lies in plane
/// `c * sh * sw + (y % sh) * sw + x % sw` at `(y / sh, x / sw)`: a convolution of stride `[sh, sw]` reads every
/// phase at stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Element type.
    pub dtype: DType,
    /// Bytes from the start of the arena to pixel (0, 0) of plane 0.
    pub offset: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels per column of the map.
    pub height: usize,
    /// Pixels per row of the map.
    pub width: usize,
    /// Vertical and horizontal stride phases.
    pub split: [usize; 2],
    /// Elements between rows of a plane.
    pub row: usize,
    /// Elements between planes.
    pub plane: usize,
    /// Padding around every plane, in its own rows and columns: top, left, bottom, right.
    pub pad: [usize; 4],
    /// What padding holds: the zero point of a `u8` map, 0 for `f32`.
    pub pad_value: u8,
}

impl Map {
    /// Rows of a plane.
    pub const fn plane_height(&self) -> usize {
        self.height.div_ceil(self.split[0])
    }

    /// Pixels per row of a plane.
    pub const fn plane_width(&self) -> usize {
        self.width.div_ceil(self.split[1])
    }

    /// Elements of one plane with its padding, before rounding up to [`Map::plane`].
    pub const fn plane_len(&self) -> usize {
        let [top, left, bottom, right] = self.pad;
        (top + self.plane_height() + bottom) * self.row + left + right
    }

    /// Elements before pixel (0, 0) of a plane that belong to it.
    pub const fn lead(&self) -> usize {
        self.pad[0] * self.row + self.pad[1]
    }

    /// Whether rows or columns are split by phase.
    pub const fn is_split(&self) -> bool {
        self.split[0] * self.split[1] > 1
    }

    /// The map made of `channels` channels from `first` on.
    #[must_use]
    pub const fn slice(mut self, first: usize, channels: usize) -> Map {
        self.offset += first * self.split[0] * self.split[1] * self.plane * self.dtype.size();
        self.channels = channels;
        self
    }

    /// Elements from pixel (0, 0) of plane 0 to pixel `(y, x)` of channel `c`.
    #[inline(always)]
    pub const fn index(&self, c: usize, y: usize, x: usize) -> usize {
        // The common splits are spelled out: division by a constant is a shift.
        let (plane, y, x) = match self.split {
            [1, 1] => (c, y, x),
            [2, 2] => ((c * 2 + y % 2) * 2 + x % 2, y / 2, x / 2),
            [sh, sw] => ((c * sh + y % sh) * sw + x % sw, y / sh, x / sw),
        };
        plane * self.plane + y * self.row + x
    }

    /// Pointer to pixel (0, 0) of plane 0.
    ///
    /// # Safety
    /// `arena` must be the start of an arena laid out for this map.
    pub unsafe fn ptr<T>(&self, arena: *mut u8) -> *mut T {
        // SAFETY: the offset lies inside the arena by the caller's contract.
        unsafe { arena.add(self.offset).cast() }
    }

    /// Writes `pad_value` to every padding position, and to positions of a phase that no pixel falls on.
    ///
    /// # Safety
    /// `arena` must be the start of an arena laid out for this map, and nobody else may access the padding meanwhile.
    pub unsafe fn fill_padding(&self, arena: *mut u8) {
        match self.dtype {
            // SAFETY: forwarded.
            DType::U8 => unsafe { self.fill_padding_with::<u8>(arena, self.pad_value) },
            // SAFETY: forwarded.
            DType::F32 => unsafe { self.fill_padding_with::<f32>(arena, 0.0) },
        }
    }

    unsafe fn fill_padding_with<T: Copy>(&self, arena: *mut u8, value: T) {
        let [top, left, bottom, right] = self.pad;
        let (height, width) = (self.plane_height(), self.plane_width());
        let [sh, sw] = self.split;
        if self.pad == [0; 4] && self.height.is_multiple_of(sh) && self.width.is_multiple_of(sw) {
            return;
        }
        const LONG: isize = 8;
        // SAFETY: every row and column below lies within the plane's own extent, which the caller's contract gives us.
        unsafe {
            let fill = |row: *mut T, from: isize, to: isize| {
                if to - from >= LONG {
                    core::slice::from_raw_parts_mut(row.offset(from), (to - from) as usize).fill(value);
                    return;
                }
                for i in from..to {
                    // Volatile, or the loop becomes a call to fill memory, for the one or two elements of most rows.
                    row.offset(i).write_volatile(value);
                }
            };
            let base: *mut T = self.ptr(arena);
            for c in 0..self.channels {
                for phase in 0..sh * sw {
                    let rows = (self.height + sh - 1 - phase / sw) / sh;
                    let columns = (self.width + sw - 1 - phase % sw) / sw;
                    let plane = base.add((c * sh * sw + phase) * self.plane);
                    for y in -(top as isize)..(height + bottom) as isize {
                        let row = plane.offset(y * self.row as isize);
                        if y < 0 || y >= rows as isize {
                            fill(row, -(left as isize), (width + right) as isize);
                        } else {
                            fill(row, -(left as isize), 0);
                            fill(row, columns as isize, (width + right) as isize);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_surrounds_every_phase_and_touches_no_pixel() {
        let map = Map {
            dtype: DType::U8,
            offset: 64,
            channels: 2,
            height: 5,
            width: 7,
            split: [2, 2],
            row: 6,
            plane: 64,
            pad: [1, 1, 1, 2],
            pad_value: 9,
        };
        assert!(map.plane_len() <= map.plane);
        let mut arena = vec![0u8; 64 + 8 * 64 + 64];
        for c in 0..2 {
            for y in 0..5 {
                for x in 0..7 {
                    arena[64 + map.index(c, y, x)] = 1;
                }
            }
        }
        // SAFETY: the arena holds the lead, all planes and the tail of the map.
        unsafe { map.fill_padding(arena.as_mut_ptr()) };
        for c in 0..2 {
            for phase in 0..4 {
                for y in -1..4isize {
                    for x in -1..6isize {
                        let at = 64 + (c * 4 + phase) * 64 + (y * 6 + x + 128) as usize - 128;
                        let (py, px) = (2 * y + (phase / 2) as isize, 2 * x + (phase % 2) as isize);
                        let real = (0..5).contains(&py) && (0..7).contains(&px) && x < 4;
                        assert_eq!(arena[at], if real { 1 } else { 9 }, "c{c} phase{phase} y{y} x{x}");
                    }
                }
            }
        }
    }
}
