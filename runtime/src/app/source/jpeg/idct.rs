//! The accurate integer inverse DCT of the Independent JPEG Group ("islow"), after Loeffler, Ligtenberg and Moschytz.

use super::markers::Component;

/// Fractional bits of the constants.
const CONST_BITS: i32 = 13;
/// Fractional bits kept between the passes.
const PASS1_BITS: i32 = 2;

/// `value * 2^13`, rounded.
const fn fixed(value: f64) -> i32 {
    (value * 8192.0 + 0.5) as i32
}

/// One-dimensional transform of eight values, scaled by `2^CONST_BITS * sqrt(8)`.
#[inline]
fn transform(s: [i32; 8]) -> [i32; 8] {
    let z1 = (s[2].wrapping_add(s[6])).wrapping_mul(fixed(0.541196100));
    let t2 = z1.wrapping_sub(s[6].wrapping_mul(fixed(1.847759065)));
    let t3 = z1.wrapping_add(s[2].wrapping_mul(fixed(0.765366865)));
    let t0 = s[0].wrapping_add(s[4]) << CONST_BITS;
    let t1 = s[0].wrapping_sub(s[4]) << CONST_BITS;
    let even = [t0.wrapping_add(t3), t1.wrapping_add(t2), t1.wrapping_sub(t2), t0.wrapping_sub(t3)];

    let z1 = s[7].wrapping_add(s[1]).wrapping_mul(-fixed(0.899976223));
    let z2 = s[5].wrapping_add(s[3]).wrapping_mul(-fixed(2.562915447));
    let (z3, z4) = (s[7].wrapping_add(s[3]), s[5].wrapping_add(s[1]));
    let z5 = z3.wrapping_add(z4).wrapping_mul(fixed(1.175875602));
    let z3 = z3.wrapping_mul(-fixed(1.961570560)).wrapping_add(z5);
    let z4 = z4.wrapping_mul(-fixed(0.390180644)).wrapping_add(z5);
    let odd = [
        s[1].wrapping_mul(fixed(1.501321110)).wrapping_add(z1).wrapping_add(z4),
        s[3].wrapping_mul(fixed(3.072711026)).wrapping_add(z2).wrapping_add(z3),
        s[5].wrapping_mul(fixed(2.053119869)).wrapping_add(z2).wrapping_add(z4),
        s[7].wrapping_mul(fixed(0.298631336)).wrapping_add(z1).wrapping_add(z3),
    ];
    let mut out = [0; 8];
    for i in 0..4 {
        out[i] = even[i].wrapping_add(odd[i]);
        out[7 - i] = even[i].wrapping_sub(odd[i]);
    }
    out
}

#[inline]
fn descale(value: i32, bits: i32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// Levels of a block, row by row, from its coefficients and quantisation table.
fn block(coefficients: &[i16], quant: &[u16; 64]) -> [[u8; 8]; 8] {
    let mut columns = [[0i32; 8]; 8];
    for (x, column) in columns.iter_mut().enumerate() {
        let s: [i32; 8] =
            std::array::from_fn(|y| i32::from(coefficients[8 * y + x]).wrapping_mul(i32::from(quant[8 * y + x])));
        *column = if s[1..] == [0; 7] {
            [s[0].wrapping_mul(1 << PASS1_BITS); 8]
        } else {
            transform(s).map(|v| descale(v, CONST_BITS - PASS1_BITS))
        };
    }
    std::array::from_fn(|y| {
        let s: [i32; 8] = std::array::from_fn(|x| columns[x][y]);
        let level = |v: i32| (v + 128).clamp(0, 255) as u8;
        if s[1..] == [0; 7] {
            [level(descale(s[0], PASS1_BITS + 3)); 8]
        } else {
            transform(s).map(|v| level(descale(v, CONST_BITS + PASS1_BITS + 3)))
        }
    })
}

/// Samples of one component: `8 * padded_columns` per row.
pub(super) fn plane(component: &Component) -> Vec<u8> {
    let quant = component.quant.as_ref().expect("a finished frame has a table for every component");
    let stride = component.padded_columns * 8;
    let mut samples = vec![0; stride * component.padded_rows * 8];
    let blocks = component.coefficients.chunks_exact(64);
    for (index, coefficients) in blocks.enumerate() {
        let (row, column) = (index / component.padded_columns, index % component.padded_columns);
        for (y, levels) in block(coefficients, quant).iter().enumerate() {
            samples[(row * 8 + y) * stride + column * 8..][..8].copy_from_slice(levels);
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_within_one_level_of_the_exact_transform() {
        let mut random = 12345u32;
        let mut next = |range: i32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as i32 % range
        };
        for round in 0..200 {
            let mut coefficients = [0i16; 64];
            for _ in 0..round % 20 {
                coefficients[next(64) as usize] = (next(200) - 100) as i16;
            }
            let quant = [1u16; 64];
            let levels = block(&coefficients, &quant);
            for (y, row) in levels.iter().enumerate() {
                for (x, level) in row.iter().enumerate() {
                    let exact = exact(&coefficients, x, y);
                    assert!((f64::from(*level) - exact.clamp(0.0, 255.0)).abs() <= 0.6, "{level} {exact}");
                }
            }
        }
    }

    fn exact(coefficients: &[i16; 64], x: usize, y: usize) -> f64 {
        let basis = |position: usize, frequency: usize| {
            let angle = (2 * position + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0;
            angle.cos() * if frequency == 0 { 0.5f64.sqrt() } else { 1.0 }
        };
        let sum: f64 = (0..64).map(|i| f64::from(coefficients[i]) * basis(x, i % 8) * basis(y, i / 8)).sum();
        sum / 4.0 + 128.0
    }
}
