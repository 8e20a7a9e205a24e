//! The handle behind every call: a model with its threads, its last error and its last results.

use super::types::{Failure, ModelInfo, Status, TensorInfo};
use crate::detect::{Detections, Pipeline};
use crate::engine::{DType, Infer, ModelSpec, TensorSpec};
use std::ffi::{CString, c_char};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Makes an engine that runs on a number of threads, at least one.
pub type NewEngine = fn(threads: usize) -> io::Result<Box<dyn Infer>>;

/// A model with its threads and working memory; what C knows as an opaque type.
pub struct Handle {
    pub(super) network: Network,
    pub(super) inputs: Vec<Described>,
    pub(super) outputs: Vec<Described>,
    /// What the last detection found, picture by picture.
    pub(super) found: Vec<Kept>,
    spec: &'static ModelSpec,
    class_names: Vec<CString>,
    /// Name, source, sha256, compiler.
    texts: [CString; 4],
    error: CString,
    broken: bool,
}

/// What runs.
pub(super) enum Network {
    Detector(Box<Pipeline>),
    /// A model whose outputs cannot be read as boxes, and why.
    Tensors(Box<dyn Infer>, String),
}

/// Results that C reads through pointers.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) boxes: Vec<[f32; 4]>,
    pub(super) scores: Vec<f32>,
    pub(super) class_ids: Vec<u32>,
}

impl From<Detections> for Kept {
    fn from(found: Detections) -> Self {
        let class_ids = found.class_ids.iter().map(|id| *id as u32).collect();
        Kept { boxes: found.boxes, scores: found.scores, class_ids }
    }
}

/// A tensor of the model with its name as C reads it.
pub(super) struct Described {
    name: CString,
    pub(super) spec: &'static TensorSpec,
}

impl Described {
    fn all(specs: &'static [TensorSpec]) -> Vec<Described> {
        specs.iter().map(|spec| Described { name: text(spec.name), spec }).collect()
    }

    pub(super) fn info(&self) -> TensorInfo {
        TensorInfo {
            name: self.name.as_ptr(),
            dtype: match self.spec.dtype {
                DType::F32 => 1,
                DType::U8 => 2,
            },
            rank: self.spec.shape.len() as u32,
            shape: self.spec.shape.as_ptr(),
            elements: self.spec.len(),
            bytes: self.spec.len() * self.spec.dtype.size(),
        }
    }
}

/// The text up to its first NUL, if there is one.
pub(super) fn text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).expect("the text was cut before its first NUL")
}

impl Handle {
    fn new(engine: NewEngine, spec: &'static ModelSpec, threads: u32, batch: u32) -> Result<Handle, Failure> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads as usize,
        };
        let start = || {
            engine(threads).map_err(|error| {
                let message = format!("model `{}` cannot start {threads} threads: {error}; ask for fewer", spec.name);
                (Status::Resources, message)
            })
        };
        let network = match spec.detector {
            None => Network::Tensors(start()?, format!("the model `{}` has no detection head", spec.source)),
            Some(_) => {
                let builder = Pipeline::builder_boxed(start()?);
                let builder = if batch == 0 { builder } else { builder.batch(batch as usize) };
                match builder.build() {
                    Ok(pipeline) => Network::Detector(Box::new(pipeline)),
                    Err(error) => Network::Tensors(start()?, error.to_string()),
                }
            }
        };
        Ok(Handle {
            network,
            inputs: Described::all(spec.inputs),
            outputs: Described::all(spec.outputs),
            found: Vec::new(),
            spec,
            class_names: spec.class_names.iter().map(|name| text(name)).collect(),
            texts: [spec.name, spec.source, spec.sha256, spec.compiler].map(text),
            error: CString::default(),
            broken: false,
        })
    }
}

/// Runs a call on a handle: keeps its message, and stops panics.
///
/// # Safety
/// `model` is null or a handle that [`create`] made, that nobody freed and nobody else uses now.
pub(super) unsafe fn call(model: *mut Handle, act: impl FnOnce(&mut Handle) -> Result<(), Failure>) -> i32 {
    // SAFETY: by the contract.
    let Some(model) = (unsafe { model.as_mut() }) else { return Status::Argument as i32 };
    if model.broken {
        model.error = text("an earlier call on this handle failed inside the library; free it and make another");
        return Status::Internal as i32;
    }
    // A handle that panicked is marked broken, so that nobody sees what it left behind.
    let (status, message) = match catch_unwind(AssertUnwindSafe(|| act(model))) {
        Ok(Ok(())) => (Status::Ok, String::new()),
        Ok(Err(failure)) => failure,
        Err(_) => {
            model.broken = true;
            (Status::Internal, "a defect of the library; its message is on the error output".to_string())
        }
    };
    model.error = text(&message);
    status as i32
}

