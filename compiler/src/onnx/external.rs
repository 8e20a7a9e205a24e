//! Tensor data kept in files beside the model.

use super::error::Error;
use super::proto::tensor_proto::DataLocation;
use super::proto::{ModelProto, TensorProto};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The path of a file of external data, which must lie inside `base_dir`.
fn locate(file: &Path, base_dir: &Path) -> Result<PathBuf, String> {
    let inside = !file.as_os_str().is_empty()
        && file.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err("the path leaves the model's folder".to_owned());
    }
    let folder = base_dir.canonicalize().map_err(|e| explain(&e, base_dir))?;
    let path = folder.join(file).canonicalize().map_err(|e| explain(&e, base_dir))?;
    if !path.starts_with(&folder) {
        return Err("the path leads out of the model's folder through a link".to_owned());
    }
    if !path.is_file() {
        return Err("it is not a file".to_owned());
    }
    Ok(path)
}

fn explain(error: &std::io::Error, base_dir: &Path) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("there is no such file in `{}`: copy it there", base_dir.display()),
        _ => format!("{error} (in `{}`)", base_dir.display()),
    }
}

/// The files of external data that a model names and that are there, each once, in the order of their names.
pub(super) fn files(model: &ModelProto, base_dir: &Path) -> Vec<PathBuf> {
    let Some(graph) = &model.graph else { return Vec::new() };
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let constants = attributes.clone().filter_map(|attribute| attribute.t.as_ref());
    let sparse = graph.sparse_initializer.iter().chain(attributes.filter_map(|a| a.sparse_tensor.as_ref()));
    let parts = sparse.flat_map(|tensor| tensor.values.iter().chain(&tensor.indices));
    let tensors = graph.initializer.iter().chain(constants).chain(parts);
    let external = tensors.filter(|tensor| tensor.data_location() == DataLocation::External);
    let locations: BTreeSet<&str> = external
        .flat_map(|tensor| tensor.external_data.iter().filter(|e| e.key() == "location").map(|e| e.value()))
        .collect();
    locations.into_iter().filter(|file| locate(Path::new(file), base_dir).is_ok()).map(|f| base_dir.join(f)).collect()
}

/// Reads the bytes of a tensor whose data is external; `bytes` is what its shape and element type require.
/// The file must lie inside `base_dir`, also after following links.
pub(super) fn read(tensor: &TensorProto, bytes: Option<usize>, base_dir: Option<&Path>) -> Result<Vec<u8>, Error> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key() == key).map(|e| e.value());
    let file = PathBuf::from(entry("location").unwrap_or_default());
    let fail = |reason: String| Error::ExternalData { tensor: tensor.name().to_owned(), file: file.clone(), reason };
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(n) => Ok(Some(n)),
            Err(_) => Err(fail(format!("its {key} `{text}` is not a number"))),
        },
    };
    let bytes = bytes.ok_or_else(|| fail("its shape is too large".to_owned()))?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if length.is_some_and(|length| length != bytes as u64) {
        return Err(fail(format!("{} bytes are stored, its shape and type require {bytes}", length.unwrap_or(0))));
    }
    let base_dir =
        base_dir.ok_or_else(|| fail("the model's folder is not known: import the model from a file".into()))?;
    let path = locate(&file, base_dir).map_err(fail)?;
    let io = |error| fail(explain(&error, base_dir));
    let mut source = File::open(&path).map_err(io)?;
    let stored = source.metadata().map_err(io)?.len();
    if offset.checked_add(bytes as u64).is_none_or(|end| end > stored) {
        return Err(fail(format!("{bytes} bytes at offset {offset} are needed, the file has {stored}")));
    }
    let mut data = vec![0; bytes];
    source.seek(SeekFrom::Start(offset)).map_err(io)?;
    source.read_exact(&mut data).map_err(io)?;
    Ok(data)
}
