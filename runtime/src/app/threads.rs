//! How many cores this process may use.

use crate::engine::MAX_THREADS;
use std::io;

/// Logical cores that this process may keep busy, at least one.
///
/// On Linux this is the number of CPUs in the scheduling affinity mask (`taskset`, cpusets), but no more than the
/// control group's CPU quota, version 1 or 2, of the process's group and of the groups above it. A quota is rounded
/// down: 1.5 CPUs give one core, because a second busy thread would be throttled for half of every period; a quota
/// below one CPU still gives one.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Refuses more threads than one process can sensibly have, of all engines together.
///
/// # Errors
/// With the limit.
pub fn expect_startable(threads: usize) -> io::Result<()> {
    if threads <= MAX_THREADS {
        return Ok(());
    }
    Err(io::Error::other(format!("at most {MAX_THREADS} can work together")))
}

/// The processor's name as the operating system reports it.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
