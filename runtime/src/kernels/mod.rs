//! The layers of a compiled network: what each one reads and writes, and how a part of it is computed.
//!
//! Every layer cuts the output rows it is asked for into *units* that any thread may compute in any order.

pub mod conv;
pub mod detect_head;
pub mod map;
pub mod pool;
pub mod strided;
pub mod transfer;

/// Elementwise functions of an epilogue; see [`math`](crate::simd::math) for their exact definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x < 0 ? alpha * x : x`
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x * sigmoid(x)`
    Silu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * clamp(x / 6 + 0.5, 0, 1)`
    HardSwish,
    /// `clamp(alpha * x + beta, 0, 1)`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `min(max(x, lo), hi)`
    Clip {
        /// Lower bound.
        lo: f32,
        /// Upper bound.
        hi: f32,
    },
}

impl Activation {
    /// Replaces every element by the function of `load(element)`.
    #[inline(always)]
    pub fn apply(self, xs: &mut [f32], load: impl Fn(f32) -> f32) {
        use crate::simd::math;
        match self {
            Activation::Identity => map(xs, load),
            Activation::Relu => map(xs, |x| {
                let x = load(x);
                if x > 0.0 { x } else { 0.0 }
            }),
            Activation::LeakyRelu { alpha } => map(xs, |x| {
                let x = load(x);
                if x < 0.0 { alpha * x } else { x }
            }),
            Activation::Silu => map(xs, |x| math::silu(load(x))),
            Activation::Sigmoid => map(xs, |x| math::sigmoid(load(x))),
            Activation::HardSwish => map(xs, |x| math::hard_swish(load(x))),
            Activation::HardSigmoid { alpha, beta } => map(xs, |x| math::hard_sigmoid(load(x), alpha, beta)),
            Activation::Clip { lo, hi } => map(xs, |x| math::clamp(load(x), lo, hi)),
        }
    }
}

#[inline(always)]
fn map(xs: &mut [f32], f: impl Fn(f32) -> f32) {
    xs.iter_mut().for_each(|x| *x = f(*x));
}
