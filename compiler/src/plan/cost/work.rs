//! What a layer does, counted.

use std::ops::Index;

macro_rules! works {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A kind of work that takes time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Work {
            $($(#[$doc])* $name,)*
        }

        impl Work {
            /// Every kind, in order.
            pub const ALL: &'static [Work] = &[$(Work::$name),*];
        }
    };
}

works! {
    /// Two rows interleaved for both outputs of a group, and their two products: 64 pixels of pairs.
    PairForBoth,
    /// Two rows interleaved for one output, and its product: 64 pixels of pairs.
    PairForOne,
    /// A group of outputs, begun and stored: 64 pixels of pairs.
    PairGroup,
    /// Two rows interleaved in straight-line code: 32 pixels.
    CodedPair,
    /// Two products of an output in straight-line code: 32 pixels.
    CodedProduct,
    /// A group of outputs, begun and stored: 32 pixels.
    CodedGroup,
    /// A quad of a run, multiplied for an output: 64 pixels.
    RunQuad,
    /// A quad of a list, multiplied for an output: 64 pixels.
    ListedQuad,
    /// The end of a block of quads: 64 pixels.
    QuadBlock,
    /// Another kind of block: 64 pixels.
    QuadKind,
    /// An output of a panel of quads: 64 pixels.
    QuadOutput,
    /// A quad of a panel, and its dot products for both outputs of a pair: 64 pixels.
    DotQuadForBoth,
    /// A quad of a panel, and its dot products for one output: 64 pixels.
    DotQuadForOne,
    /// A pair of outputs of a panel of quads: 64 pixels of dot products.
    DotPair,
    /// A quad packed: 64 pixels.
    QuadPacked,
    /// A cycle of entries of four rows and their dot products: 64 pixels.
    DotEntry,
    /// A loop over entries of a mask: 64 pixels of dot products.
    DotLoop,
    /// A group of outputs: 64 pixels of dot products.
    DotGroup,
    /// A row loaded for several outputs: 24 pixels of floats.
    FloatRow,
    /// A product of a row and a weight: 24 pixels of floats.
    FloatProduct,
    /// The same in straight-line code.
    FloatCodedProduct,
    /// A loop over rows of a mask: 24 pixels of floats.
    FloatLoop,
    /// A group of outputs: 24 pixels of floats.
    FloatGroup,
    /// A row of a panel for both outputs of a group: 48 pixels.
    PanelForBoth,
    /// A row of a panel for one output: 48 pixels.
    PanelForOne,
    /// A group of outputs of a sparse panel: 48 pixels.
    PanelGroup,
    /// A row of a panel for an output of a dense group: 24 pixels.
    DenseProduct,
    /// A group of outputs of a dense panel: 24 pixels.
    DenseGroup,
    /// A row packed: 48 pixels of floats.
    FloatPacked,
    /// Eight tiles, a channel and an output at a point.
    PointProduct,
    /// A pixel of a channel taken to points.
    PointData,
    /// A pixel of an output taken back.
    PointResult,
    /// A weight of a point read for a unit.
    PointWeight,
    /// A cache line copied side by side.
    LinePacked,
    /// A run of an output of a unit, finished.
    Run,
    /// An element of a cheap activation.
    Cheap,
    /// An element of an activation with an exponential.
    Exponential,
    /// An element of SiLU, quantised at once.
    SiluBytes,
    /// An element of a residual.
    Residual,
    /// A `u8` quantised.
    Quantise,
    /// An element copied from a row to where it belongs.
    Moved,
    /// An element copied from a row to a map split by phase.
    Split,
    /// A layer begun.
    Layer,
    /// Bytes of a map read, or written, that the second-level cache can hold.
    NearBytes,
    /// Bytes of a larger map read for a block of outputs.
    FarBytes,
    /// Bytes of a larger map written.
    WrittenBytes,
    /// Bytes of padding written.
    Padding,
    /// An element of a model input, loaded.
    Loaded,
    /// The same, quantised.
    LoadedQuantised,
    /// An element copied to another layout.
    Copied,
    /// Comparisons of a separable pool of bytes: elements by pixels of the sides of the window.
    PooledBytes,
    /// The same of floats.
    PooledFloats,
    /// A sum of a pool: an element and a pixel of the window.
    Averaged,
    /// An element enlarged.
    Resized,
    /// A row enlarged.
    ResizedRow,
    /// A number of a decoded row.
    Decoded,
    /// An element of a strided operator.
    Strided,
    /// An element of a strided operator with an exponential.
    StridedExponential,
    /// A multiply-accumulate of a strided matrix product.
    MatMul,
}

/// How much of each kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally([f64; Work::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Tally([0.0; Work::ALL.len()])
    }
}

impl Tally {
    /// Adds so much of a kind.
    pub fn add(&mut self, work: Work, count: f64) {
        self.0[work as usize] += count;
    }

    /// The kinds that there are some of.
    pub fn iter(&self) -> impl Iterator<Item = (Work, f64)> + '_ {
        Work::ALL.iter().map(|&work| (work, self[work])).filter(|(_, count)| *count > 0.0)
    }
}

impl Index<Work> for Tally {
    type Output = f64;

    fn index(&self, work: Work) -> &f64 {
        &self.0[work as usize]
    }
}
