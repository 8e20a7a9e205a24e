//! From luma and chroma to RGB and back, in fixed point.

/// How red, green and blue make luma.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matrix {
    /// ITU-R BT.601, what a stream has that does not say.
    #[default]
    Bt601,
    /// ITU-R BT.709.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

/// What the levels of a stream mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colour {
    /// Weights of the primaries.
    pub matrix: Matrix,
    /// Levels fill 0 to 255, not 16 to 235.
    pub full_range: bool,
}

/// Three planes; chroma has half the columns and half the rows, rounded up.
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// Luma.
    pub y: &'a [u8],
    /// Blue difference.
    pub u: &'a [u8],
    /// Red difference.
    pub v: &'a [u8],
    /// Bytes from one row of luma to the next.
    pub luma_stride: usize,
    /// Bytes from one row of chroma to the next.
    pub chroma_stride: usize,
}

/// Bits behind the point.
const FRACTION: u32 = 14;

/// Factors of the conversion to RGB.
struct ToRgb {
    luma: i32,
    black: i32,
    red: i32,
    green_u: i32,
    green_v: i32,
    blue: i32,
}

impl ToRgb {
    fn new(colour: Colour) -> Self {
        let (kr, kb) = primaries(colour.matrix);
        let kg = 1.0 - kr - kb;
        let (luma, chroma) = if colour.full_range { (1.0, 1.0) } else { (255.0 / 219.0, 255.0 / 224.0) };
        let fixed = |value: f64| (value * f64::from(1 << FRACTION)).round() as i32;
        Self {
            luma: fixed(luma),
            black: if colour.full_range { 0 } else { 16 },
            red: fixed(chroma * 2.0 * (1.0 - kr)),
            green_u: fixed(chroma * 2.0 * kb * (1.0 - kb) / kg),
            green_v: fixed(chroma * 2.0 * kr * (1.0 - kr) / kg),
            blue: fixed(chroma * 2.0 * (1.0 - kb)),
        }
    }

    #[inline(always)]
    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let y = (i32::from(y) - self.black) * self.luma + (1 << (FRACTION - 1));
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let level = |sum: i32| (sum >> FRACTION).clamp(0, 255) as u8;
        [level(y + self.red * v), level(y - self.green_u * u - self.green_v * v), level(y + self.blue * u)]
    }
}

/// Shares of red and blue in luma.
fn primaries(matrix: Matrix) -> (f64, f64) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    }
}

/// Interleaved RGB of planes with 4:2:0 chroma; every chroma level serves four pixels.
///
/// # Panics
/// When the planes do not hold `width` times `height` pixels.
pub fn planes_to_rgb(planes: &Planes<'_>, width: usize, height: usize, colour: Colour) -> Vec<u8> {
    let convert = ToRgb::new(colour);
    let mut rgb = vec![0; 3 * width * height];
    for (row, out) in rgb.chunks_exact_mut(3 * width).enumerate() {
        let y = &planes.y[row * planes.luma_stride..][..width];
        let u = &planes.u[row / 2 * planes.chroma_stride..][..width.div_ceil(2)];
        let v = &planes.v[row / 2 * planes.chroma_stride..][..width.div_ceil(2)];
        for (((two, y), u), v) in out.chunks_mut(6).zip(y.chunks(2)).zip(u).zip(v) {
            for (pixel, y) in two.chunks_exact_mut(3).zip(y) {
                pixel.copy_from_slice(&convert.rgb(*y, *u, *v));
            }
        }
    }
    rgb
}

/// Interleaved RGB of packed 4:2:2 pixels in the order Y, U, Y, V, as webcams send them. `None` when `bytes` is too
/// short, `stride` does not hold a row, or `width` is odd.
pub fn packed_yuyv_to_rgb(bytes: &[u8], stride: usize, width: usize, height: usize, colour: Colour) -> Option<Vec<u8>> {
    let row_bytes = width.checked_mul(2)?;
    if width % 2 == 1 || stride < row_bytes || height == 0 || bytes.len() < stride * (height - 1) + row_bytes {
        return None;
    }
    let convert = ToRgb::new(colour);
    let mut rgb = vec![0; 3 * width * height];
    for (row, out) in rgb.chunks_exact_mut(3 * width).enumerate() {
        for (two, four) in out.chunks_exact_mut(6).zip(bytes[row * stride..][..row_bytes].chunks_exact(4)) {
            two[..3].copy_from_slice(&convert.rgb(four[0], four[1], four[3]));
            two[3..].copy_from_slice(&convert.rgb(four[2], four[1], four[3]));
        }
    }
    Some(rgb)
}

