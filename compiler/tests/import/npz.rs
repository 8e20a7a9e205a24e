//! Reader for the corpus' uncompressed `.npz` archives.

use peristyle_compiler::ir::{Data, Tensor};
use std::path::Path;

/// The arrays of an archive, by name, in file order.
pub fn read(path: &Path) -> Vec<(String, Tensor)> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let number = |at: usize, n: usize| (0..n).fold(0, |x, i| x | usize::from(bytes[at + i]) << (8 * i));
    let mut arrays = Vec::new();
    let mut at = 0;
    while bytes[at..].starts_with(b"PK\x03\x04") {
        assert_eq!(number(at + 8, 2), 0, "{}: the archive is compressed", path.display());
        let (size, name, extra) = (number(at + 18, 4), number(at + 26, 2), number(at + 28, 2));
        let label = String::from_utf8_lossy(&bytes[at + 30..at + 30 + name]).into_owned();
        let start = at + 30 + name + extra;
        arrays.push((label.trim_end_matches(".npy").to_owned(), array(&bytes[start..start + size])));
        at = start + size;
    }
    arrays
}

/// One `.npy` file of format version 1.
fn array(bytes: &[u8]) -> Tensor {
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "a .npy file of version 1");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..end]);
    let field = |key: &str, open: char, close: char| {
        let value = header.split(key).nth(1).expect("the header has the field");
        value.split(open).nth(1).and_then(|v| v.split(close).next()).expect("the field is delimited").to_owned()
    };
    let shape = field("'shape'", '(', ')');
    let shape: Vec<usize> = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let elements = &bytes[end..];
    let data = match field("'descr': ", '\'', '\'').as_str() {
        "<f4" => {
            Data::F32(elements.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().expect("4 bytes"))).collect())
        }
        "<i4" => {
            Data::I32(elements.chunks_exact(4).map(|c| i32::from_le_bytes(c.try_into().expect("4 bytes"))).collect())
        }
        "<i8" => {
            Data::I64(elements.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().expect("8 bytes"))).collect())
        }
        "|u1" => Data::U8(elements.to_vec()),
        "|i1" => Data::I8(elements.iter().map(|&b| b as i8).collect()),
        other => panic!("element type {other}"),
    };
    Tensor::new(shape, data)
}
