//! Raw tensors in and out.

use super::handle::{Described, Handle, Network, call};
use super::types::{ConstBuffer, Failure, Status, TensorBuffer, TensorInfo};
use crate::engine::{DType, TensorMut, TensorRef};
use std::mem::align_of;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Number of inputs, or of outputs.
///
/// # Safety
/// `model` is null or a handle of [`create`](super::create), not freed, and nobody changes it now.
pub unsafe fn tensor_count(model: *const Handle, output: bool) -> usize {
    // SAFETY: by the contract.
    unsafe { model.as_ref() }.map_or(0, |model| side(model, output).len())
}

/// What an input or output is. Texts and shapes live as long as the handle.
///
/// # Safety
/// As for [`tensor_count`], and `info` is null or writable.
pub unsafe fn tensor_info(model: *const Handle, output: bool, index: usize, info: *mut TensorInfo) -> i32 {
    // SAFETY: by the contract.
    let tensor = unsafe { model.as_ref() }.and_then(|model| side(model, output).get(index));
    let (Some(tensor), false) = (tensor, info.is_null()) else { return Status::Argument as i32 };
    // SAFETY: by the contract.
    unsafe { info.write(tensor.info()) };
    Status::Ok as i32
}

fn side(model: &Handle, output: bool) -> &[Described] {
    if output { &model.outputs } else { &model.inputs }
}

/// Runs a whole number of images, as many as the first input holds.
///
/// # Safety
/// `model` is null or a handle of [`create`](super::create), not freed and used by nobody else now. `inputs` and
/// `outputs` are as many buffers as their counts say, each readable or writable for its bytes; no output overlaps
/// another buffer.
pub unsafe fn run(
    model: *mut Handle,
    inputs: *const ConstBuffer,
    input_count: usize,
    outputs: *const TensorBuffer,
    output_count: usize,
) -> i32 {
    let act = |model: &mut Handle| {
        for (what, expected, got) in
            [("inputs", model.inputs.len(), input_count), ("outputs", model.outputs.len(), output_count)]
        {
            if expected != got {
                return Err((Status::Tensor, format!("the model has {expected} {what}, the call passes {got}")));
            }
        }
        if (inputs.is_null() && input_count > 0) || (outputs.is_null() && output_count > 0) {
            return Err((Status::Argument, "the array of inputs or of outputs is null".to_string()));
        }
        // SAFETY: the arrays hold as many as their counts say, by the contract.
        let (inputs, outputs) = unsafe { (from_raw_parts(inputs, input_count), from_raw_parts(outputs, output_count)) };
        let mut read = Vec::with_capacity(inputs.len());
        for (buffer, tensor) in inputs.iter().zip(&model.inputs) {
            let len = elements(tensor, buffer.data as usize, buffer.bytes)?;
            // SAFETY: aligned and not null as `elements` saw; readable for its bytes by the contract.
            read.push(unsafe {
                match tensor.spec.dtype {
                    DType::F32 => TensorRef::F32(from_raw_parts(buffer.data.cast(), len)),
                    DType::U8 => TensorRef::U8(from_raw_parts(buffer.data.cast(), len)),
                }
            });
        }
        let mut written = Vec::with_capacity(outputs.len());
        for (buffer, tensor) in outputs.iter().zip(&model.outputs) {
            let len = elements(tensor, buffer.data as usize, buffer.bytes)?;
            // SAFETY: aligned and not null as `elements` saw; writable for its bytes and alone by the contract.
            written.push(unsafe {
                match tensor.spec.dtype {
                    DType::F32 => TensorMut::F32(from_raw_parts_mut(buffer.data.cast(), len)),
                    DType::U8 => TensorMut::U8(from_raw_parts_mut(buffer.data.cast(), len)),
                }
            });
        }
        let network = match &mut model.network {
            Network::Detector(pipeline) => pipeline.model(),
            Network::Tensors(network, _) => network.as_mut(),
        };
        network.run(&read, &mut written).map_err(|error| (Status::Tensor, error.to_string()))
    };
    // SAFETY: by the contract.
    unsafe { call(model, act) }
}

/// Elements that a buffer holds.
fn elements(tensor: &Described, address: usize, bytes: usize) -> Result<usize, Failure> {
    let (name, dtype) = (tensor.spec.name, tensor.spec.dtype);
    let align = match dtype {
        DType::F32 => align_of::<f32>(),
        DType::U8 => 1,
    };
    if address == 0 || !address.is_multiple_of(align) {
        let what = if address == 0 { "null" } else { "not aligned to 4 bytes" };
        return Err((Status::Argument, format!("the buffer of tensor `{name}` is {what}")));
    }
    if !bytes.is_multiple_of(dtype.size()) {
        return Err((Status::Tensor, format!("tensor `{name}` holds {dtype:?} elements, its buffer is {bytes} bytes")));
    }
    Ok(bytes / dtype.size())
}
