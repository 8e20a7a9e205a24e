//! Vector forms against the definitions, bit for bit.

use super::*;
use crate::simd::Isa;
use crate::simd::math;
use std::mem::{size_of, transmute_copy};

/// Every sign and exponent with mantissas at both ends and in between, so NaN, infinities and subnormals too.
fn numbers() -> Vec<f32> {
    let mut state = 0x9e37_79b9u32;
    let mut numbers = Vec::new();
    for high in 0..512u32 {
        for mantissa in [0, 1, 0x40_0000, 0x7f_ffff] {
            numbers.push(f32::from_bits(high << 23 | mantissa));
        }
        for _ in 0..(if (118..134).contains(&(high % 256)) { 20_000 } else { 60 }) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            numbers.push(f32::from_bits(high << 23 | state >> 9));
        }
    }
    numbers.resize(numbers.len().next_multiple_of(64), 0.0);
    numbers
}

/// Runs a check with the vectors of this machine.
macro_rules! on_vectors {
    ($check:ident($($arg:expr),*)) => {{
        let isa = Isa::detect();
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

fn tell_what_is_skipped() {
    for isa in [Isa::Avx2, Isa::Avx512] {
        if Isa::detect() < isa {
            eprintln!("skipped: this machine lacks {}", isa.name());
        }
    }
}

/// Four vectors of numbers.
///
/// # Safety
/// As for [`Vector`].
unsafe fn vectors<V: Vector, const N: usize>(xs: &[f32; N]) -> [V; 4] {
    assert_eq!(size_of::<[V; 4]>(), size_of::<[f32; N]>());
    // SAFETY: arrays and vectors of floats have the same layout.
    unsafe { transmute_copy(xs) }
}

/// Equal bits, or both not a number.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

unsafe fn check_silu<V: Vector, const N: usize>(numbers: &[f32]) {
    for xs in numbers.as_chunks::<N>().0 {
        // SAFETY: forwarded; as in `vectors`.
        let (sigmoids, silus) = unsafe {
            let lanes = vectors::<V, N>(xs);
            let (sigmoids, silus) = (sigmoid(lanes), silu_of_ratio(lanes, sigmoid_ratio(lanes)));
            (transmute_copy::<_, [f32; N]>(&sigmoids), transmute_copy::<_, [f32; N]>(&silus))
        };
        for (i, &x) in xs.iter().enumerate() {
            assert!(same(sigmoids[i], math::sigmoid(x)), "sigmoid({x:e})");
            assert!(same(silus[i], math::silu(x)), "silu({x:e})");
        }
    }
}

#[test]
fn sigmoid_and_silu_are_their_definitions() {
    tell_what_is_skipped();
    let numbers = numbers();
    on_vectors!(check_silu(&numbers));
}

unsafe fn check_quantizer<V: Vector, const N: usize>(quantizer: &Quantizer, numbers: &[f32]) {
    for xs in numbers.as_chunks::<N>().0 {
        let mut bytes = [0u8; N];
        // SAFETY: forwarded.
        unsafe { quantizer.quantize_to(vectors::<V, N>(xs), bytes.as_mut_ptr()) };
        for (i, &x) in xs.iter().enumerate() {
            assert_eq!(bytes[i], quantizer.quantize(x), "{x:e} ({:08x}) by {quantizer:?}", x.to_bits());
        }
    }
}

#[test]
fn quantising_lanes_is_the_definition() {
    tell_what_is_skipped();
    let numbers = numbers();
    for scale in [1e-30, 3.1e-6, 0.017, 0.034_567, 0.1, 1.0, 3.0, 1e9, 1e30] {
        for zero in [0, 1, 10, 114, 128, 254, 255] {
            let quantizer = Quantizer::new(scale, zero);
            // Every tie and every integer, from beyond one bound to beyond the other, and the numbers beside them.
            let mut near: Vec<f32> = (-1100..=1100)
                .flat_map(|half| {
                    let x = half as f32 * 0.5 * scale;
                    [x, x.next_up(), x.next_down(), (f64::from(half) * 0.5 * f64::from(scale)) as f32]
                })
                .chain(numbers.iter().copied())
                .collect();
            near.resize(near.len().next_multiple_of(64), 0.0);
            on_vectors!(check_quantizer(&quantizer, &near));
        }
    }
}
