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

/// `value * constant`, which fits 16 bits.
#[inline(always)]
fn product(value: i16, constant: i32) -> i32 {
    i32::from(value) * i32::from(constant as i16)
}

/// `value / 2^bits`, rounded, saturated to 16 bits.
#[inline(always)]
fn descale(value: i32, bits: i32) -> i16 {
    (value.wrapping_add(1 << (bits - 1)) >> bits).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// A one-dimensional transform of each column of `s`, divided by `2^bits`; undivided it is scaled by
/// `2^CONST_BITS * sqrt(8)`. Sums wrap at 16 bits where those of libjpeg-turbo's vector code do.
#[inline(always)]
fn transform(s: &[[i16; 8]; 8], out: &mut [[i16; 8]; 8], bits: i32) {
    // One column after the other, written so that the compiler makes one vector operation of eight columns.
    for i in 0..8 {
        let t2 = product(s[2][i], fixed(0.541196100)) + product(s[6][i], fixed(0.541196100) - fixed(1.847759065));
        let t3 = product(s[2][i], fixed(0.541196100) + fixed(0.765366865)) + product(s[6][i], fixed(0.541196100));
        let t0 = i32::from(s[0][i].wrapping_add(s[4][i])) << CONST_BITS;
        let t1 = i32::from(s[0][i].wrapping_sub(s[4][i])) << CONST_BITS;
        let (e0, e1, e2, e3) = (t0 + t3, t1 + t2, t1 - t2, t0 - t3);

        let (z3, z4) = (s[7][i].wrapping_add(s[3][i]), s[5][i].wrapping_add(s[1][i]));
        let w3 = product(z3, fixed(1.175875602) - fixed(1.961570560)) + product(z4, fixed(1.175875602));
        let w4 = product(z3, fixed(1.175875602)) + product(z4, fixed(1.175875602) - fixed(0.390180644));
        let o0 = product(s[7][i], -fixed(0.899976223))
            .wrapping_add(product(s[1][i], fixed(1.501321110) - fixed(0.899976223)))
            .wrapping_add(w4);
        let o1 = product(s[5][i], -fixed(2.562915447))
            .wrapping_add(product(s[3][i], fixed(3.072711026) - fixed(2.562915447)))
            .wrapping_add(w3);
        let o2 = product(s[5][i], fixed(2.053119869) - fixed(2.562915447))
            .wrapping_add(product(s[3][i], -fixed(2.562915447)))
            .wrapping_add(w4);
        let o3 = product(s[7][i], fixed(0.298631336) - fixed(0.899976223))
            .wrapping_add(product(s[1][i], -fixed(0.899976223)))
            .wrapping_add(w3);
        out[0][i] = descale(e0.wrapping_add(o0), bits);
        out[1][i] = descale(e1.wrapping_add(o1), bits);
        out[2][i] = descale(e2.wrapping_add(o2), bits);
        out[3][i] = descale(e3.wrapping_add(o3), bits);
        out[4][i] = descale(e3.wrapping_sub(o3), bits);
        out[5][i] = descale(e2.wrapping_sub(o2), bits);
        out[6][i] = descale(e1.wrapping_sub(o1), bits);
        out[7][i] = descale(e0.wrapping_sub(o0), bits);
    }
}

#[inline(always)]
fn transpose(rows: &[[i16; 8]; 8]) -> [[i16; 8]; 8] {
    let mut out = [[0; 8]; 8];
    for y in 0..8 {
        for x in 0..8 {
            out[x][y] = rows[y][x];
        }
    }
    out
}

#[inline(always)]
fn level(value: i16) -> u8 {
    (value.clamp(-128, 127) + 128) as u8
}

/// Levels of a block, row by row, from its coefficients and quantisation table.
fn block(coefficients: &[i16; 64], quant: &[u16; 64]) -> [[u8; 8]; 8] {
    let dequantised = |i: usize| coefficients[i].wrapping_mul(quant[i] as i16);
    if coefficients[1..].iter().fold(0, |any, c| any | c) == 0 {
        let flat = i32::from(dequantised(0).wrapping_mul(1 << PASS1_BITS));
        return [[level(descale(flat, PASS1_BITS + 3)); 8]; 8];
    }
    let mut values = [[0; 8]; 8];
    for (i, value) in values.as_flattened_mut().iter_mut().enumerate() {
        *value = dequantised(i);
    }
    let mut half = [[0; 8]; 8];
    transform(&values, &mut half, CONST_BITS - PASS1_BITS);
    transform(&transpose(&half), &mut values, CONST_BITS + PASS1_BITS + 3);
    transpose(&values).map(|row| row.map(level))
}

/// Samples of one component: `8 * padded_columns` per row.
pub(super) fn plane(component: &Component) -> Vec<u8> {
    let quant = component.quant.as_ref().expect("a finished frame has a table for every component");
    let stride = component.padded_columns * 8;
    let mut samples = vec![0; stride * component.padded_rows * 8];
    let (blocks, _) = component.coefficients.as_chunks();
    for (index, coefficients) in blocks.iter().enumerate() {
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
