//! Tensors in files: NumPy's `.npy` and `.npz`.
//!
//! Reading trusts nothing: sizes are checked against the bytes at hand before anything is allocated, and what an
//! `.npz` unpacks to is limited.

mod array;
mod atomic;
mod error;
mod header;
mod npy;
#[cfg(feature = "npz")]
mod npz;
#[cfg(test)]
mod tests;

pub use array::Array;
pub use atomic::write_atomically;
pub use error::{Error, Fault};
pub use npy::{read_npy, write_npy};
#[cfg(feature = "npz")]
pub use npz::{read_npz, write_npz};

use header::MAGIC as NPY_MAGIC;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads every array of an `.npy` or `.npz` file, told apart by their first bytes. An `.npy` has one array whose name
/// is empty; the members of an `.npz` come in the order of the file, named without `.npy`.
///
/// # Errors
/// Names the file, the member and the fault.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Array)>, Error> {
    let fault = |fault: Fault| Error { path: path.to_owned(), fault };
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(|e| fault(Fault::Io(e)))?;
    // Whatever has no end, as a device may, has no such start either.
    file.by_ref().take(NPY_MAGIC.len() as u64).read_to_end(&mut bytes).map_err(|e| fault(Fault::Io(e)))?;
    if !bytes.starts_with(b"PK") && !bytes.starts_with(NPY_MAGIC) {
        return Err(fault(Fault::NotNumPy));
    }
    file.read_to_end(&mut bytes).map_err(|e| fault(Fault::Io(e)))?;
    if bytes.starts_with(b"PK") {
        return unpack(&bytes).map_err(fault);
    }
    Ok(vec![(String::new(), read_npy(&bytes).map_err(fault)?)])
}

#[cfg(feature = "npz")]
fn unpack(bytes: &[u8]) -> Result<Vec<(String, Array)>, Fault> {
    read_npz(bytes)
}

#[cfg(not(feature = "npz"))]
fn unpack(_: &[u8]) -> Result<Vec<(String, Array)>, Fault> {
    Err(Fault::NpzLeftOut)
}

/// Writes an array as `.npy`. The file appears whole or not at all.
///
/// # Errors
/// Names the file and what the operating system says.
pub fn write_tensor(path: &Path, array: &Array) -> Result<(), Error> {
    write_atomically(path, &write_npy(array)).map_err(|e| Error { path: path.to_owned(), fault: Fault::Io(e) })
}
