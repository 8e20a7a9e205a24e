//! Models by file, by folder, or by the stub that SparseZoo knew them under.
//!
//! SparseZoo's service ended on 2025-06-02; what people keep of it are its folders. A stub is looked up below
//! `PERISTYLE_MODELS`, one or more folders, and in the cache that SparseZoo left behind. Nothing is downloaded.

mod archive;
mod error;
mod folder;
mod lookup;
mod samples;
mod stub;
#[cfg(test)]
mod tests;

pub use error::{ArchiveFault, Error, StubFault};
pub use samples::Sample;
pub use stub::{Joined, Stub, StubPath};

use samples::SampleFiles;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Variables that say where models are.
pub const VARIABLES: &[&str] = &["PERISTYLE_MODELS", "SPARSEZOO_MODELS_PATH", "HOME"];

/// Where a model lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The ONNX file, or the archive that holds it.
    pub file: PathBuf,
    /// What to call the model.
    pub name: String,
    /// Where it comes from, in a few words: its file name, that behind its folder's, or its stub.
    pub source: String,
    /// Its sample inputs and outputs.
    samples: Option<SampleFiles>,
}

/// A model that can be read.
#[derive(Debug)]
pub struct Opened {
    /// The ONNX file.
    pub model: PathBuf,
    /// Whether it was unpacked: then it goes away with this.
    pub unpacked: Option<TempDir>,
}

impl Place {
    /// The place of a file, of a folder with a `model.onnx` in it, or of a stub. Paths are relative to `base`.
    ///
    /// # Errors
    /// When there is no model, or more than one.
    pub fn find(model: &Path, base: &Path) -> Result<Place, Error> {
        Place::find_in(model, base, &lookup::roots())
    }

    fn find_in(model: &Path, base: &Path, roots: &[lookup::Root]) -> Result<Place, Error> {
        let path = base.join(model);
        let name = name(model, base);
        if path.is_dir() {
            let mut place = folder::place(&path, name, false)?;
            place.source = format!("{}/{}", place.name, place.source);
            return Ok(place);
        }
        // A device or a pipe is for the reader to refuse.
        if path.exists() {
            return Ok(Place::of_file(path, name));
        }
        match as_stub(model)? {
            Some(stub) => Ok(Place { source: stub.to_string(), ..lookup::place(&stub, roots)? }),
            None => Err(Error::Missing { path: model.to_path_buf(), base: base.to_path_buf() }),
        }
    }

    /// That of an ONNX file with nothing beside it.
    pub fn of_file(file: PathBuf, name: String) -> Place {
        let source = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Place { file, name, source, samples: None }
    }

    /// Unpacks the model when it is in an archive.
    ///
    /// # Errors
    /// When the archive is not as it should be.
    pub fn open(&self) -> Result<Opened, Error> {
        if !is_archive(&self.file) {
            return Ok(Opened { model: self.file.clone(), unpacked: None });
        }
        let folder = archive::unpacked(&self.file)?;
        let model = folder::only_model(folder.path())?
            .ok_or_else(|| Error::Empty { folder: self.file.clone(), found: folder::list(folder.path()) })?;
        Ok(Opened { model, unpacked: Some(folder) })
    }

    /// The first of the sample inputs with the outputs that belong to it, when there are any.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sample(&self) -> Result<Option<Sample>, Error> {
        self.samples.as_ref().map_or(Ok(None), SampleFiles::first)
    }

    /// Every file that the model and its samples are read from.
    pub fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.file.clone()).chain(self.samples.iter().flat_map(SampleFiles::files)).collect()
    }
}

/// What a model is called: a file by its name, a folder by its own, a stub by its architecture and what was done to it.
pub fn name(model: &Path, base: &Path) -> String {
    let path = base.join(model);
    let text = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if path.is_dir() {
        let path = path.canonicalize().unwrap_or(path);
        let parent = path.parent().filter(|_| text(&path) == folder::DEPLOYMENT);
        return text(parent.unwrap_or(&path));
    }
    if !path.exists()
        && let Ok(Some(stub)) = as_stub(model)
    {
        return stub.name();
    }
    let name = text(model);
    let name = name.strip_suffix(archive::SUFFIX).unwrap_or(&name);
    name.strip_suffix(".onnx").unwrap_or(name).to_string()
}

/// The stub that a model argument is, when it is none of a path.
fn as_stub(model: &Path) -> Result<Option<Stub>, Error> {
    let Some(text) = model.to_str() else { return Ok(None) };
    match text.parse::<Stub>() {
        Ok(stub) => Ok(Some(stub)),
        Err(fault) if text.starts_with(stub::PREFIX) => Err(Error::Stub { text: text.to_string(), fault }),
        Err(_) => Ok(None),
    }
}

fn is_archive(path: &Path) -> bool {
    path.to_string_lossy().ends_with(archive::SUFFIX)
}
