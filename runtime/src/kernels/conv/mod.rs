//! Convolution: sparse accumulation into a scratch tile, then the epilogue.
//!
//! A convolution is a list of *input rows*: row `k` is one (channel, tap) of the input, at a fixed byte offset from
//! the pixel being computed. Every output is a sum of weights times rows. Outputs are taken in *groups* whose
//! accumulators fit in registers, and the rows of a group are bucketed by *mask*: which of the group's outputs use
//! them. A dense layer has one bucket, a depthwise one only masks of a single bit.

pub(crate) mod epilogue;
pub mod f32_panels;
pub mod f32_spconv;
#[cfg(target_arch = "x86_64")]
mod f32_tile;
pub mod f32_winograd;
pub mod family;
pub mod table;
pub mod u8s8_panels;
pub mod u8s8_spconv;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use epilogue::{Epilogue, Residual, ResidualAt, StoreTo};
pub use f32_panels::{PanelTile, Panels};
pub use f32_winograd::Winograd;
pub use table::{Aligned, Group, Segment, Table, Unrolled};

use super::map::Map;
use crate::simd::{Isa, per_isa, prefetch};
use alloc::borrow::Cow;
use core::ops::Range;

/// Largest number of outputs in a group.
pub const MAX_GROUP: usize = 4;

/// Arithmetic of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `f32` input and weights, fused multiply-add.
    F32,
    /// `u8` input, `s8` weights, exact `i32` sums.
    U8S8,
}

impl Arithmetic {
    /// Pixels of one register tile; see the kernel families for why.
    pub const fn tile(self) -> usize {
        match self {
            Arithmetic::F32 => f32_spconv::TILE,
            Arithmetic::U8S8 => u8s8_spconv::TILE,
        }
    }
}

/// How a convolution is cut for the caches.
///
/// A unit of work is a chunk of register tiles for a block of outputs. In it all groups compute one pass of tiles after
/// the other, so the input of a pass is read from the first-level cache by all groups but the first; the accumulators
/// wait for the epilogue of the unit, in the second-level cache but for long units of panels. A pass may be the whole
/// chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// Tiles of a unit, a multiple of 4, or of 2 where panels are computed.
    pub chunk_tiles: usize,
    /// Tiles of a pass, a multiple of what a kernel computes at once: 4 (`F32`) or 2 (`U8S8`).
    pub pass_tiles: usize,
    /// Outputs of a unit, a multiple of [`MAX_GROUP`].
    pub outputs: usize,
    /// Whether a pass asks for the input of the next one, of which it reads a piece of every channel.
    pub prefetch: bool,
}

impl Blocking {
    /// Whether every count is positive, none so large that a product of them could overflow, and kernels that compute
    /// several tiles at once stay within a chunk.
    pub fn is_sane(&self) -> bool {
        let small = [self.chunk_tiles, self.pass_tiles, self.outputs].iter().all(|n| (1..=1 << 20).contains(n));
        small
            && self.chunk_tiles.is_multiple_of(2)
            && self.pass_tiles.is_multiple_of(2)
            && self.outputs.is_multiple_of(MAX_GROUP)
    }
}

/// A convolution layer.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Arithmetic, and with it the meaning of the table.
    pub arithmetic: Arithmetic,
    /// The input, split by the stride.
    pub input: Map,
    /// Rows of the output.
    pub out_height: usize,
    /// Pixels per row of the output; at most `input.row`.
    pub out_width: usize,
    /// Nonzeros, grouped and bucketed.
    pub table: Table,
    /// `U8S8`: the same, packed for dot products in 512 bits.
    pub quads: Option<Table>,
    /// `U8S8`: the same as straight-line code for AVX2, if the planner chose so. Only its groups and weights are read.
    pub unrolled: Option<Table>,
    /// Byte offsets of the input rows that a pass copies side by side, aligned, before it is computed: the offsets of
    /// the tables then count from the copy, where row `k` starts at `k` times the bytes of a pass, or from the panel of their
    /// block. Empty when the tables read the map.
    pub packed: Cow<'static, [i32]>,
    /// How the packed rows are taken in blocks, when they are.
    pub panels: Option<Panels>,
    /// `F32`: how the convolution is computed by points, when it is.
    pub winograd: Option<Winograd>,
    /// How the work is cut.
    pub blocking: Blocking,
    /// What happens to every accumulated element.
    pub epilogue: Epilogue,
}

impl Conv {
    /// Elements between the accumulators of consecutive outputs of a group: whole blocks of the epilogue, and no power of
    /// two, which would keep those of all outputs in the same few cache sets.
    pub const fn accumulator_stride(&self) -> usize {
        let elements = (self.blocking.chunk_tiles * self.arithmetic.tile()).next_multiple_of(epilogue::BLOCK);
        if elements.is_power_of_two() { elements + epilogue::BLOCK } else { elements }
    }

