//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a new file beside `path` and renames it, so that a reader never meets half of it.
///
/// # Errors
/// Those of the operating system; nothing is left behind then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut unfinished_name = OsString::from(".");
    unfinished_name.push(name);
    unfinished_name.push(format!(".{}.{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    let unfinished = path.with_file_name(unfinished_name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
        file.write_all(bytes)?;
        drop(file);
        fs::rename(&unfinished, path)
    };
    write().inspect_err(|_| {
        // The file may not have come into being; the error that counts is the first.
        let _ = fs::remove_file(&unfinished);
    })
}
