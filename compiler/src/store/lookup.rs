//! Where stubs are looked up.

use super::error::Error;
use super::stub::Stub;
use super::{Place, folder};
use std::path::PathBuf;

/// A folder of models.
#[derive(Clone, Debug)]
pub struct Root {
    /// The folder.
    pub folder: PathBuf,
    /// Whether `PERISTYLE_MODELS` names it.
    pub told: bool,
}

/// What `PERISTYLE_MODELS` names, then SparseZoo's cache.
pub fn roots() -> Vec<Root> {
    let told = std::env::var_os("PERISTYLE_MODELS").unwrap_or_default();
    let told = std::env::split_paths(&told).filter(|path| !path.as_os_str().is_empty());
    let mut roots: Vec<Root> = told.map(|folder| Root { folder, told: true }).collect();
    let cache = match std::env::var_os("SPARSEZOO_MODELS_PATH").filter(|path| !path.is_empty()) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => std::env::home_dir().map(|home| home.join(".cache/sparsezoo")),
    };
    roots.extend(cache.map(|folder| Root { folder, told: false }));
    roots
}

/// The place of a stub's model.
pub fn place(stub: &Stub, roots: &[Root]) -> Result<Place, Error> {
    if let Some(checkpoint) = stub.parameter("checkpoint") {
        return Err(Error::Checkpoint { stub: stub.to_string(), checkpoint: checkpoint.to_string() });
    }
    let folders = stub.folders();
    for root in roots {
        for name in &folders {
            let path = root.folder.join(name);
            if path.is_dir() {
                return folder::place(&path, stub.name(), stub.parameter("deployment").is_some());
            }
            let file = root.folder.join(format!("{name}.onnx"));
            if file.is_file() {
                return Ok(Place::of_file(file, stub.name()));
            }
        }
    }
    let told = roots.iter().any(|root| root.told);
    // Where a model is to be put: the folder of models, and SparseZoo's own place for it.
    let [own, cached] = [folders.first(), folders.get(1)];
    let place = |root: &Root| root.folder.join(if root.told { own } else { cached }.unwrap_or(&folders[0]));
    Err(Error::NotHere { stub: stub.to_string(), told, places: roots.iter().map(place).collect() })
}
