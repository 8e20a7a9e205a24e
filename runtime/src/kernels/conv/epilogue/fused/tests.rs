//! The fused epilogue against the definition: whole arenas must be equal, padding and what lies around maps included.

use crate::engine::DType;
use crate::kernels::Activation;
use crate::kernels::conv::epilogue::{Epilogue, Residual, ResidualAt, StoreTo, Sums};
use crate::kernels::conv::{Arithmetic, Blocking, Conv, Group, Table};
use crate::kernels::map::Map;
use crate::simd::Isa;
use crate::simd::math::Quantizer;

const CHANNELS: usize = 3;
const HEIGHT: usize = 7;
const WIDTH: usize = 45;
/// Row of the input, and of maps that lie as it does.
const ROW: usize = WIDTH + 2;
const ACTIVATIONS: [Activation; 6] = [
    Activation::Identity,
    Activation::Silu,
    Activation::Relu,
    Activation::Sigmoid,
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::HardSwish,
];

/// The map behind `arena` bytes, which grow by it.
fn map(arena: &mut usize, dtype: DType, row: usize, split: [usize; 2]) -> Map {
    let plane = ((HEIGHT + 3) * row + 8).next_multiple_of(64) + 64;
    let offset = *arena + 4 * 64 + 4 * (row + 1) * dtype.size();
    *arena = offset + plane * CHANNELS * split[0] * split[1] * dtype.size();
    Map {
        dtype,
        offset: offset.next_multiple_of(4),
        channels: CHANNELS,
        height: HEIGHT,
        width: WIDTH,
        split,
        row,
        plane,
        pad: [1, 1, 1, 1],
        pad_value: if dtype == DType::U8 { 77 } else { 0 },
    }
}

/// Numbers of every size, among them NaN, infinities, subnormals and sums near ties.
fn word(state: &mut u32, arithmetic: Arithmetic) -> u32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let bits = *state >> 3;
    match (arithmetic, bits % 64) {
        (_, 0) => state.rotate_left(7),
        (Arithmetic::U8S8, _) => (bits % 40_001).wrapping_sub(20_000),
        (Arithmetic::F32, 1) => f32::NAN.to_bits(),
        (Arithmetic::F32, 2) => f32::NEG_INFINITY.to_bits(),
        (Arithmetic::F32, 3) => (bits as f32).to_bits(),
        (Arithmetic::F32, _) => ((bits % 4001) as f32 * 0.01 - 20.0).to_bits(),
    }
}

/// Runs one epilogue over the pixels on memory that starts the same, and gives back all of it; NaN by one name.
fn run(isa: Isa, conv: &Conv, bytes: usize, pixels: std::ops::Range<usize>) -> Vec<u32> {
    let mut state = 99;
    let mut arena: Vec<u32> = (0..bytes.div_ceil(4) + 64).map(|_| word(&mut state, Arithmetic::F32)).collect();
    let rows = conv.accumulator_stride() * 8;
    let mut scratch: Vec<u32> = (0..rows).map(|_| word(&mut state, conv.arithmetic)).collect();
    let accumulators = scratch.as_mut_ptr().cast::<u8>();
    let bytes = accumulators.wrapping_add(conv.accumulator_stride() * 4 * 4);
    // SAFETY: the arena holds all maps and the scratch four rows of accumulators and one of bytes with its halves.
    unsafe {
        let sums = Sums { groups: &conv.table.groups[..1], next: None, accumulators, pitch: 0, bytes };
        conv.epilogue.run(isa, conv, &sums, arena.as_mut_ptr().cast(), pixels);
    }
    arena.iter().map(|&w| if f32::from_bits(w).is_nan() { f32::NAN.to_bits() } else { w }).collect()
}

