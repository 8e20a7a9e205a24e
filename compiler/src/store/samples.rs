//! What a model's folder says that the model computes.

use super::archive::SUFFIX;
use super::error::Error;
use super::folder::{entries, folder_or_archive};
use peristyle_runtime::tensor_io::{Array, read_tensors};
use std::path::{Path, PathBuf};

/// Inputs of a run, and the outputs that somebody else's run had.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and arrays of the inputs.
    pub inputs: Vec<(String, Array)>,
    /// The same of the outputs.
    pub outputs: Vec<(String, Array)>,
    /// The file of the inputs, for messages.
    pub file: PathBuf,
}

/// Folders, or archives of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleFiles {
    folder: PathBuf,
    inputs: PathBuf,
    outputs: PathBuf,
}

impl SampleFiles {
    /// `sample-inputs` and `sample-outputs` of a model's folder, with `_` for `-`, with `.tar.gz`, or with the name of an
    /// engine behind the outputs; `None` unless there are both.
    pub fn find(folder: &Path) -> Result<Option<SampleFiles>, Error> {
        let mut found: [Option<PathBuf>; 2] = [None, None];
        // In order of names, so that `sample_outputs` comes before `sample_outputs_deepsparse`.
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().replace('_', "-");
            let plain = if path.is_dir() { Some(name.as_str()) } else { name.strip_suffix(SUFFIX) };
            let at = match plain {
                Some("sample-inputs") => 0,
                Some(outputs) if outputs.starts_with("sample-outputs") => 1,
                _ => continue,
            };
            found[at].get_or_insert(path);
        }
        let [inputs, outputs] = found;
        Ok(inputs.zip(outputs).map(|(inputs, outputs)| SampleFiles { folder: folder.to_path_buf(), inputs, outputs }))
    }

    /// The folders, or the archives.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.inputs, &self.outputs]
            .into_iter()
            .flat_map(|path| if path.is_dir() { entries(path).unwrap_or_default() } else { vec![path.clone()] })
    }

    /// The first sample; `None` when both folders are empty.
    pub fn first(&self) -> Result<Option<Sample>, Error> {
        let (inputs, _inputs) = folder_or_archive(&self.inputs)?;
        let (outputs, _outputs) = folder_or_archive(&self.outputs)?;
        let (inputs, outputs) = (arrays(&inputs)?, arrays(&outputs)?);
        if inputs.len() != outputs.len() {
            let folder = self.folder.clone();
            return Err(Error::Samples { folder, inputs: inputs.len(), outputs: outputs.len() });
        }
        let (Some(input), Some(output)) = (inputs.first(), outputs.first()) else { return Ok(None) };
        let name = input.file_name().unwrap_or_default();
        let file = if self.inputs.is_dir() { input.clone() } else { self.inputs.join(name) };
        Ok(Some(Sample { inputs: read_tensors(input)?, outputs: read_tensors(output)?, file }))
    }
}

/// Files of arrays in a folder or in the only folder in it, sorted by name.
fn arrays(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let all = entries(folder)?;
    if let [only] = &all[..]
        && only.is_dir()
    {
        return arrays(only);
    }
    let is_array = |path: &PathBuf| path.extension().is_some_and(|e| e == "npz" || e == "npy");
    Ok(all.into_iter().filter(is_array).collect())
}
