//! The decode for AVX2 and AVX-512: eight outputs of a vector of columns at a time, transposed in registers.
//!
//! Loops count: what iterators compute may have its vectors in memory.
#![allow(clippy::needless_range_loop)]

use super::{Cells, DetectHead};
use crate::engine::Buffers;
use crate::simd::math::vector::{Vector, sigmoid};
use crate::simd::{Isa, prefetch};
use core::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_mul_ps, _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setr_ps,
    _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    _mm512_castps512_ps256, _mm512_extractf32x8_ps,
};

/// Outputs and columns of a block. What is left of either is computed with some that were, in a block that ends there.
pub(super) const LANES: usize = 8;
/// Cache lines asked for with every block: about as many as it fills.
const LINES: usize = 4;

/// Vectors of columns of an output, in parts of [`LANES`].
///
/// # Safety
/// Of its method: as for [`Vector`].
trait Columns: Vector {
    /// Part `at` of the columns.
    unsafe fn part(self, at: usize) -> __m256;
}

impl Columns for __m256 {
    #[inline(always)]
    unsafe fn part(self, _: usize) -> __m256 {
        self
    }
}

impl Columns for __m512 {
    #[inline(always)]
    unsafe fn part(self, at: usize) -> __m256 {
        // SAFETY: by the contract.
        unsafe { if at == 0 { _mm512_castps512_ps256(self) } else { _mm512_extractf32x8_ps::<1>(self) } }
    }
}

impl DetectHead {
    /// As `run_with`, for rows of at least [`LANES`] outputs and columns of a map that is not split.
    ///
    /// # Safety
    /// As for [`DetectHead::run_unit`]; the machine has AVX2 or, if `isa` says so, AVX-512.
    pub(super) unsafe fn run_blocks(&self, isa: Isa, buffers: &Buffers<'_>, cells: &Cells<'_>) {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(head: &DetectHead, buffers: &Buffers<'_>, cells: &Cells<'_>) {
            // SAFETY: forwarded.
            unsafe { head.blocks::<__m256>(buffers, cells) }
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        unsafe fn avx512(head: &DetectHead, buffers: &Buffers<'_>, cells: &Cells<'_>) {
            // SAFETY: forwarded.
            unsafe { head.blocks::<__m512>(buffers, cells) }
        }
        // SAFETY: forwarded.
        unsafe {
            match isa {
                Isa::Avx512 if cells.level.map.width >= <__m512 as Vector>::LANES => avx512(self, buffers, cells),
                _ => avx2(self, buffers, cells),
            }
        }
    }

    /// # Safety
    /// As for [`DetectHead::run_blocks`], inlined into what has the instruction set of the vectors, which the map is as wide
    /// as.
    #[inline(always)]
    unsafe fn blocks<V: Columns>(&self, buffers: &Buffers<'_>, cells: &Cells<'_>) {
        let Cells { level, anchor, y, row } = *cells;
        let (map, outputs) = (&level.map, self.outputs);
        let parts = V::LANES / LANES;
        // SAFETY: blocks lie inside the map and the view.
        unsafe {
            let out = buffers.base(&self.y.base).add(self.y.offset).cast::<f32>().add(row * outputs);
            let raw = map.ptr::<f32>(buffers.arena).cast_const();
            // The next unit writes behind this one.
            let mut ahead = out.wrapping_add(map.width * outputs).cast::<u8>().cast_const();
            // The first outputs, which make the box, last: the last block may hold some of them as well.
            for block in (0..outputs.div_ceil(LANES)).rev() {
                let first = (block * LANES).min(outputs - LANES);
                let row = |k: usize, x: usize| raw.wrapping_add(map.index(anchor * outputs + first + k, y, x));
                for at in 0..map.width.div_ceil(V::LANES) {
                    let x = (at * V::LANES).min(map.width - V::LANES);
                    // Channels are far apart, and so are the lines written: the processor foresees neither. A line of a
                    // channel serves two parts.
                    if (at * parts).is_multiple_of(2) {
                        (0..LANES).for_each(|k| prefetch(row(k, x).wrapping_sub(LANES * map.plane).cast()));
                    }
                    for _ in 0..LINES * parts {
                        prefetch(ahead);
                        ahead = ahead.wrapping_add(64);
                    }
                    let mut sigmoids = [V::splat(0.0); LANES];
                    for (k, pair) in sigmoids.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                        *pair = sigmoid([V::load(row(2 * k, x)), V::load(row(2 * k + 1, x))]);
                    }
                    for part in 0..parts {
                        let x = x + part * LANES;
                        let mut values = [_mm256_setzero_ps(); LANES];
                        for k in 0..LANES {
                            values[k] = sigmoids[k].part(part);
                        }
                        if first == 0 {
                            let [a, b, c, d, ..] = &mut values;
                            [*a, *b, *c, *d] = boxes([*a, *b, *c, *d], x, y, level.stride, level.anchors[anchor]);
                        }
                        let to = out.add(x * outputs + first);
                        for (i, column) in transpose(values).into_iter().enumerate() {
                            _mm256_storeu_ps(to.add(i * outputs), column);
                        }
                    }
                }
            }
        }
    }
}