#[test]
fn fused_is_the_definition() {
    let isas = [Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= Isa::detect());
    for isa in [Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa > Isa::detect()) {
        eprintln!("skipped: this machine lacks {}", isa.name());
    }
    // SiLU goes to bytes at once by the first three together, and by the two after them; not by the others.
    let quantizers = [(0.031, 0), (0.04, 12), (0.016, 20), (0.07, 4), (0.3, 1), (0.05, 12), (0.004, 255)]
        .map(|(scale, zero)| Quantizer::new(scale, zero));
    for arithmetic in [Arithmetic::U8S8, Arithmetic::F32] {
        for (case, activation) in (0..13).flat_map(|case| ACTIVATIONS.map(|activation| (case, activation))) {
            let mut bytes = 0;
            let (u8, f32) = (DType::U8, DType::F32);
            let input = map(&mut bytes, if arithmetic == Arithmetic::F32 { f32 } else { u8 }, ROW, [1, 1]);
            let mut to = |dtype, row, split, quantizer: usize| StoreTo {
                map: map(&mut bytes, dtype, row, split),
                quantizer: quantizers[quantizer],
            };
            let stores = match case {
                0 => vec![to(u8, ROW, [1, 1], 0)],
                1 => vec![to(f32, ROW, [1, 1], 0)],
                2 => vec![to(u8, ROW, [1, 1], 1), to(f32, ROW, [1, 1], 0)],
                3 => vec![to(u8, 30, [2, 2], 0)],
                4 => vec![to(u8, ROW + 3, [1, 1], 0), to(u8, ROW, [1, 1], 1), to(f32, ROW + 1, [1, 1], 0)],
                5 => vec![to(f32, ROW, [1, 1], 0), to(u8, ROW, [1, 1], 0), to(u8, 30, [2, 2], 0)],
                6 => vec![to(f32, ROW, [1, 1], 0), to(f32, ROW + 2, [1, 1], 0)],
                7 => vec![to(u8, 30, [2, 2], 0), to(u8, ROW, [1, 1], 1), to(u8, ROW, [1, 1], 2)],
                8 => {
                    let linear = [0, 1, 2, 5].map(|quantizer| to(u8, ROW, [1, 1], quantizer));
                    linear.into_iter().chain([to(u8, 30, [2, 2], 2)]).collect()
                }
                9 => vec![to(u8, ROW, [1, 1], 3), to(u8, 30, [2, 2], 3)],
                10 => vec![to(u8, ROW, [1, 1], 3), to(u8, ROW, [1, 1], 4)],
                11 => vec![to(u8, ROW, [1, 1], 6)],
                _ => [0, 3, 4, 5, 6].map(|quantizer| to(u8, ROW, [1, 1], quantizer)).into(),
            };
            let residual = Map { offset: bytes + 4096, ..map(&mut bytes, f32, ROW, [1, 1]) };
            bytes += 8192;
            let residuals = [
                None,
                Some(Residual { map: residual, at: ResidualAt::BeforeActivation }),
                Some(Residual { map: residual, at: ResidualAt::AfterActivation }),
            ];
            for residual in residuals {
                let conv = Conv {
                    arithmetic,
                    input,
                    out_height: HEIGHT,
                    out_width: WIDTH,
                    table: Table {
                        group: 4,
                        groups: vec![Group::new(&[2, 0, 1], (0, 0), 0, 0, None)].into(),
                        segments: vec![].into(),
                        offsets: vec![].into(),
                        weights: vec![].into(),
                    },
                    quads: None,
                    unrolled: None,
                    panels: None,
                    winograd: None,
                    packed: vec![].into(),
                    blocking: Blocking { chunk_tiles: 16, pass_tiles: 4, outputs: 4, prefetch: false },
                    epilogue: Epilogue {
                        acc_bias: vec![3, -1000, i32::MAX].into(),
                        scale: vec![1e-3, 4e-4, 0.02].into(),
                        bias: vec![0.1, -2.0, 0.0].into(),
                        activation,
                        residual,
                        stores: stores.clone().into(),
                    },
                };
                // Every length from every place of a row, the padding too, in steps that meet every remainder.
                let lengths = (1..=200).map(|len| ((len * 31) % (3 * ROW), len));
                for (first, len) in lengths.filter(|(first, len)| first + len <= (HEIGHT - 1) * ROW + WIDTH) {
                    let pixels = first..first + len;
                    let defined = run(Isa::Portable, &conv, bytes, pixels.clone());
                    for isa in isas.clone() {
                        let fused = run(isa, &conv, bytes, pixels.clone());
                        let differs = fused.iter().zip(&defined).position(|(a, b)| a != b);
                        let what = format!("{arithmetic:?} {activation:?} case {case} {residual:?} {first}+{len}");
                        assert_eq!(differs, None, "{} {what}", isa.name());
                    }
                }
            }
        }
    }
}