    /// Bytes of scratch one thread needs: accumulators of a block of groups, a row for the epilogue, packed input.
    pub fn scratch_bytes(&self) -> usize {
        if let Some(winograd) = &self.winograd {
            return winograd.scratch_bytes(self);
        }
        let packed = match &self.panels {
            Some(panels) => panels.scratch_bytes(),
            None => self.packed.len() * self.pass_bytes(),
        };
        self.packed_at() + packed
    }

    /// Bytes of one row of a pass.
    pub const fn pass_bytes(&self) -> usize {
        self.blocking.pass_tiles * self.arithmetic.tile() * self.input.dtype.size()
    }

    /// Where packed rows start in the scratch: at a cache line.
    const fn packed_at(&self) -> usize {
        (self.accumulator_stride() * (self.blocking.outputs * 4 + 4)).next_multiple_of(64)
    }

    /// First input pixel and number of tiles of the run that covers the output rows.
    fn run(&self, rows: &Range<usize>) -> (usize, usize, usize) {
        let begin = rows.start * self.input.row;
        let end = (rows.end - 1) * self.input.row + self.out_width;
        (begin, end, (end - begin).div_ceil(self.arithmetic.tile()))
    }

    /// The table that the kernels of an instruction set read.
    pub fn table(&self, isa: Isa) -> &Table {
        let coded = |table: &&Table| table.groups.iter().all(|g| g.unrolled.is_some());
        let special = match isa {
            Isa::Avx2 => self.unrolled.as_ref().filter(coded),
            Isa::Portable | Isa::AvxVnni => None,
            Isa::Avx512 => self.quads.as_ref(),
        };
        special.unwrap_or(&self.table)
    }

    /// The table that straight-line code of this layer is made from; integers that have such code have a table for it.
    pub fn source_of_code(&self) -> Option<&Table> {
        match self.arithmetic {
            Arithmetic::F32 => Some(&self.table),
            Arithmetic::U8S8 => self.unrolled.as_ref(),
        }
    }

    /// Units of work in the output rows `rows`.
    pub fn units(&self, isa: Isa, rows: &Range<usize>) -> usize {
        if let Some(winograd) = &self.winograd {
            return winograd.units(self, rows);
        }
        let (_, _, tiles) = self.run(rows);
        tiles.div_ceil(self.blocking.chunk_tiles) * self.blocks(isa)
    }

    /// The first and the last pixel, as row and column, of what a unit of the output rows `rows` computes.
    pub fn pixels_of_unit(&self, isa: Isa, rows: &Range<usize>, unit: usize) -> [[usize; 2]; 2] {
        let chunk = unit / self.blocks(isa);
        let right = self.out_width - 1;
        if let Some(winograd) = &self.winograd {
            let first = rows.start + chunk * winograd.rows();
            return [[first, 0], [rows.end.min(first + winograd.rows()) - 1, right]];
        }
        let (begin, end, _) = self.run(rows);
        let pixels = self.blocking.chunk_tiles * self.arithmetic.tile();
        let first = begin + chunk * pixels;
        // Columns of padding belong to the run.
        let pixel = |at: usize| [at / self.input.row, (at % self.input.row).min(right)];
        [pixel(first), pixel(end.min(first + pixels) - 1)]
    }

    /// The units of the output rows `rows` that compute any pixel from `first` to `last`, in the order of rows. Pixels may
    /// lie outside the output: columns outside a row stand for the padding between rows, which belongs to the unit whose
    /// run covers it.
    pub fn units_of_pixels(&self, isa: Isa, rows: &Range<usize>, first: [isize; 2], last: [isize; 2]) -> Range<usize> {
        let row = self.input.row;
        let run = (rows.len() - 1) * row + self.out_width;
        let pixels = match &self.winograd {
            Some(winograd) => winograd.rows() * row,
            None => self.blocking.chunk_tiles * self.arithmetic.tile(),
        };
        let chunk = |[y, x]: [isize; 2]| {
            let at = (y - rows.start as isize).saturating_mul(row as isize).saturating_add(x);
            at.clamp(0, run as isize - 1) as usize / pixels
        };
        let blocks = self.blocks(isa);
        chunk(first) * blocks..(chunk(last) + 1) * blocks
    }

    /// Blocks of outputs: consecutive units compute those of the same chunk.
    fn blocks(&self, isa: Isa) -> usize {
        match &self.winograd {
            Some(winograd) => winograd.blocks(self),
            None => {
                let table = self.table(isa);
                table.groups.len().div_ceil(self.blocking.outputs / table.group)
            }
        }
    }

