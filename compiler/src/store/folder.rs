//! The layout of a model's folder.

use super::archive::SUFFIX;
use super::error::Error;
use super::samples::SampleFiles;
use super::{Place, archive};
use std::path::{Path, PathBuf};

/// The model, and what it is deployed with.
const MODEL: &str = "model.onnx";
/// Folder or archive of what a model is deployed with.
pub const DEPLOYMENT: &str = "deployment";

/// Names shown of a folder that holds no model.
const SHOWN: usize = 12;

/// The place of the model in a folder: `model.onnx`, an archive of it, the same in `deployment`, or the only ONNX file.
/// What is deployed comes first when that is asked for.
pub fn place(folder: &Path, name: String, deployed: bool) -> Result<Place, Error> {
    let packed = |name: &str| folder.join(format!("{name}{SUFFIX}"));
    let own = [folder.join(MODEL), packed(MODEL)];
    let deployment = [folder.join(DEPLOYMENT).join(MODEL), packed(DEPLOYMENT)];
    let order = if deployed { [deployment, own] } else { [own, deployment] };
    let file = match order.concat().into_iter().find(|path| path.is_file()) {
        Some(file) => Some(file),
        None => match only_model(folder)? {
            Some(file) => Some(file),
            None if folder.join(DEPLOYMENT).is_dir() => only_model(&folder.join(DEPLOYMENT))?,
            None => None,
        },
    };
    let file = file.ok_or_else(|| Error::Empty { folder: folder.to_path_buf(), found: list(folder) })?;
    Ok(Place { samples: SampleFiles::find(folder)?, ..Place::of_file(file, name) })
}

/// The `model.onnx` of a folder or of the only folder in it, as archives have it, or its only ONNX file.
pub fn only_model(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let entries = entries(folder)?;
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.into_iter().partition(|path| path.is_dir());
    let named = folder.join(MODEL);
    if named.is_file() {
        return Ok(Some(named));
    }
    let models: Vec<PathBuf> = files.into_iter().filter(|f| f.extension().is_some_and(|e| e == "onnx")).collect();
    match (&models[..], &folders[..]) {
        ([only], _) => Ok(Some(only.clone())),
        ([], [only]) if only.join(MODEL).is_file() => Ok(Some(only.join(MODEL))),
        ([], _) => Ok(None),
        _ => Err(Error::Several { folder: folder.to_path_buf(), models: names(&models) }),
    }
}

/// What is in a folder, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let error = |source| Error::Folder { folder: folder.to_path_buf(), source };
    let read = std::fs::read_dir(folder).map_err(error)?;
    let mut entries = read.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(error)?;
    entries.sort();
    Ok(entries)
}

/// What is in a folder, in words.
pub fn list(folder: &Path) -> String {
    match entries(folder) {
        Ok(entries) if entries.is_empty() => "nothing".to_string(),
        Ok(entries) => names(&entries),
        Err(_) => "what cannot be read".to_string(),
    }
}

fn names(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: Vec<String> = paths.iter().take(SHOWN).map(name).collect();
    if paths.len() > SHOWN {
        names.push(format!("{} more", paths.len() - SHOWN));
    }
    names.join(", ")
}

/// A folder as it is, or unpacked from the archive beside its name.
pub fn folder_or_archive(path: &Path) -> Result<(PathBuf, Option<tempfile::TempDir>), Error> {
    if !path.to_string_lossy().ends_with(SUFFIX) {
        return Ok((path.to_path_buf(), None));
    }
    let unpacked = archive::unpacked(path)?;
    Ok((unpacked.path().to_path_buf(), Some(unpacked)))
}
