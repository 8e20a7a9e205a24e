//! Why an engine does not start.

use super::MAX_THREADS;
use super::validate::ProgramError;

/// An engine that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// More threads than can work together: without the feature `std` there is only the caller's own.
    #[error("at most {MAX_THREADS} can work together")]
    TooManyThreads,
    /// There is no such memory.
    #[error("no memory for {} MB of working memory", bytes >> 20)]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The program reads or writes where it may not.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The operating system refuses a thread.
    #[cfg(feature = "std")]
    #[error(transparent)]
    Thread(#[from] std::io::Error),
}

#[cfg(feature = "std")]
impl From<StartError> for std::io::Error {
    fn from(error: StartError) -> std::io::Error {
        use std::io::{Error, ErrorKind};
        match error {
            StartError::Thread(error) => error,
            StartError::TooManyThreads => Error::other(error),
            StartError::Memory { .. } => Error::new(ErrorKind::OutOfMemory, error),
            StartError::Program(error) => Error::new(ErrorKind::InvalidData, error),
        }
    }
}