    /// The chunk of a unit, and its groups.
    fn part<'a>(&self, table: &'a Table, unit: usize) -> (usize, &'a [Group]) {
        let groups = self.blocking.outputs / table.group;
        let blocks = table.groups.len().div_ceil(groups);
        let (chunk, block) = (unit / blocks, unit % blocks);
        (chunk, &table.groups[block * groups..table.groups.len().min((block + 1) * groups)])
    }

    /// Computes one unit.
    ///
    /// # Safety
    /// `arena` must be laid out for this layer, and what the windows of the unit's pixels cover of its input, and the pixels
    /// of its residual, must be complete; others may write elsewhere. `scratch` must be 64-byte aligned and have [`Conv::scratch_bytes`] bytes, no two threads may compute the same unit at
    /// once, and the machine must have `isa`.
    pub unsafe fn run_unit(&self, isa: Isa, arena: *mut u8, scratch: *mut u8, rows: &Range<usize>, unit: usize) {
        if let Some(winograd) = &self.winograd {
            // SAFETY: forwarded.
            return unsafe { winograd.run_unit(self, isa, arena, scratch, rows, unit) };
        }
        if let Some(panels) = &self.panels {
            // SAFETY: forwarded.
            return unsafe { panels.run_unit(self, isa, arena, scratch, rows, unit) };
        }
        let (begin, end, tiles) = self.run(rows);
        let Blocking { chunk_tiles, pass_tiles, outputs, .. } = self.blocking;
        let table = self.table(isa);
        let (chunk, groups) = self.part(table, unit);
        let tile = self.arithmetic.tile();
        let first = begin + chunk * chunk_tiles * tile;
        let count = chunk_tiles.min(tiles - chunk * chunk_tiles);
        let stride = self.accumulator_stride();
        let bytes_per_group = stride * table.group * 4;
        // SAFETY: the tile starts at a pixel of the map; tiles may read past the last pixel by less than a tile,
        // which the arena's tail allows, and padding between rows as pixels. Others may be writing there, and lanes read
        // there are never stored.
        unsafe {
            let x = arena.add(self.input.offset + first * self.input.dtype.size());
            for pass in (0..count).step_by(pass_tiles) {
                let mut x = x.add(pass * tile * self.input.dtype.size()).cast_const();
                if !self.packed.is_empty() {
                    let to = scratch.add(self.packed_at());
                    self.pack(isa, x, to);
                    x = to;
                } else if self.blocking.prefetch {
                    self.prefetch_pass(x.wrapping_add(self.pass_bytes()));
                }
                let tiles = pass_tiles.min(count - pass);
                for (g, group) in groups.iter().enumerate() {
                    let to = scratch.add(g * bytes_per_group + pass * tile * 4);
                    match self.arithmetic {
                        Arithmetic::F32 => f32_spconv::run(isa, table, group, x, to.cast(), stride, tiles),
                        Arithmetic::U8S8 => u8s8_spconv::run(isa, table, group, x, to.cast(), stride, tiles),
                    }
                }
            }
            let last = end.min(first + count * tile);
            let bytes = scratch.add(outputs * stride * 4);
            let sums = epilogue::Sums { groups, next: None, accumulators: scratch, pitch: bytes_per_group, bytes };
            self.epilogue.run(isa, self, &sums, arena, first..last);
        }
    }
}

per_isa! {
    impl Conv {
        /// Copies the rows of a pass that starts at `x` side by side.
        ///
        /// # Safety
        /// The offsets and the bytes of a pass from each must be readable, and `to` must have room for them.
        unsafe fn pack(&self, x: *const u8, to: *mut u8) => pack_with
    }
}

impl Conv {
    /// Asks for the pixels of a pass at `x` in every channel.
    fn prefetch_pass(&self, x: *const u8) {
        let plane = self.input.plane * self.input.dtype.size();
        for channel in 0..self.input.channels {
            for at in (0..self.pass_bytes()).step_by(64) {
                prefetch(x.wrapping_add(channel * plane + at));
            }
        }
    }

    #[inline(always)]
    unsafe fn pack_with(&self, x: *const u8, to: *mut u8) {
        const LINE: usize = 64;
        let bytes = self.pass_bytes();
        // SAFETY: forwarded; passes are whole lines.
        let copy = |row: *const u8, to: *mut u8| unsafe {
            if self.blocking.prefetch {
                prefetch(row.wrapping_add(bytes));
            }
            to.cast::<[u8; LINE]>().write(row.cast::<[u8; LINE]>().read());
        };
        // SAFETY: as above.
        unsafe {
            if bytes == LINE {
                for (k, &offset) in self.packed.iter().enumerate() {
                    copy(x.offset(offset as isize), to.add(k * LINE));
                }
                return;
            }
            let mut to = to;
            for &offset in self.packed.iter() {
                let row = x.offset(offset as isize);
                for at in (0..bytes).step_by(LINE) {
                    copy(row.add(at), to.add(at));
                }
                to = to.add(bytes);
            }
        }
    }
}
