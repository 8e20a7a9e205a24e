//! Constant tensors: every encoding ONNX has for the element types we keep.

use super::error::Error;
use super::external;
use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::{SparseTensorProto, TensorProto};
use crate::ir::{DType, Data, Tensor};
use std::path::Path;

/// Most axes a tensor may have.
pub(super) const MAX_RANK: usize = 8;

/// Most elements of a tensor that is stored sparsely.
const MAX_SPARSE_ELEMENTS: usize = 1 << 24;

/// Element type that a stored type becomes, when it is supported.
pub(super) fn dtype(code: i32) -> Option<DType> {
    Some(match DataType::try_from(code).ok()? {
        DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double => DType::F32,
        DataType::Uint8 => DType::U8,
        DataType::Int8 => DType::I8,
        DataType::Int16 | DataType::Uint16 | DataType::Int32 => DType::I32,
        DataType::Uint32 | DataType::Uint64 | DataType::Int64 => DType::I64,
        DataType::Bool => DType::Bool,
        _ => return None,
    })
}

/// Name of a stored element type.
pub(super) fn dtype_name(code: i32) -> String {
    DataType::try_from(code).map_or_else(|_| format!("number {code}"), |t| t.as_str_name().to_lowercase())
}

/// Reads a tensor; `base_dir` is where external data is looked for.
pub(super) fn read(tensor: &TensorProto, base_dir: Option<&Path>) -> Result<Tensor, Error> {
    let fail = |reason: String| Error::Tensor { tensor: tensor.name().to_owned(), reason };
    let (shape, len) = extents(&tensor.dims).map_err(fail)?;
    let code = tensor.data_type();
    let (Some(_), Ok(stored)) = (dtype(code), DataType::try_from(code)) else {
        return Err(fail(format!("element type {} is not supported", dtype_name(code))));
    };
    let external;
    let raw = if tensor.data_location() == DataLocation::External {
        external = external::read(tensor, len.checked_mul(width(stored)), base_dir)?;
        Some(external.as_slice())
    } else {
        tensor.raw_data.as_deref().filter(|raw| !raw.is_empty())
    };
    let elements = match raw {
        Some(raw) => {
            if Some(raw.len()) != len.checked_mul(width(stored)) {
                return Err(fail(format!(
                    "{} bytes of data for {len} elements of type {}",
                    raw.len(),
                    dtype_name(code)
                )));
            }
            from_raw(stored, raw)
        }
        None => from_fields(stored, tensor),
    }
    .ok_or_else(|| {
        fail(format!("an element does not fit {}", dtype(code).map_or_else(String::new, |t| t.to_string())))
    })?;
    let found = count(&elements);
    if found != len {
        return Err(fail(format!("{found} elements of data for the shape [{}]", super::error::listed(&shape))));
    }
    Ok(Tensor::new(shape, elements))
}

/// Bytes that the elements of a tensor take in a file; `None` when they are too many to count.
pub(super) fn stored_bytes(tensor: &TensorProto) -> Result<Option<usize>, Error> {
    let fail = |reason: String| Error::Tensor { tensor: tensor.name().to_owned(), reason };
    let (_, len) = extents(&tensor.dims).map_err(fail)?;
    let code = tensor.data_type();
    match (dtype(code), DataType::try_from(code)) {
        (Some(_), Ok(stored)) => Ok(len.checked_mul(width(stored))),
        _ => Err(fail(format!("element type {} is not supported", dtype_name(code)))),
    }
}

/// Reads a tensor stored by its nonzero elements.
pub(super) fn read_sparse(sparse: &SparseTensorProto, base_dir: Option<&Path>) -> Result<Tensor, Error> {
    let name = sparse.values.as_ref().map_or("", |v| v.name());
    let fail = |reason: &str| Error::Tensor { tensor: name.to_owned(), reason: reason.to_owned() };
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        return Err(fail("a sparse tensor without values or indices"));
    };
    let (shape, len) = extents(&sparse.dims).map_err(|reason| fail(&reason))?;
    if len > MAX_SPARSE_ELEMENTS {
        return Err(fail("more than 2^24 elements in a sparse tensor"));
    }
    let (values, indices) = (read(values, base_dir)?, read(indices, base_dir)?);
    let (Some(values), Some(indices)) = (values.as_f32(), indices.as_i64()) else {
        return Err(fail("a sparse tensor needs float values and int64 indices"));
    };
    let rank = if indices.len() == values.len() { 1 } else { shape.len() };
    if rank.checked_mul(values.len()) != Some(indices.len()) {
        return Err(fail("as many indices as values are needed in a sparse tensor"));
    }
    let mut dense = vec![0.0; len];
    for (i, &value) in values.iter().enumerate() {
        let index = &indices[i * rank..(i + 1) * rank];
        let flat = if rank == 1 {
            usize::try_from(index[0]).ok()
        } else {
            index.iter().zip(&shape).try_fold(0usize, |flat, (&i, &extent)| {
                usize::try_from(i).ok().filter(|&i| i < extent).map(|i| flat * extent + i)
            })
        };
        *flat.and_then(|flat| dense.get_mut(flat)).ok_or_else(|| fail("a sparse index lies outside the shape"))? =
            value;
    }
    Ok(Tensor::f32(shape, dense))
}

