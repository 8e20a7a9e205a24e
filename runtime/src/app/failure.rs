//! How a command ends when it does not end well.

use std::io;

/// Why a command stopped.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that cannot be; exit code 2.
    Usage(String),
    /// Anything else, in one line; exit code 1.
    Failed(String),
    /// Each problem was already written to the error output; exit code 1.
    Reported,
    /// The user stopped the program; what was done is saved; exit code 130.
    Interrupted,
    /// Whoever read the output went away; nothing is said.
    OutputClosed,
}

impl Failure {
    /// A failure in one line.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// Threads that the system does not grant; `option` chooses how many they are.
    pub fn threads(threads: usize, error: &io::Error, option: &str) -> Self {
        let plural = if threads == 1 { "" } else { "s" };
        Self::new(format_args!("cannot start {threads} thread{plural}: {error}; pass a smaller {option}"))
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Reported => 1,
            Self::Interrupted => 130,
            Self::OutputClosed => 0,
        }
    }
}

/// For writing to the program's output; failures of files are reported with their path instead.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}