/// Centres and extents of the boxes of eight cells from column `x` on, of sigmoids.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn boxes(sigmoids: [__m256; 4], x: usize, y: usize, stride: f32, [width, height]: [f32; 2]) -> [__m256; 4] {
    let mut twice = sigmoids;
    for v in &mut twice {
        *v = _mm256_mul_ps(*v, _mm256_set1_ps(2.0));
    }
    let [a, b, c, d] = twice;
    let half = _mm256_set1_ps(0.5);
    let steps = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0);
    let column = _mm256_sub_ps(_mm256_add_ps(_mm256_set1_ps(x as f32), steps), half);
    let row = _mm256_sub_ps(_mm256_set1_ps(y as f32), half);
    let stride = _mm256_set1_ps(stride);
    [
        _mm256_mul_ps(_mm256_add_ps(a, column), stride),
        _mm256_mul_ps(_mm256_add_ps(b, row), stride),
        _mm256_mul_ps(_mm256_mul_ps(c, c), _mm256_set1_ps(width)),
        _mm256_mul_ps(_mm256_mul_ps(d, d), _mm256_set1_ps(height)),
    ]
}

/// Swaps rows and columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn transpose(rows: [__m256; LANES]) -> [__m256; LANES] {
    let [a, b, c, d, e, f, g, h] = rows;
    let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    let (ef, ef_high) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
    let (gh, gh_high) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
    // Columns 0 and 4, 1 and 5, 2 and 6, 3 and 7: of the first four rows, and of the last.
    const LOW: i32 = 0b01_00_01_00;
    const HIGH: i32 = 0b11_10_11_10;
    let upper = [
        _mm256_shuffle_ps::<LOW>(ab, cd),
        _mm256_shuffle_ps::<HIGH>(ab, cd),
        _mm256_shuffle_ps::<LOW>(ab_high, cd_high),
        _mm256_shuffle_ps::<HIGH>(ab_high, cd_high),
    ];
    let lower = [
        _mm256_shuffle_ps::<LOW>(ef, gh),
        _mm256_shuffle_ps::<HIGH>(ef, gh),
        _mm256_shuffle_ps::<LOW>(ef_high, gh_high),
        _mm256_shuffle_ps::<HIGH>(ef_high, gh_high),
    ];
    let mut columns = rows;
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(upper[i], lower[i]);
        columns[i + 4] = _mm256_permute2f128_ps::<0x31>(upper[i], lower[i]);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{DType, ModelSpec};
    use crate::kernels::detect_head::Level;
    use crate::kernels::map::Map;
    use crate::kernels::strided::{AXES, Base, View};
    use crate::simd::Isa;

    static SPEC: ModelSpec = ModelSpec {
        name: "head",
        source: "",
        sha256: "",
        compiler: "",
        batch: 1,
        inputs: &[],
        outputs: &[],
        class_names: &[],
        detector: None,
        weights: (0, 0),
        macs: (0, 0),
    };

    fn map(offset: usize, channels: usize, height: usize, width: usize) -> Map {
        let row = width + 3;
        let plane = (height * row).next_multiple_of(16);
        Map { dtype: DType::F32, offset, channels, height, width, split: [1, 1], row, plane, pad: [0; 4], pad_value: 0 }
    }

    /// Heads of every width and number of outputs, decoded by blocks and by the definition.
    #[test]
    fn blocks_are_the_definition() {
        let (here, lacking): (Vec<_>, Vec<_>) =
            [Isa::Avx2, Isa::AvxVnni, Isa::Avx512].iter().partition(|&&isa| isa <= Isa::detect());
        lacking.iter().for_each(|isa: &Isa| eprintln!("skipped: this machine lacks {}", isa.name()));
        for outputs in [5, 7, 8, 9, 12, 16, 21, 85] {
            for width in [1, 7, 8, 9, 15, 16, 20, 33] {
                let anchors: &'static [[f32; 2]] = &[[10.0, 13.0], [33.5, 23.25]];
                let (first, second) = (map(64, 2 * outputs, 3, width), map(64, 2 * outputs, 2, width));
                let second = Map { offset: 64 + first.plane * first.channels * 4, ..second };
                let level = |map: Map, stride: f32| Level { map, stride, anchors: anchors.into() };
                let rows = 2 * (3 + 2) * width;
                let y = View { base: Base::Arena, dtype: DType::F32, offset: 0, shape: [1; AXES], strides: [1; AXES] };
                let y = View { offset: (second.offset + second.plane * second.channels * 4 + 4096) & !63, ..y };
                let head = DetectHead { outputs, levels: vec![level(first, 8.0), level(second, 16.0)].into(), y };
                let decode = |isa: Isa| {
                    let mut state = 7u32;
                    let words = (head.y.offset + rows * outputs * 4 + 256) / 4;
                    let mut arena: Vec<f32> = Vec::with_capacity(words);
                    arena.resize_with(words, || {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 8) as f32 / (1 << 20) as f32 - 8.0
                    });
                    let buffers = Buffers {
                        spec: &SPEC,
                        arena: arena.as_mut_ptr().cast(),
                        scratch: std::ptr::null_mut(),
                        inputs: &[],
                        outputs: &[],
                        image: 0,
                    };
                    for unit in 0..head.units() {
                        // SAFETY: the arena holds the maps and the view, and more than blocks read past them.
                        unsafe { head.run_unit(isa, &buffers, unit) };
                    }
                    arena.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let defined = decode(Isa::Portable);
                for &isa in &here {
                    assert!(decode(isa) == defined, "{outputs} outputs of {width} columns: {isa:?}");
                }
            }
        }
    }
}
