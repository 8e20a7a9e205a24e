//! What `std` has of floating-point arithmetic and `core` lacks. Every function but [`Float::ln`] and [`Float::powf`] is
//! exact, or correctly rounded, as IEEE 754 wants it, so that results are the same bits with and without `std`.

/// The methods of the same names that numbers have with `std`.
pub(crate) trait Float: Sized {
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The largest integer that is not greater.
    fn floor(self) -> Self;
    /// The nearest integer, the even one of two.
    fn round_ties_even(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// `self` to the power of `exponent`.
    fn powf(self, exponent: Self) -> Self;
}

impl Float for f32 {
    #[inline]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        libm::fmaf(self, a, b)
    }

    #[inline]
    fn floor(self) -> f32 {
        libm::floorf(self)
    }

    #[inline]
    fn round_ties_even(self) -> f32 {
        libm::rintf(self)
    }

    #[inline]
    fn ln(self) -> f32 {
        libm::logf(self)
    }

    #[inline]
    fn powf(self, exponent: f32) -> f32 {
        libm::powf(self, exponent)
    }
}

impl Float for f64 {
    #[inline]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        libm::fma(self, a, b)
    }

    #[inline]
    fn floor(self) -> f64 {
        libm::floor(self)
    }

    #[inline]
    fn round_ties_even(self) -> f64 {
        libm::rint(self)
    }

    #[inline]
    fn ln(self) -> f64 {
        libm::log(self)
    }

    #[inline]
    fn powf(self, exponent: f64) -> f64 {
        libm::pow(self, exponent)
    }
}
