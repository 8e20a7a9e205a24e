//! Protobuf messages as lists of undecoded fields, so that what is not understood is kept byte for byte.

use crate::onnx::Error;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// One field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'b> {
    /// Its number.
    pub(super) number: u32,
    /// Key and contents as they were read.
    pub(super) whole: &'b [u8],
    /// The contents of a string, bytes or message field; empty for numbers.
    pub(super) contents: &'b [u8],
}

/// The fields of a message in their order.
pub(super) fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, Error> {
    let mut rest = message;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let (number, wire_type) = decode_key(&mut rest)?;
        let mut contents: &[u8] = &[];
        match wire_type {
            WireType::Varint => drop(decode_varint(&mut rest)?),
            WireType::SixtyFourBit => drop(take(&mut rest, 8)?),
            WireType::ThirtyTwoBit => drop(take(&mut rest, 4)?),
            WireType::LengthDelimited => {
                let length = decode_varint(&mut rest)?;
                contents = take(&mut rest, usize::try_from(length).unwrap_or(usize::MAX))?;
            }
            // The ONNX schema has no groups.
            WireType::StartGroup | WireType::EndGroup => return Err(cut_short()),
        }
        fields.push(Field { number, whole: &start[..start.len() - rest.len()], contents });
    }
    Ok(fields)
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], Error> {
    let (taken, after) = rest.split_at_checked(length).ok_or_else(cut_short)?;
    *rest = after;
    Ok(taken)
}

fn cut_short() -> Error {
    Error::Graph("a field is cut short".to_owned())
}

/// Appends a string, bytes or message field.
pub(super) fn put(message: &mut Vec<u8>, number: u32, contents: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(contents.len() as u64, message);
    message.extend_from_slice(contents);
}
