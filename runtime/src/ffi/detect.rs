//! Pictures in, boxes out.

use super::handle::{Handle, Kept, Network, call};
use super::types::{Failure, Found, Image, Params, Status};
use crate::detect::{self, Error, ImageRef, Resize};
use std::slice::from_raw_parts;

/// The thresholds of a call without any: those of YOLOv5's `detect.py`.
///
/// # Safety
/// `params` is null or writable.
pub unsafe fn default_params(params: *mut Params) {
    let default = detect::Params::default();
    if !params.is_null() {
        let value = Params {
            conf_thres: default.conf_thres,
            iou_thres: default.iou_thres,
            max_det: default.max_det as u32,
            agnostic: 0,
            multi_label: 0,
            stretch: 0,
            classes: std::ptr::null(),
            class_count: 0,
        };
        // SAFETY: by the contract.
        unsafe { params.write(value) };
    }
}

/// Finds the objects in each of `count` pictures. What is found lives until the next detection on this handle.
///
/// # Safety
/// `model` is null or a handle of [`create`](super::create), not freed and used by nobody else now. `images` are
/// `count` pictures whose pixels are readable up to the end of their last row, `found` as many writable places.
/// `params` is null or readable, with as many classes as it says.
pub unsafe fn detect(
    model: *mut Handle,
    images: *const Image,
    count: usize,
    params: *const Params,
    found: *mut Found,
) -> i32 {
    let act = |model: &mut Handle| {
        if count > 0 && (images.is_null() || found.is_null()) {
            return Err(null("the array of pictures or of results"));
        }
        // SAFETY: as many pictures by the contract; an empty array may be null.
        let images = if count == 0 { &[][..] } else { unsafe { from_raw_parts(images, count) } };
        // SAFETY: by the contract.
        let pictures = images.iter().map(|image| unsafe { picture(image) }).collect::<Result<Vec<_>, _>>()?;
        // SAFETY: by the contract.
        unsafe { look(model, &pictures, params, found) }
    };
    // SAFETY: by the contract.
    unsafe { call(model, act) }
}

/// Finds the objects in an image file of `length` bytes in memory.
///
/// # Safety
/// As for [`detect()`]; `length` bytes are readable at `bytes`, and `found` is one place.
pub unsafe fn detect_file(
    model: *mut Handle,
    bytes: *const u8,
    length: usize,
    params: *const Params,
    found: *mut Found,
) -> i32 {
    let act = |model: &mut Handle| {
        if bytes.is_null() || found.is_null() {
            return Err(null("the image file or the place of its results"));
        }
        // SAFETY: by the contract.
        let bytes = unsafe { from_raw_parts(bytes, length) };
        #[cfg(feature = "image")]
        {
            let limits = crate::picture::Limits::default();
            let picture = crate::picture::Picture::decode(bytes, &limits)
                .map_err(|error| (Status::Image, format!("the image file cannot be read: {error}")))?;
            // SAFETY: by the contract.
            unsafe { look(model, &[picture.as_ref()], params, found) }
        }
        #[cfg(not(feature = "image"))]
        {
            let _ = (model, params, bytes);
            Err((Status::Unsupported, "this library reads no image files: it was built without `image`".to_string()))
        }
    };
    // SAFETY: by the contract.
    unsafe { call(model, act) }
}

fn null(what: &str) -> Failure {
    (Status::Argument, format!("{what} is null"))
}

/// # Safety
/// The pixels are readable up to the end of the last row, for as long as the result lives.
unsafe fn picture<'a>(image: &Image) -> Result<ImageRef<'a>, Failure> {
    let &Image { pixels, width, height, stride } = image;
    if pixels.is_null() {
        return Err(null("the pixels of a picture"));
    }
    let row = width.checked_mul(3);
    let stride = if stride == 0 { row.unwrap_or(0) } else { stride };
    let bytes = row.and_then(|row| stride.checked_mul(height.checked_sub(1)?)?.checked_add(row));
    let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok()).unwrap_or(0);
    // SAFETY: these are the bytes up to the end of the last row; none when the size is senseless.
    let data = unsafe { from_raw_parts(pixels, bytes) };
    ImageRef::with_stride(data, width, height, stride).map_err(|error| (Status::Image, error.to_string()))
}

/// # Safety
/// `params` is null or readable with as many classes as it says; `found` is as many writable places as pictures.
unsafe fn look(
    model: &mut Handle,
    pictures: &[ImageRef<'_>],
    params: *const Params,
    found: *mut Found,
) -> Result<(), Failure> {
    let pipeline = match &mut model.network {
        Network::Detector(pipeline) => pipeline,
        Network::Tensors(_, why) => return Err((Status::NotADetector, why.clone())),
    };
    // SAFETY: by the contract.
    let params = unsafe { params.as_ref() }.map_or_else(detect::Params::default, |params| {
        let classes = (!params.classes.is_null()).then(|| {
            // SAFETY: by the contract.
            let classes = unsafe { from_raw_parts(params.classes, params.class_count) };
            classes.iter().map(|id| *id as usize).collect()
        });
        detect::Params {
            conf_thres: params.conf_thres,
            iou_thres: params.iou_thres,
            max_det: params.max_det as usize,
            classes,
            agnostic: params.agnostic != 0,
            multi_label: params.multi_label != 0,
            resize: if params.stretch != 0 { Resize::Stretch } else { Resize::Letterbox },
        }
    });
    let objects = pipeline.run(pictures, &params).map_err(|error| {
        let status = match error {
            Error::Param { .. } => Status::Param,
            Error::Image { .. } => Status::Image,
            Error::NotADetector { .. } | Error::Unsupported { .. } => Status::NotADetector,
            Error::Run(_) => Status::Tensor,
        };
        (status, error.to_string())
    })?;
    model.found = objects.into_iter().map(Kept::from).collect();
    for (index, kept) in model.found.iter().enumerate() {
        let result = Found {
            count: kept.scores.len(),
            boxes: kept.boxes.as_ptr(),
            scores: kept.scores.as_ptr(),
            class_ids: kept.class_ids.as_ptr(),
        };
        // SAFETY: one place per picture by the contract.
        unsafe { found.add(index).write(result) };
    }
    Ok(())
}
