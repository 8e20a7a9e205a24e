//! Tensor data kept in files beside the model.

use super::error::Error;
use super::proto::TensorProto;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

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
    let inside = !file.as_os_str().is_empty()
        && file.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(fail("the path leaves the model's folder".to_owned()));
    }
    let io = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => fail(format!("there is no such file in `{}`: copy it there", base_dir.display())),
        _ => fail(format!("{error} (in `{}`)", base_dir.display())),
    };
    let folder = base_dir.canonicalize().map_err(io)?;
    let path = folder.join(&file).canonicalize().map_err(io)?;
    if !path.starts_with(&folder) {
        return Err(fail("the path leads out of the model's folder through a link".to_owned()));
    }
    let mut source = File::open(&path).map_err(io)?;
    let metadata = source.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(fail("it is not a file".to_owned()));
    }
    let stored = metadata.len();
    if offset.checked_add(bytes as u64).is_none_or(|end| end > stored) {
        return Err(fail(format!("{bytes} bytes at offset {offset} are needed, the file has {stored}")));
    }
    let mut data = vec![0; bytes];
    source.seek(SeekFrom::Start(offset)).map_err(io)?;
    source.read_exact(&mut data).map_err(io)?;
    Ok(data)
}
