//! Convolution: sparse accumulation into a scratch tile, then the epilogue.
//!
//! A convolution is a list of *input rows*: row `k` is one (channel, tap) of the input, at a fixed byte offset from
//! the pixel being computed. Every output is a sum of weights times rows. Outputs are taken in *groups* whose
//! accumulators fit in registers, and the rows of a group are bucketed by *mask*: which of the group's outputs use
//! them. A dense layer has one bucket, a depthwise one only masks of a single bit.

pub(crate) mod epilogue;
pub mod f32_spconv;
pub mod table;
pub mod u8s8_spconv;

pub use epilogue::{Epilogue, Residual, ResidualAt, StoreTo};
pub use table::{Aligned, Group, Segment, Table, Unrolled};

use super::map::Map;
use crate::simd::Isa;
use std::ops::Range;

/// Largest number of outputs in a group.
pub const MAX_GROUP: usize = 8;

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
    /// `U8S8`: the same, packed for dot products of four bytes.
    pub quads: Option<Table>,
    /// Register tiles per unit of work; the accumulators of a unit stay in cache until the epilogue reads them.
    pub chunk_tiles: usize,
    /// What happens to every accumulated element.
    pub epilogue: Epilogue,
}

impl Conv {
    /// Elements between the accumulators of consecutive outputs of a group.
    pub const fn accumulator_stride(&self) -> usize {
        self.chunk_tiles * self.arithmetic.tile()
    }

    /// Bytes of scratch one thread needs: accumulators of a group, and one row of quantised values.
    pub const fn scratch_bytes(&self) -> usize {
        self.accumulator_stride() * (MAX_GROUP * 4 + 1)
    }

    /// First input pixel and number of tiles of the run that covers the output rows.
    fn run(&self, rows: &Range<usize>) -> (usize, usize, usize) {
        let begin = rows.start * self.input.row;
        let end = (rows.end - 1) * self.input.row + self.out_width;
        (begin, end, (end - begin).div_ceil(self.arithmetic.tile()))
    }

    /// The table that the kernels of an instruction set read.
    pub fn table(&self, isa: Isa) -> &Table {
        match &self.quads {
            Some(quads) if isa >= Isa::Avx512 => quads,
            _ => &self.table,
        }
    }

    /// Units of work in the output rows `rows`.
    pub fn units(&self, isa: Isa, rows: &Range<usize>) -> usize {
        let (_, _, tiles) = self.run(rows);
        tiles.div_ceil(self.chunk_tiles) * self.table(isa).groups.len()
    }

    /// Computes one unit.
    ///
    /// # Safety
    /// `arena` must be laid out for this layer with its input complete for the rows that `rows` read, `scratch` must
    /// be 64-byte aligned and have [`Conv::scratch_bytes`] bytes, no two threads may compute the same unit at
    /// once, and the machine must have `isa`.
    pub unsafe fn run_unit(&self, isa: Isa, arena: *mut u8, scratch: *mut u8, rows: &Range<usize>, unit: usize) {
        let (begin, end, tiles) = self.run(rows);
        // All groups of a chunk follow each other: its input rows stay in cache.
        let table = self.table(isa);
        let (chunk, group) = (unit / table.groups.len(), &table.groups[unit % table.groups.len()]);
        let tile = self.arithmetic.tile();
        let first = begin + chunk * self.chunk_tiles * tile;
        let count = self.chunk_tiles.min(tiles - chunk * self.chunk_tiles);
        let stride = self.accumulator_stride();
        // SAFETY: the tile starts at a pixel of the map; tiles may read past the last pixel by less than a tile,
        // which the arena's tail allows, and lanes read there are never stored.
        unsafe {
            let x = arena.add(self.input.offset + first * self.input.dtype.size());
            match self.arithmetic {
                Arithmetic::F32 => f32_spconv::run(isa, table, group, x, scratch.cast(), stride, count),
                Arithmetic::U8S8 => u8s8_spconv::run(isa, table, group, x, scratch.cast(), stride, count),
            }
            let last = end.min(first + count * tile);
            self.epilogue.run(isa, self, group, scratch, arena, first..last);
        }
    }
}
