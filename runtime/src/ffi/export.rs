//! The exported functions of one model.

/// Exports the C interface of a model: `export_c_api!("yolov5s", Model, SPEC)` defines `yolov5s_create` and the other
/// functions of [`HEADER`](crate::ffi::HEADER).
///
/// `Model` is the model's type and `SPEC` its [`ModelSpec`](crate::engine::ModelSpec). The name must be one that C
/// accepts in an identifier.
#[macro_export]
macro_rules! export_c_api {
    ($name:literal, $model:path, $spec:path) => {
        /// The functions of the model's C header, which documents them.
        #[allow(missing_docs, clippy::missing_safety_doc)]
        pub mod c_api {
            use super::*;
            use ::std::ffi::c_char;
            use $crate::ffi::{self, ConstBuffer, Found, Handle, Image, ModelInfo, Params, TensorBuffer, TensorInfo};

            #[unsafe(export_name = concat!($name, "_abi_version"))]
            pub extern "C" fn abi_version() -> u32 {
                ffi::ABI_VERSION
            }

            #[unsafe(export_name = concat!($name, "_create"))]
            pub unsafe extern "C" fn create(
                threads: u32,
                batch: u32,
                model: *mut *mut Handle,
                error: *mut c_char,
                capacity: usize,
            ) -> i32 {
                let new: ffi::NewEngine = |threads| Ok(Box::new(<$model>::new(threads)?.into_engine()));
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::create((new, &$spec), threads, batch, model, error, capacity) }
            }

            #[unsafe(export_name = concat!($name, "_free"))]
            pub unsafe extern "C" fn free(model: *mut Handle) {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::free(model) }
            }

            #[unsafe(export_name = concat!($name, "_last_error"))]
            pub unsafe extern "C" fn last_error(model: *const Handle) -> *const c_char {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::last_error(model) }
            }

            #[unsafe(export_name = concat!($name, "_info"))]
            pub unsafe extern "C" fn info(model: *const Handle, info: *mut ModelInfo) -> i32 {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::model_info(model, info) }
            }

            #[unsafe(export_name = concat!($name, "_class_count"))]
            pub unsafe extern "C" fn class_count(model: *const Handle) -> usize {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::class_count(model) }
            }

            #[unsafe(export_name = concat!($name, "_class_name"))]
            pub unsafe extern "C" fn class_name(model: *const Handle, class_id: usize) -> *const c_char {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::class_name(model, class_id) }
            }

            #[unsafe(export_name = concat!($name, "_input_count"))]
            pub unsafe extern "C" fn input_count(model: *const Handle) -> usize {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::tensor_count(model, false) }
            }

            #[unsafe(export_name = concat!($name, "_output_count"))]
            pub unsafe extern "C" fn output_count(model: *const Handle) -> usize {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::tensor_count(model, true) }
            }

            #[unsafe(export_name = concat!($name, "_input"))]
            pub unsafe extern "C" fn input(model: *const Handle, index: usize, info: *mut TensorInfo) -> i32 {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::tensor_info(model, false, index, info) }
            }

            #[unsafe(export_name = concat!($name, "_output"))]
            pub unsafe extern "C" fn output(model: *const Handle, index: usize, info: *mut TensorInfo) -> i32 {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::tensor_info(model, true, index, info) }
            }

            #[unsafe(export_name = concat!($name, "_run"))]
            pub unsafe extern "C" fn run(
                model: *mut Handle,
                inputs: *const ConstBuffer,
                input_count: usize,
                outputs: *const TensorBuffer,
                output_count: usize,
            ) -> i32 {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::run(model, inputs, input_count, outputs, output_count) }
            }

            #[unsafe(export_name = concat!($name, "_default_params"))]
            pub unsafe extern "C" fn default_params(params: *mut Params) {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::default_params(params) }
            }

            #[unsafe(export_name = concat!($name, "_detect"))]
            pub unsafe extern "C" fn detect(
                model: *mut Handle,
                images: *const Image,
                count: usize,
                params: *const Params,
                found: *mut Found,
            ) -> i32 {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::detect(model, images, count, params, found) }
            }

            #[unsafe(export_name = concat!($name, "_detect_file"))]
            pub unsafe extern "C" fn detect_file(
                model: *mut Handle,
                bytes: *const u8,
                length: usize,
                params: *const Params,
                found: *mut Found,
            ) -> i32 {
                // SAFETY: the caller keeps to the header.
                unsafe { ffi::detect_file(model, bytes, length, params, found) }
            }
        }
    };
}