/// Planes of an even width and height, BT.601, levels 16 to 235.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvenPlanes {
    /// Pixels per row, even.
    pub width: usize,
    /// Rows, even.
    pub height: usize,
    /// Luma.
    pub y: Vec<u8>,
    /// Blue difference, half the columns and rows.
    pub u: Vec<u8>,
    /// Red difference, half the columns and rows.
    pub v: Vec<u8>,
}

/// Planes of an RGB picture; an odd last column or row is repeated.
///
/// # Panics
/// When `rgb` does not hold `3 * width * height` bytes.
pub fn rgb_to_planes(rgb: &[u8], width: usize, height: usize) -> EvenPlanes {
    assert_eq!(rgb.len(), 3 * width * height, "three bytes per pixel");
    let (even_width, even_height) = (width.next_multiple_of(2), height.next_multiple_of(2));
    let chroma = even_width * even_height / 4;
    let mut planes = EvenPlanes {
        width: even_width,
        height: even_height,
        y: vec![0; even_width * even_height],
        u: vec![0; chroma],
        v: vec![0; chroma],
    };
    let fixed = |value: f64| (value * f64::from(1 << FRACTION)).round() as i32;
    let (kr, kb) = primaries(Matrix::Bt601);
    let kg = 1.0 - kr - kb;
    let luma = [kr, kg, kb].map(|k| fixed(k * 219.0 / 255.0));
    // A chroma level is made of the sum of four pixels.
    let chroma = |own: f64, weights: [f64; 3]| weights.map(|k| fixed(k / (2.0 * (1.0 - own)) * 224.0 / 255.0 / 4.0));
    let blue = chroma(kb, [-kr, -kg, 1.0 - kb]);
    let red = chroma(kr, [1.0 - kr, -kg, -kb]);
    let weigh = |weights: [i32; 3], rgb: [i32; 3], zero: i32| {
        let sum: i32 = weights.iter().zip(rgb).map(|(w, level)| w * level).sum();
        ((sum + (1 << (FRACTION - 1))) >> FRACTION) + zero
    };
    for pair in 0..even_height / 2 {
        for column in 0..even_width / 2 {
            let mut total = [0; 3];
            for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let (x, y) = (2 * column + dx, 2 * pair + dy);
                let from = 3 * (y.min(height - 1) * width + x.min(width - 1));
                let pixel = [0, 1, 2].map(|c| i32::from(rgb[from + c]));
                planes.y[y * even_width + x] = weigh(luma, pixel, 16) as u8;
                total = [0, 1, 2].map(|c| total[c] + pixel[c]);
            }
            let at = pair * even_width / 2 + column;
            planes.u[at] = weigh(blue, total, 128) as u8;
            planes.v[at] = weigh(red, total, 128) as u8;
        }
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(rgb: [u8; 3]) -> [u8; 3] {
        let planes = rgb_to_planes(&rgb.repeat(9), 3, 3);
        assert_eq!((planes.width, planes.height, planes.y.len(), planes.u.len()), (4, 4, 16, 4));
        let view = Planes { y: &planes.y, u: &planes.u, v: &planes.v, luma_stride: 4, chroma_stride: 2 };
        let back = planes_to_rgb(&view, 3, 3, Colour::default());
        assert!(back.chunks(3).all(|pixel| pixel == &back[..3]));
        [back[0], back[1], back[2]]
    }

    #[test]
    fn colours_survive_within_the_steps_of_their_levels() {
        for rgb in [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [17, 130, 222], [90, 90, 90]] {
            let back = there_and_back(rgb);
            assert!(rgb.iter().zip(back).all(|(a, b)| a.abs_diff(b) <= 3), "{rgb:?} {back:?}");
        }
    }

    #[test]
    fn matrices_and_ranges_differ() {
        // Green of BT.709 in limited range, the levels of colour bars.
        let green = |colour| ToRgb::new(colour).rgb(173, 42, 26);
        let bt709 = green(Colour { matrix: Matrix::Bt709, full_range: false });
        assert!(bt709[0] < 3 && bt709[1] > 252 && bt709[2] < 3, "{bt709:?}");
        assert_ne!(green(Colour::default()), bt709);
        assert_eq!(ToRgb::new(Colour { full_range: true, ..Colour::default() }).rgb(200, 128, 128), [200; 3]);
        assert_eq!(ToRgb::new(Colour::default()).rgb(235, 128, 128), [255; 3]);
    }

    #[test]
    fn packed_rows_may_have_gaps() {
        let row = [235, 128, 16, 128, 1, 2];
        let rgb = packed_yuyv_to_rgb(&row.repeat(2), 6, 2, 2, Colour::default()).unwrap();
        assert_eq!(rgb, [255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0]);
        assert_eq!(packed_yuyv_to_rgb(&row, 6, 2, 2, Colour::default()), None);
        assert_eq!(packed_yuyv_to_rgb(&row, 3, 2, 1, Colour::default()), None);
    }
}
