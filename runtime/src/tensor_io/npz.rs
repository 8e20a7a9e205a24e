//! The `.npz` format: a zip archive of `.npy` files.

use super::atomic::write_atomically;
use super::{Array, Error, Fault, read_npy, write_npy};
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// What all members of an archive may unpack to, in bytes.
const UNPACKED_LIMIT: u64 = 1 << 30;

/// Reads every member of an `.npz` file, in the order of the archive.
///
/// # Errors
/// When the archive is damaged, unpacks to more than 1 GiB, or holds something that [`read_npy`] refuses.
pub fn read_npz(file: &[u8]) -> Result<Vec<(String, Array)>, Fault> {
    read_limited(file, UNPACKED_LIMIT)
}

pub(super) fn read_limited(file: &[u8], limit: u64) -> Result<Vec<(String, Array)>, Fault> {
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(damaged)?;
    let mut arrays = Vec::new();
    let mut left = limit;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(damaged)?;
        if member.is_dir() {
            continue;
        }
        let name = member.name().strip_suffix(".npy").unwrap_or(member.name()).to_owned();
        let within = |fault: Fault| Fault::Member { name: name.clone(), fault: Box::new(fault) };
        // The declared size may lie; what is really unpacked is what counts.
        let mut bytes = Vec::new();
        let unpacked = member.by_ref().take(left + 1).read_to_end(&mut bytes);
        unpacked.map_err(|e| within(Fault::Zip(e.to_string())))?;
        left = left.checked_sub(bytes.len() as u64).ok_or(Fault::TooLarge { limit })?;
        arrays.push((name.clone(), read_npy(&bytes).map_err(within)?));
    }
    Ok(arrays)
}

fn damaged(error: ZipError) -> Fault {
    Fault::Zip(error.to_string())
}

/// Writes named arrays as a compressed `.npz`. The file appears whole or not at all; equal arrays give equal bytes.
///
/// # Errors
/// Names the file and what is wrong.
pub fn write_npz(path: &Path, arrays: &[(String, Array)]) -> Result<(), Error> {
    let fault = |fault: Fault| Error { path: path.to_owned(), fault };
    let bytes = pack(arrays).map_err(|e| fault(damaged(e)))?;
    write_atomically(path, &bytes).map_err(|e| fault(Fault::Io(e)))
}

pub(super) fn pack(arrays: &[(String, Array)]) -> Result<Vec<u8>, ZipError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        let bytes = write_npy(array);
        let large = u32::try_from(bytes.len()).is_err();
        writer.start_file(format!("{name}.npy"), options.large_file(large))?;
        writer.write_all(&bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}
