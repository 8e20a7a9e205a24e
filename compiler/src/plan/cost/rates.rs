//! Cycles of every kind of work.

use super::super::pack::{BUCKET_COST, END_COST, KIND_COST, QUAD_COST, RUN_QUAD_COST};
use super::work::Work;
use peristyle_runtime::simd::Isa;

/// What bounds a kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// How fast numbers are multiplied.
    Multiply,
    /// Everything else within a core.
    Other,
    /// Memory beyond a core's own caches; its cycles are bytes.
    Memory,
}

/// What bounds this kind.
pub fn bound(work: Work) -> Bound {
    match work {
        Work::PairForBoth
        | Work::PairForOne
        | Work::CodedPair
        | Work::CodedProduct
        | Work::RunQuad
        | Work::ListedQuad
        | Work::QuadBlock
        | Work::DotEntry
        | Work::DotQuadForBoth
        | Work::DotQuadForOne
        | Work::FloatRow
        | Work::FloatProduct
        | Work::FloatCodedProduct
        | Work::PanelForBoth
        | Work::PanelForOne
        | Work::DenseProduct
        | Work::PointProduct => Bound::Multiply,
        Work::FarBytes | Work::WrittenBytes => Bound::Memory,
        _ => Bound::Other,
    }
}

/// Cycles of one of a kind; bytes of memory, where that binds.
pub fn cycles(isa: Isa, work: Work) -> f64 {
    match isa {
        Isa::Avx512 => avx2(work) * wide(work),
        Isa::AvxVnni => avx2(work) * dots_of_256_bits(work),
        Isa::Avx2 | Isa::Portable => avx2(work),
    }
}

/// Fitted to profiles of Zen 3, least squares over all layers of compiled networks, and moved since by what changes of a
/// kernel gained; what the packers of tables weigh alternatives by is theirs. Kinds that no layer of these networks has
/// much of follow from their instructions.
fn avx2(work: Work) -> f64 {
    match work {
        Work::PairForBoth => 7.5,
        Work::PairForOne => 5.65,
        Work::PairGroup => 100.0,
        Work::CodedPair => 3.15,
        Work::CodedProduct => 0.66,
        Work::CodedGroup => 75.0,
        Work::RunQuad => RUN_QUAD_COST as f64 / 4.0,
        Work::ListedQuad => QUAD_COST as f64 / 4.0,
        Work::QuadBlock => END_COST as f64 / 4.0,
        Work::QuadKind => KIND_COST as f64 / 4.0,
        Work::QuadOutput => 12.0,
        Work::DotQuadForBoth => 8.0,
        Work::DotQuadForOne => 4.5,
        Work::DotPair => 40.0,
        Work::QuadPacked => 16.0,
        Work::DotEntry => 1.0,
        Work::DotLoop => BUCKET_COST as f64 / 2.0,
        Work::DotGroup => 60.0,
        Work::FloatRow => 1.0,
        Work::FloatProduct => 1.4,
        Work::FloatCodedProduct => 1.72,
        Work::FloatLoop => 25.0,
        Work::FloatGroup => 36.0,
        Work::PanelForBoth => 6.1,
        Work::PanelForOne => 3.8,
        Work::PanelGroup => 27.0,
        Work::DenseProduct => 1.45,
        Work::DenseGroup => 84.0,
        Work::FloatPacked => 14.0,
        Work::PointProduct => 0.526,
        Work::PointData => 2.11,
        Work::PointResult => 1.88,
        Work::PointWeight => 0.2,
        Work::LinePacked => 5.9,
        Work::Cheap => 0.05,
        Work::Exponential => 0.22,
        Work::SiluBytes => 0.72,
        Work::Residual => 0.05,
        Work::Quantise => 0.65,
        Work::Moved => 0.14,
        Work::Split => 0.65,
        Work::Run => 80.0,
        Work::Layer => 3000.0,
        Work::NearBytes => 0.109,
        Work::FarBytes => 1.0,
        Work::WrittenBytes => 0.42,
        Work::Padding => 3.25,
        Work::Loaded => 0.37,
        Work::LoadedQuantised => 1.2,
        Work::Copied => 1.0,
        Work::PooledBytes => 0.2225,
        Work::PooledFloats => 0.5,
        Work::Averaged => 1.0,
        Work::Resized => 0.15,
        Work::ResizedRow => 6.0,
        Work::Decoded => 2.1,
        Work::Strided => 1.5,
        Work::StridedExponential => 4.0,
        Work::MatMul => 1.0,
    }
}

/// Cycles with AVX-512, as a multiple of those with AVX2: registers are twice as wide, and a dot product of four bytes is
/// one instruction. Those of dot products fit profiles of Zen 4.
fn wide(work: Work) -> f64 {
    match work {
        Work::DotQuadForBoth | Work::DotQuadForOne => 0.57,
        Work::DotEntry => 1.15,
        Work::DotLoop | Work::DotGroup | Work::DotPair => 1.0,
        Work::PointProduct => 0.455,
        Work::Decoded => 0.8,
        _ if bound(work) == Bound::Multiply => 0.5,
        Work::SiluBytes => 0.53,
        Work::Cheap | Work::Exponential | Work::Residual | Work::Quantise | Work::Moved | Work::Split => 0.7,
        _ => 1.0,
    }
}

/// Cycles with dot products in 256 bits, as a multiple of those with AVX2, from profiles of Zen 4: four units share the
/// instructions of pairs there, and two those of dot products. Where there are three in all, dot products gain more.
fn dots_of_256_bits(work: Work) -> f64 {
    match work {
        Work::PairForBoth | Work::PairForOne => 0.92,
        Work::RunQuad | Work::ListedQuad => 0.85,
        Work::QuadBlock => 0.2,
        Work::QuadKind => 0.5,
        _ => 1.0,
    }
}
