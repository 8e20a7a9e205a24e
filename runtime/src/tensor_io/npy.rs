//! The `.npy` format: a header, then the elements.

use super::header::Header;
use super::{Array, Fault};

/// Reads an `.npy` file of version 1 to 3.
///
/// `f2` and `f8` become `f32`; Fortran order and big-endian elements are converted.
///
/// # Errors
/// When the bytes are not such a file, or not exactly as long as their header says.
pub fn read_npy(file: &[u8]) -> Result<Array, Fault> {
    let (header, data) = Header::split(file)?;
    let big_endian = match header.descr.as_bytes().first() {
        Some(b'<' | b'|' | b'=') => false,
        Some(b'>') => true,
        _ => return Err(Fault::DType(header.descr)),
    };
    let elements = Elements { header: &header, data, big_endian };
    match &header.descr[1..] {
        "f2" => elements.read(|b| half_to_f32(u16::from_le_bytes(b))).map(|(shape, data)| Array::F32 { shape, data }),
        "f4" => elements.read(f32::from_le_bytes).map(|(shape, data)| Array::F32 { shape, data }),
        "f8" => elements.read(|b| f64::from_le_bytes(b) as f32).map(|(shape, data)| Array::F32 { shape, data }),
        "u1" => elements.read(u8::from_le_bytes).map(|(shape, data)| Array::U8 { shape, data }),
        "i1" => elements.read(i8::from_le_bytes).map(|(shape, data)| Array::I8 { shape, data }),
        "i4" => elements.read(i32::from_le_bytes).map(|(shape, data)| Array::I32 { shape, data }),
        "i8" => elements.read(i64::from_le_bytes).map(|(shape, data)| Array::I64 { shape, data }),
        _ => Err(Fault::DType(header.descr.clone())),
    }
}

/// The array as an `.npy` file of version 1.
pub fn write_npy(array: &Array) -> Vec<u8> {
    fn encode<T: Copy, const N: usize>(descr: &str, shape: &[usize], data: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
        let mut file = Header::encode(descr, shape);
        file.reserve_exact(data.len() * N);
        data.iter().for_each(|&element| file.extend(bytes(element)));
        file
    }
    match array {
        Array::F32 { shape, data } => encode("<f4", shape, data, f32::to_le_bytes),
        Array::U8 { shape, data } => encode("|u1", shape, data, u8::to_le_bytes),
        Array::I8 { shape, data } => encode("|i1", shape, data, i8::to_le_bytes),
        Array::I32 { shape, data } => encode("<i4", shape, data, i32::to_le_bytes),
        Array::I64 { shape, data } => encode("<i8", shape, data, i64::to_le_bytes),
    }
}

/// The undecoded elements of a file.
struct Elements<'a> {
    header: &'a Header,
    data: &'a [u8],
    big_endian: bool,
}

impl Elements<'_> {
    /// Shape and row-major elements, `decode` taking little-endian bytes.
    fn read<T: Copy, const N: usize>(&self, decode: impl Fn([u8; N]) -> T) -> Result<(Vec<usize>, Vec<T>), Fault> {
        let shape = self.header.shape.clone();
        let bytes = shape.iter().try_fold(N, |n, &extent| n.checked_mul(extent));
        if bytes != Some(self.data.len()) {
            let descr = self.header.descr.clone();
            return Err(Fault::Length { shape, descr, bytes: self.data.len() });
        }
        let (chunks, _) = self.data.as_chunks::<N>();
        let element = |&chunk: &[u8; N]| {
            let mut bytes = chunk;
            if self.big_endian {
                bytes.reverse();
            }
            decode(bytes)
        };
        let stored: Vec<T> = chunks.iter().map(element).collect();
        let data = if self.header.fortran_order { row_major(&shape, &stored) } else { stored };
        Ok((shape, data))
    }
}

/// Column-major elements in row-major order.
fn row_major<T: Copy>(shape: &[usize], stored: &[T]) -> Vec<T> {
    let mut out = Vec::with_capacity(stored.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..stored.len() {
        let position = index.iter().zip(shape).rev().fold(0, |position, (i, extent)| position * extent + i);
        out.push(stored[position]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// The value of an IEEE 754 half.
fn half_to_f32(bits: u16) -> f32 {
    let magnitude = match (bits >> 10 & 0x1f, bits & 0x3ff) {
        (0, fraction) => f32::from(fraction) * 2f32.powi(-24),
        (0x1f, fraction) => f32::from_bits(0x7f80_0000 | u32::from(fraction) << 13),
        (exponent, fraction) => f32::from_bits((u32::from(exponent) + 112) << 23 | u32::from(fraction) << 13),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}
