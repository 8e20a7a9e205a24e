//! The header of an `.npy` file: a Python dictionary of element type, order and shape.

use super::Fault;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// Rank past which a shape is certainly not a tensor's.
const MAX_RANK: usize = 32;
/// The writer pads the header so that the data starts at a multiple of this.
const ALIGNMENT: usize = 64;

/// What the header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// Byte order and element type, such as `<f4`.
    pub(super) descr: String,
    /// Whether the first axis varies fastest.
    pub(super) fortran_order: bool,
    /// Extent of every axis.
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Splits a file into its header and the bytes of its elements.
    pub(super) fn split(file: &[u8]) -> Result<(Header, &[u8]), Fault> {
        let rest = file.strip_prefix(MAGIC).ok_or(Fault::NotNumPy)?;
        let (&[major, minor], rest) = rest.split_first_chunk().ok_or(Fault::Truncated)?;
        let (len, rest) = match major {
            1 => {
                let (len, rest) = rest.split_first_chunk().ok_or(Fault::Truncated)?;
                (usize::from(u16::from_le_bytes(*len)), rest)
            }
            2 | 3 => {
                let (len, rest) = rest.split_first_chunk().ok_or(Fault::Truncated)?;
                (u32::from_le_bytes(*len) as usize, rest)
            }
            _ => return Err(Fault::Version(major, minor)),
        };
        let (header, data) = rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        let text = std::str::from_utf8(header).map_err(|_| Fault::Header("it is not text"))?;
        Ok((Header::parse(text)?, data))
    }

    /// A version 1 file's bytes up to its data, for little-endian elements in C order.
    pub(super) fn encode(descr: &str, shape: &[usize]) -> Vec<u8> {
        let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
        // A tuple of one keeps its comma.
        let tuple = if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
        let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({tuple}), }}");
        let start = MAGIC.len() + 4;
        let end = (start + text.len() + 1).next_multiple_of(ALIGNMENT);
        text.extend(std::iter::repeat_n(' ', end - start - text.len() - 1));
        text.push('\n');
        let len = u16::try_from(text.len()).expect("a tensor's shape is short");
        [MAGIC, &[1, 0], &len.to_le_bytes(), text.as_bytes()].concat()
    }

    fn parse(text: &str) -> Result<Header, Fault> {
        let mut cursor = Cursor { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        cursor.expect("{")?;
        while !cursor.accept("}") {
            let key = cursor.string()?;
            cursor.expect(":")?;
            match key {
                "descr" => descr = Some(cursor.string()?.to_owned()),
                "fortran_order" => fortran_order = Some(cursor.boolean()?),
                "shape" => shape = Some(cursor.shape()?),
                _ => return Err(Fault::Header("an unknown key")),
            }
            if !cursor.accept(",") {
                cursor.expect("}")?;
                break;
            }
        }
        match (descr, fortran_order, shape) {
            _ if !cursor.rest.trim().is_empty() => Err(Fault::Header("text after the dictionary")),
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Header { descr, fortran_order, shape }),
            _ => Err(Fault::Header("descr, fortran_order or shape is missing")),
        }
    }
}

/// A place in the header's text.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Fault> {
        if self.accept(token) { Ok(()) } else { Err(Fault::Header("punctuation is missing")) }
    }

    fn string(&mut self) -> Result<&'a str, Fault> {
        for quote in ["'", "\""] {
            if self.accept(quote) {
                let (text, rest) = self.rest.split_once(quote).ok_or(Fault::Header("a string has no end"))?;
                self.rest = rest;
                return Ok(text);
            }
        }
        Err(Fault::Header("a string is missing (arrays of records cannot be read)"))
    }

    fn boolean(&mut self) -> Result<bool, Fault> {
        if self.accept("True") {
            Ok(true)
        } else if self.accept("False") {
            Ok(false)
        } else {
            Err(Fault::Header("fortran_order is neither True nor False"))
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Fault> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            shape.push(digits.parse().map_err(|_| Fault::Header("an extent of the shape is not a number"))?);
            // Python 2 wrote long integers as `640L`.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            if shape.len() > MAX_RANK {
                return Err(Fault::Header("the shape has too many axes"));
            }
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}
