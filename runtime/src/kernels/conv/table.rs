//! The nonzeros of a convolution, as the kernels read them.

use std::borrow::Cow;

/// An accumulation kernel unrolled at compile time for one group of one layer.
///
/// `(x, accumulators, weights, tiles)`: computes `tiles` register tiles from the input pixel at `x` on, leaving the
/// accumulators of output `j` of the group at `accumulators + j * stride * 4`, where the stride is baked in.
pub type Unrolled = unsafe extern "sysv64" fn(*const u8, *mut u8, *const u8, usize);

/// Nonzeros of a layer.
///
/// A group's entries follow each other in `offsets` and `weights` in the order of its segments. For `F32` an entry is
/// one row: one offset, and one `f32` weight per output in the mask, lowest output first. For `U8S8` an entry is a
/// pair of rows: two offsets, and per output in the mask one word that holds the two `i8` weights twice, `(w1 << 8 |
/// w0) * 0x10001`.
#[derive(Clone, Debug)]
pub struct Table {
    /// Groups of outputs.
    pub groups: Cow<'static, [Group]>,
    /// Runs of entries that share a mask.
    pub segments: Cow<'static, [Segment]>,
    /// Signed byte offsets of input rows, little-endian `i32`.
    pub offsets: Cow<'static, [i32]>,
    /// Weight words in the machine's byte order.
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

/// A run of entries with the same mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Bit `j` is set when output `j` of the group uses the rows.
    pub mask: u8,
    /// Nonzero when the 16-bit sums of every output must be added to the 32-bit sums after this segment (`U8S8`).
    pub spill: u8,
    /// Entries.
    pub count: u16,
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
    /// Segments of a group.
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
        unsafe { std::slice::from_raw_parts(self.start(at, count).cast(), count) }
    }

    /// `count` signed words of the target's byte order from byte `at` on.
    pub const fn offsets(&'static self, at: usize, count: usize) -> &'static [i32] {
        // SAFETY: as in `words`.
        unsafe { std::slice::from_raw_parts(self.start(at, count).cast(), count) }
    }

    /// `count` segments from byte `at` on.
    pub const fn segments(&'static self, at: usize, count: usize) -> &'static [Segment] {
        // SAFETY: as in `words`; `Segment` is `repr(C)` of size 4 without invalid bit patterns.
        unsafe { std::slice::from_raw_parts(self.start(at, count).cast(), count) }
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