/// Makes a handle on `threads` threads (0: as many as this process may use) that looks at `batch` pictures per run (0:
/// as many as the model was compiled for).
///
/// # Safety
/// `out` is null or writable. `message` is null or `capacity` bytes are writable there.
pub unsafe fn create(
    (engine, spec): (NewEngine, &'static ModelSpec),
    threads: u32,
    batch: u32,
    out: *mut *mut Handle,
    message: *mut c_char,
    capacity: usize,
) -> i32 {
    let made = if out.is_null() {
        Err((Status::Argument, "the pointer that takes the handle is null".to_string()))
    } else {
        catch_unwind(|| Handle::new(engine, spec, threads, batch))
            .unwrap_or_else(|_| Err((Status::Internal, "a defect of the library".to_string())))
    };
    let (status, handle, problem) = match made {
        Ok(handle) => (Status::Ok, Box::into_raw(Box::new(handle)), String::new()),
        Err((status, problem)) => (status, ptr::null_mut(), problem),
    };
    if !out.is_null() {
        // SAFETY: by the contract.
        unsafe { out.write(handle) };
    }
    if !message.is_null() && capacity > 0 {
        let problem = text(&problem);
        let length = problem.as_bytes().len().min(capacity - 1);
        // SAFETY: `length` bytes and a NUL fit `capacity`, which is writable by the contract.
        unsafe {
            ptr::copy_nonoverlapping(problem.as_ptr(), message, length);
            message.add(length).write(0);
        }
    }
    status as i32
}

/// Ends the threads of a handle and returns its memory.
///
/// # Safety
/// As for every function: `model` is null or a handle of [`create`], not freed before, in use by nobody.
pub unsafe fn free(model: *mut Handle) {
    if !model.is_null() {
        // SAFETY: `create` made it of a box, and by the contract nobody has it any more.
        let handle = unsafe { Box::from_raw(model) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
    }
}

/// What went wrong in the last call on the handle; empty when nothing did.
///
/// # Safety
/// As for [`free`].
pub unsafe fn last_error(model: *const Handle) -> *const c_char {
    // SAFETY: by the contract.
    unsafe { model.as_ref() }.map_or(ptr::null(), |model| model.error.as_ptr())
}

/// Number of classes; 0 when the model is no detector.
///
/// # Safety
/// As for [`free`].
pub unsafe fn class_count(model: *const Handle) -> usize {
    // SAFETY: by the contract.
    let model = unsafe { model.as_ref() };
    model.and_then(|model| model.spec.detector).map_or(0, |detector| detector.classes)
}

/// Name of a class; null when it has none.
///
/// # Safety
/// As for [`free`].
pub unsafe fn class_name(model: *const Handle, class_id: usize) -> *const c_char {
    // SAFETY: by the contract.
    let model = unsafe { model.as_ref() };
    model.and_then(|model| model.class_names.get(class_id)).map_or(ptr::null(), |name| name.as_ptr())
}

/// Where the model comes from. Texts live as long as the handle.
///
/// # Safety
/// As for [`free`], and `info` is null or writable.
pub unsafe fn model_info(model: *const Handle, info: *mut ModelInfo) -> i32 {
    // SAFETY: by the contract.
    let (Some(model), false) = (unsafe { model.as_ref() }, info.is_null()) else { return Status::Argument as i32 };
    let [name, source, sha256, compiler] = model.texts.each_ref().map(|text| text.as_ptr());
    let (detector, [width, height]) = match &model.network {
        Network::Detector(pipeline) => (1, pipeline.input_size()),
        Network::Tensors(..) => (0, [0; 2]),
    };
    let (input_width, input_height) = (width as u32, height as u32);
    // SAFETY: by the contract.
    unsafe { info.write(ModelInfo { name, source, sha256, compiler, detector, input_width, input_height }) };
    Status::Ok as i32
}
