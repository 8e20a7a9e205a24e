//! Bytes that are not in doubt against the definitions.

use super::*;
use crate::simd::Isa;
use crate::simd::math::silu;
use core::arch::x86_64::{__m256, __m512};

/// Runs a check with the vectors of this machine.
macro_rules! on_vectors {
    ($check:ident($($arg:expr),*)) => {{
        let isa = Isa::detect();
        for isa in [Isa::Avx2, Isa::Avx512].into_iter().filter(|&other| isa < other) {
            eprintln!("skipped: this machine lacks {}", isa.name());
        }
        // SAFETY: the machine has the instruction set.
        unsafe {
            if isa >= Isa::Avx2 {
                $check::<__m256, { 4 * 8 }>($($arg),*);
            }
            if isa >= Isa::Avx512 {
                $check::<__m512, { 4 * 16 }>($($arg),*);
            }
        }
    }};
}

/// Four vectors of numbers.
///
/// # Safety
/// As for [`Vector`].
unsafe fn load<V: Vector>(xs: &[f32]) -> [V; 4] {
    assert_eq!(xs.len(), 4 * V::LANES);
    // SAFETY: as many numbers are there.
    unsafe { core::array::from_fn(|i| V::load(xs.as_ptr().add(i * V::LANES))) }
}

/// SiLU of a ratio.
///
/// # Safety
/// As for [`Vector`].
unsafe fn near<V: Vector, const N: usize>(ratio: &Ratio, xs: &[f32; N]) -> [f32; N] {
    let mut ys = [0f32; N];
    // SAFETY: forwarded; as many numbers are there.
    unsafe {
        for (i, doubled) in Ratios::<V>::new(ratio).of(load(xs)).into_iter().enumerate() {
            doubled.store(ys.as_mut_ptr().add(i * V::LANES));
        }
    }
    ys.map(|y| y / 2.0)
}

/// All numbers between two of one sign, or every `stride`-th of them, are within the bounds.
unsafe fn check_bounds<V: Vector, const N: usize>(ratio: &Ratio, [first, last]: [f32; 2], stride: u32) {
    let (mut xs, mut at) = ([0f32; N], first.to_bits());
    while at <= last.to_bits() {
        for x in &mut xs {
            *x = f32::from_bits(at.min(last.to_bits()));
            at += stride;
        }
        // SAFETY: forwarded.
        let ys = unsafe { near::<V, N>(ratio, &xs) };
        for (&x, y) in xs.iter().zip(ys) {
            let defined = f64::from(silu(x));
            let bound = if x.is_sign_negative() { ratio.below } else { ratio.error + RELATIVE * silu(x) };
            assert!((f64::from(y) - defined).abs() <= f64::from(bound), "{x:e}: {y:e}, defined {defined:e}");
        }
    }
}

fn check_ratios(stride: u32) {
    on_vectors!(check_bounds(&NARROW, [0.0, NARROW.limit], stride));
    on_vectors!(check_bounds(&NARROW, [-0.0, -NARROW.limit], stride));
    // Beyond 1e5 nothing is less than the highest byte.
    on_vectors!(check_bounds(&WIDE, [0.0, 1e5], stride));
    on_vectors!(check_bounds(&WIDE, [-0.0, -WIDE.limit], stride));
}

#[test]
fn ratios_are_within_their_bounds() {
    check_ratios(211);
}

/// Takes minutes of a machine with AVX-512.
#[test]
#[ignore = "every number there is: minutes"]
fn ratios_are_within_their_bounds_everywhere() {
    check_ratios(1);
}

/// The bytes of blocks without doubt are those of the definition; gives back how many blocks were in doubt.
unsafe fn check_bytes<V: Vector, const N: usize>(quantizer: &Quantizer, xs: &[f32], doubts: &mut usize) {
    let ratio = Ratio::of(core::iter::once(*quantizer)).expect("a quantiser that is served");
    for xs in xs.as_chunks::<N>().0 {
        let mut bytes = [0u8; N];
        // SAFETY: forwarded.
        let doubt = unsafe {
            let doubled = Ratios::<V>::new(ratio).of(load(xs));
            NearQuantizer::<V>::new(quantizer).store(doubled, bytes.as_mut_ptr())
        };
        *doubts += usize::from(doubt);
        for (&x, byte) in xs.iter().zip(bytes).filter(|_| !doubt) {
            assert_eq!(byte, quantizer.quantize(silu(x)), "{x:e} by {quantizer:?}");
        }
    }
}

#[test]
fn bytes_without_doubt_are_those_of_the_definition() {
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    for (scale, zero) in [
        (0.012_9, 50),
        (0.018, 15),
        (0.018, 0),
        (0.031, 36),
        (0.044_9, 6),
        (0.055, 4),
        (0.287, 1),
        (2.0, 0),
        (0.1, 255),
    ] {
        let quantizer = Quantizer::new(scale, zero);
        let steps = 255.0 - f32::from(zero);
        let (mut anywhere, mut doubts) = (Vec::new(), 0);
        for _ in 0..1 << 16 {
            anywhere.push(random() * (steps + 40.0) * scale - 20.0);
        }
        anywhere.extend([-1e30, -1e5, -1e3, 1e3, 1e5, 1e30].map(|x| x * random()));
        anywhere.resize(anywhere.len().next_multiple_of(64), 0.5);
        on_vectors!(check_bytes(&quantizer, &anywhere, &mut doubts));
        let blocks: usize = [(Isa::Avx2, 32), (Isa::Avx512, 64)]
            .into_iter()
            .filter(|&(isa, _)| isa <= Isa::detect())
            .map(|(_, lanes)| anywhere.len() / lanes)
            .sum();
        assert!(doubts * 10 <= blocks, "{doubts} of {blocks} blocks in doubt, by {quantizer:?}");

        // About every tie: where SiLU crosses it by the definition, and from there on in steps that grow.
        for tie in 0..=steps as i32 {
            let goal = (tie as f32 + 0.5) * scale;
            let (mut low, mut high) = (0.0f32, 2.0 * goal + 2.0);
            while low.next_up() < high {
                let middle = low + (high - low) / 2.0;
                if silu(middle) < goal {
                    low = middle
                } else {
                    high = middle
                }
                if middle == low && middle == high {
                    break;
                }
            }
            let mut away = 2e-6 * scale;
            while away < 0.5 * scale {
                for x in [low - away, low + away] {
                    on_vectors!(check_bytes(&quantizer, &[x; 64], &mut doubts));
                }
                away *= 1.3;
            }
        }
    }
}

#[test]
fn steps_that_are_too_small_are_not_served() {
    let served = |scales: &[f32]| Ratio::of(scales.iter().map(|&scale| Quantizer::new(scale, 3))).is_some();
    assert!(!served(&[1e-3]));
    assert!(!served(&[0.02, 1e-3]));
    // The wide ratio is too coarse for the steps of the first.
    assert!(!served(&[0.02, 0.2]));
    assert!(served(&[0.02, 0.03]));
    assert!(served(&[0.2, 0.3]));
}
