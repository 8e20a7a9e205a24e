//! What crosses the boundary, as `header.h` declares it.

use std::ffi::{c_char, c_void};

/// How a call ended; positive codes are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// Everything went well.
    Ok = 0,
    /// A pointer is null, an index too large, or a buffer misaligned.
    Argument = 1,
    /// A threshold or class is out of range.
    Param = 2,
    /// A picture does not fit its memory, or an image file cannot be read.
    Image = 3,
    /// The model has no detection head.
    NotADetector = 4,
    /// Tensors do not fit the model.
    Tensor = 5,
    /// The operating system refuses threads or memory.
    Resources = 6,
    /// The library was built without what the call needs.
    Unsupported = 7,
    /// A defect of the library; the handle can only be freed.
    Internal = 8,
}

/// An error that a call returns: its code and its message.
pub(super) type Failure = (Status, String);

/// A model input or output for one image.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TensorInfo {
    /// Name in the source model.
    pub name: *const c_char,
    /// 1 for 32-bit floats, 2 for unsigned bytes.
    pub dtype: i32,
    /// Number of axes.
    pub rank: u32,
    /// Their extents; axis 0 counts images and is 1.
    pub shape: *const usize,
    /// Elements of one image.
    pub elements: usize,
    /// Bytes of one image.
    pub bytes: usize,
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ModelInfo {
    /// Name of the model.
    pub name: *const c_char,
    /// File name of the source model.
    pub source: *const c_char,
    /// SHA-256 of the source model, hexadecimal.
    pub sha256: *const c_char,
    /// Version of the compiler.
    pub compiler: *const c_char,
    /// 1 when the model is a detector.
    pub detector: i32,
    /// Width of the network input in pixels, 0 when it takes no pictures.
    pub input_width: u32,
    /// Height of the network input in pixels, 0 when it takes no pictures.
    pub input_height: u32,
}

/// Memory to read a tensor from.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ConstBuffer {
    /// First byte.
    pub data: *const c_void,
    /// Bytes.
    pub bytes: usize,
}

/// Memory to write a tensor to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TensorBuffer {
    /// First byte.
    pub data: *mut c_void,
    /// Bytes.
    pub bytes: usize,
}

/// An RGB picture: 8 bits per channel, interleaved, rows from the top.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Image {
    /// First byte of the first row.
    pub pixels: *const u8,
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next; 0 for `3 * width`.
    pub stride: usize,
}

/// Thresholds and options of a call.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Params {
    /// Least objectness and least score, exclusive, 0 to 1.
    pub conf_thres: f32,
    /// Greatest intersection over union of two boxes of a class, 0 to 1.
    pub iou_thres: f32,
    /// Boxes per picture.
    pub max_det: u32,
    /// Not 0: boxes suppress boxes of other classes.
    pub agnostic: i32,
    /// Not 0: one box may be reported for several classes.
    pub multi_label: i32,
    /// Not 0: pictures are stretched over the network input instead of letterboxed.
    pub stretch: i32,
    /// Classes to report; null for all.
    pub classes: *const u32,
    /// How many those are.
    pub class_count: usize,
}

/// The objects in one picture, best score first.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Found {
    /// How many.
    pub count: usize,
    /// Left, top, right, bottom of each, in pixels of the picture.
    pub boxes: *const [f32; 4],
    /// Score of each.
    pub scores: *const f32,
    /// Class of each.
    pub class_ids: *const u32,
}
