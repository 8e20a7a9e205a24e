//! Numbers as C and Python print them.

/// Significant digits of `%g`.
const DIGITS: i32 = 6;

/// A number as `%g` prints it: six significant digits, no trailing zeros, an exponent when it is below -4 or above 5.
pub fn percent_g(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string().to_lowercase();
    }
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("`e` formatting writes an exponent");
    let exponent: i32 = exponent.parse().expect("`e` formatting writes a whole exponent");
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        without_zeros(&format!("{value:.decimals$}")).to_owned()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
    }
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::percent_g;

    #[test]
    fn numbers_are_those_of_python() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (27.0, "27"),
            (0.5, "0.5"),
            (1.0 / 3.0, "0.333333"),
            (f64::from(0.1f32), "0.1"),
            (0.000_123_456_78, "0.000123457"),
            (0.000_099_999_99, "0.0001"),
            (0.000_012_345_678, "1.23457e-05"),
            (999_999.4, "999999"),
            (999_999.5, "1e+06"),
            (123_456_789.0, "1.23457e+08"),
            (100.0, "100"),
            (-2.5e-10, "-2.5e-10"),
            (0.400_000_5, "0.4"),
        ] {
            assert_eq!(percent_g(value), expected, "{value:e}");
        }
    }
}
