//! The nonzeros of a convolution, as the kernels read them.

use alloc::borrow::Cow;

/// An accumulation kernel unrolled at compile time for one group of one layer.
///
/// `(x, accumulators, weights, tiles)`: computes `tiles` register tiles from the input pixel at `x` on, leaving the
/// accumulators of output `j` of the group at `accumulators + j * stride * 4`, where the stride is baked in.
#[cfg(target_arch = "x86_64")]
pub type Unrolled = unsafe extern "sysv64" fn(*const u8, *mut u8, *const u8, usize);
/// Other machines have none.
#[cfg(not(target_arch = "x86_64"))]
pub type Unrolled = unsafe extern "C" fn(*const u8, *mut u8, *const u8, usize);

/// Nonzeros of a layer.
///
/// A group's entries follow each other in `offsets` and `weights` in the order of its segments. An entry is one row
/// (`F32`), a pair of rows or a quad of rows (`U8S8`): one offset per row, and per output in the mask, lowest output
/// first, one `f32` weight, or the two or four `i8` weights. Pairs of one mask come in even numbers, and the weights of the
/// first stand beside those of the second in a word for every output; but for straight-line code pairs stand alone.
///
/// Panels have orders of their own, which [`f32_panels`](super::f32_panels) and [`u8s8_panels`](super::u8s8_panels) tell: their
/// entries are not those of one group after the other.
#[derive(Clone, Debug)]
pub struct Table {
    /// Outputs of a group, a divisor of [`MAX_GROUP`](super::MAX_GROUP); the last group may have fewer.
    pub group: usize,
    /// Groups of outputs.
    pub groups: Cow<'static, [Group]>,
    /// Runs of entries that share a mask.
    pub segments: Cow<'static, [Segment]>,
    /// Signed byte offsets of input rows, little-endian `i32`; for panels of rows their byte offsets in a panel, two in
    /// every word; for panels of quads the first weight word of every output, or pair of outputs, of a panel, in the order of the
    /// segments.
    pub offsets: Cow<'static, [i32]>,
    /// Weights in the machine's byte order: one word an entry and output for rows and quads, one for two pairs, or for one in
    /// halves for straight-line code, whose groups start at a whole word; for panels of quads their records.
    pub weights: Cow<'static, [u32]>,
}

/// Up to [`MAX_GROUP`](super::MAX_GROUP) outputs that share the loads of their input rows.
#[derive(Clone, Debug)]
pub struct Group {
    /// Output channels, in accumulator order.
    pub outputs: Cow<'static, [u16]>,
    /// First segment and number of segments.
    pub segments: (u32, u32),
    /// First offset.
    pub offset: u32,
    /// First weight word.
    pub weight: u32,
    /// The same sums as straight-line code, when the planner chose to unroll this layer.
    pub unrolled: Option<Unrolled>,
}

/// Kinds of steps that two outputs take through the rows, or quads, of a panel, in the order of their segments: which of
/// the two every row of a step is for, a bit each. Rows for one output are bound by loads, and rows for both by products:
/// they go together, and those for one output in fours, so that one load serves for their weights and one for their
/// offsets.
pub const STEPS_OF_TWO: [&[u8]; 6] = [&[1, 2, 1, 2, 3], &[1, 2, 1, 2], &[1], &[2], &[3, 3], &[3]];

/// A run of entries with the same mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Bit `j` is set when output `j` of the group uses the rows; for panels of quads the place of an output in its unit.
    pub mask: u8,
    /// Entries of a block: after every block sums of pairs leave 16 bits. 1 for rows and quads.
    pub block: u8,
    /// Blocks; for panels of rows steps.
    pub count: u16,
}

impl Segment {
    /// Entries of the segment.
    pub const fn entries(&self) -> usize {
        self.block as usize * self.count as usize
    }

    /// Weights of the segment: one per entry and output.
    pub const fn slots(&self) -> usize {
        self.entries() * self.mask.count_ones() as usize
    }
}

impl Group {
    /// A group from its parts.
    pub const fn new(
        outputs: &'static [u16],
        segments: (u32, u32),
        offset: u32,
        weight: u32,
        unrolled: Option<Unrolled>,
    ) -> Group {
        Group { outputs: Cow::Borrowed(outputs), segments, offset, weight, unrolled }
    }
}

impl Table {
    /// Weights of two bytes.
    pub fn halves(&self) -> &[[i8; 2]] {
        // SAFETY: a word is two pairs of bytes, which have no invalid bit patterns and no alignment.
        unsafe { core::slice::from_raw_parts(self.weights.as_ptr().cast(), self.weights.len() * 2) }
    }

    /// One of the offsets that take half a word.
    pub fn short_offset(&self, at: usize) -> u16 {
        (self.offsets[at / 2] as u32 >> (at % 2 * 16)) as u16
    }

    /// Segments of a group; for panels those of its first block.
    pub fn segments(&self, group: &Group) -> &[Segment] {
        &self.segments[group.segments.0 as usize..][..group.segments.1 as usize]
    }
}

/// Bytes with the alignment of a cache line, for tables included from files.
#[repr(C, align(64))]
pub struct Aligned<T: ?Sized>(pub T);

impl<const N: usize> Aligned<[u8; N]> {
    const fn start(&'static self, at: usize, count: usize) -> *const u8 {
        assert!(at.is_multiple_of(4) && at + count * 4 <= N, "the table lies inside its file");
        // SAFETY: `at` lies inside the array.
        unsafe { self.0.as_ptr().add(at) }
    }

    /// `count` words of the target's byte order from byte `at` on.
    pub const fn words(&'static self, at: usize, count: usize) -> &'static [u32] {
        // SAFETY: in bounds and aligned by `start`; every bit pattern is a `u32`.
        unsafe { core::slice::from_raw_parts(self.start(at, count).cast(), count) }
    }

    /// `count` signed words of the target's byte order from byte `at` on.
    pub const fn offsets(&'static self, at: usize, count: usize) -> &'static [i32] {
        // SAFETY: as in `words`.
        unsafe { core::slice::from_raw_parts(self.start(at, count).cast(), count) }
    }

    /// `count` segments from byte `at` on.
    pub const fn segments(&'static self, at: usize, count: usize) -> &'static [Segment] {
        // SAFETY: as in `words`; `Segment` is `repr(C)` of size 4 without invalid bit patterns.
        unsafe { core::slice::from_raw_parts(self.start(at, count).cast(), count) }
    }
}

/// Declares unrolled kernels, on targets that assemble them.
#[macro_export]
macro_rules! declare_unrolled {
    ($($name:ident)*) => {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        unsafe extern "sysv64" {
            $(fn $name(x: *const u8, accumulators: *mut u8, weights: *const u8, tiles: usize);)*
        }
    };
}

/// The kernel with this name on targets that assemble it, and nothing elsewhere.
#[macro_export]
macro_rules! unrolled {
    ($name:ident) => {{
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            Some($name as $crate::kernels::conv::Unrolled)
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        {
            None
        }
    }};
}
