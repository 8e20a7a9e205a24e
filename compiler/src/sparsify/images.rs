//! Calibration images, as the detector will see them.

use super::Error;
use crate::ir::Tensor;
use peristyle_runtime::detect::{Letterbox, Resize};
use peristyle_runtime::picture::{Limits, Picture};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extensions of the files that are taken from a folder.
const EXTENSIONS: &[&str] = &["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"];

/// The images of a folder in the order of their names, at most `most`, evenly spread when there are more.
///
/// # Errors
/// When the folder cannot be read or holds no images.
pub fn list(folder: &Path, most: usize) -> Result<Vec<PathBuf>, Error> {
    let fail = |reason: String| Error::Images { path: folder.to_path_buf(), reason };
    let entries = std::fs::read_dir(folder)
        .map_err(|error| fail(format!("{error}; pass a folder of pictures like those the detector will see")))?;
    let is_image = |path: &PathBuf| {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        path.is_file() && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_image).collect();
    if paths.is_empty() {
        return Err(fail("there are no images in it (JPEG, PNG, WebP, BMP, TIFF, GIF)".to_owned()));
    }
    paths.sort();
    let total = paths.len();
    let taken = total.min(most);
    Ok((0..taken).map(|i| std::mem::take(&mut paths[i * total / taken])).collect())
}

/// Reads images and fits them into network inputs of `[height, width]`, levels 0 to 1. Returns a hash of the files too.
///
/// # Errors
/// When a file is no image.
pub fn read(paths: &[PathBuf], [height, width]: [usize; 2]) -> Result<(Vec<Arc<Tensor>>, Vec<u8>), Error> {
    let read = |path: &PathBuf| -> Result<(Arc<Tensor>, Vec<u8>), Error> {
        let fail = |reason: String| Error::Images { path: path.clone(), reason };
        let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let picture = Picture::decode(&bytes, &Limits::default()).map_err(|error| fail(error.to_string()))?;
        let mut planes = vec![0.0; 3 * height * width];
        Letterbox::new().write_f32(&picture.as_ref(), Resize::Letterbox, [width, height], &mut planes);
        Ok((Arc::new(Tensor::f32([1, 3, height, width], planes)), Sha256::digest(&bytes).to_vec()))
    };
    let read: Vec<(Arc<Tensor>, Vec<u8>)> = paths.par_iter().map(read).collect::<Result<_, _>>()?;
    let mut hash = Sha256::new();
    read.iter().for_each(|(_, digest)| hash.update(digest));
    Ok((read.into_iter().map(|(tensor, _)| tensor).collect(), hash.finalize().to_vec()))
}