/// Shape and element count of stored extents.
fn extents(dims: &[i64]) -> Result<(Vec<usize>, usize), String> {
    if dims.len() > MAX_RANK {
        return Err(format!("{} axes, at most {MAX_RANK} are supported", dims.len()));
    }
    let shape = dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<Vec<_>>>();
    let shape = shape.ok_or_else(|| format!("a negative extent in the shape [{}]", super::error::listed(dims)))?;
    let len = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let len = len.ok_or_else(|| format!("the shape [{}] is too large", super::error::listed(dims)))?;
    Ok((shape, len))
}

/// Bytes per stored element.
fn width(stored: DataType) -> usize {
    match stored {
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        _ => 1,
    }
}

fn from_raw(stored: DataType, raw: &[u8]) -> Option<Data> {
    fn words<const N: usize, T>(raw: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
        raw.chunks_exact(N).map(|c| element(c.try_into().expect("chunks of N bytes"))).collect()
    }
    Some(match stored {
        DataType::Float => Data::F32(words(raw, f32::from_le_bytes)),
        DataType::Float16 => Data::F32(words(raw, |b| f32_of_f16(u16::from_le_bytes(b)))),
        DataType::Bfloat16 => Data::F32(words(raw, |b| f32_of_bf16(u16::from_le_bytes(b)))),
        DataType::Double => Data::F32(words(raw, |b| f64::from_le_bytes(b) as f32)),
        DataType::Uint8 => Data::U8(raw.to_vec()),
        DataType::Int8 => Data::I8(words(raw, i8::from_le_bytes)),
        DataType::Int16 => Data::I32(words(raw, |b| i16::from_le_bytes(b).into())),
        DataType::Uint16 => Data::I32(words(raw, |b| u16::from_le_bytes(b).into())),
        DataType::Int32 => Data::I32(words(raw, i32::from_le_bytes)),
        DataType::Uint32 => Data::I64(words(raw, |b| u32::from_le_bytes(b).into())),
        DataType::Int64 => Data::I64(words(raw, i64::from_le_bytes)),
        DataType::Uint64 => {
            let wide = words(raw, u64::from_le_bytes);
            Data::I64(wide.into_iter().map(|x| i64::try_from(x).ok()).collect::<Option<_>>()?)
        }
        DataType::Bool => Data::Bool(raw.iter().map(|&b| b != 0).collect()),
        _ => return None,
    })
}

/// Elements from the typed fields; `None` when one is out of its type's range.
fn from_fields(stored: DataType, t: &TensorProto) -> Option<Data> {
    fn narrow<T: TryFrom<i32>>(words: &[i32]) -> Option<Vec<T>> {
        words.iter().map(|&x| T::try_from(x).ok()).collect()
    }
    let half = |element: fn(u16) -> f32| narrow::<u16>(&t.int32_data).map(|v| v.into_iter().map(element).collect());
    Some(match stored {
        DataType::Float => Data::F32(t.float_data.clone()),
        DataType::Float16 => Data::F32(half(f32_of_f16)?),
        DataType::Bfloat16 => Data::F32(half(f32_of_bf16)?),
        DataType::Double => Data::F32(t.double_data.iter().map(|&x| x as f32).collect()),
        DataType::Uint8 => Data::U8(narrow(&t.int32_data)?),
        DataType::Int8 => Data::I8(narrow(&t.int32_data)?),
        DataType::Int16 => Data::I32(narrow::<i16>(&t.int32_data)?.into_iter().map(i32::from).collect()),
        DataType::Uint16 => Data::I32(narrow::<u16>(&t.int32_data)?.into_iter().map(i32::from).collect()),
        DataType::Int32 => Data::I32(t.int32_data.clone()),
        DataType::Int64 => Data::I64(t.int64_data.clone()),
        DataType::Uint32 | DataType::Uint64 => {
            Data::I64(t.uint64_data.iter().map(|&x| i64::try_from(x).ok()).collect::<Option<_>>()?)
        }
        DataType::Bool => Data::Bool(t.int32_data.iter().map(|&x| x != 0).collect()),
        _ => return None,
    })
}

fn count(data: &Data) -> usize {
    match data {
        Data::F32(v) => v.len(),
        Data::U8(v) => v.len(),
        Data::I8(v) => v.len(),
        Data::I32(v) => v.len(),
        Data::I64(v) => v.len(),
        Data::Bool(v) => v.len(),
    }
}

/// IEEE half precision, exactly.
fn f32_of_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        0 => {
            let magnitude = fraction as f32 * 2f32.powi(-24);
            if sign == 0 { magnitude } else { -magnitude }
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The upper half of an `f32`.
fn f32_of_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_exact() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x83ff, -6.097_555e-5),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(f32_of_f16(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
        assert!(f32_of_f16(0x7e00).is_nan());
        assert_eq!(f32_of_bf16(0xc040), -3.0);
    }
}
