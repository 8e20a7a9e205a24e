//! What can be wrong with a file of tensors.

use std::path::PathBuf;

/// A fault and the file it is in.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with the bytes of a file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Fault {
    #[error("{0}")]
    Io(std::io::Error),
    #[error("neither an .npy nor an .npz file")]
    NotNumPy,
    #[error(".npy version {0}.{1} is unknown")]
    Version(u8, u8),
    #[error("cut short within the .npy header")]
    Truncated,
    #[error("malformed .npy header: {0}")]
    Header(&'static str),
    #[error("elements of type '{0}' cannot be read; f2, f4, f8, u1, i1, i4 and i8 can")]
    DType(String),
    #[error("shape {shape:?} of '{descr}' does not fit {bytes} bytes of data")]
    Length { shape: Vec<usize>, descr: String, bytes: usize },
    #[error(".npz files cannot be read: the program was built without them")]
    NpzLeftOut,
    #[error("damaged .npz file: {0}")]
    Zip(String),
    #[error("unpacks to more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("member '{name}': {fault}")]
    Member { name: String, fault: Box<Fault> },
}
