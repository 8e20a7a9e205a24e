//! How many cores this process may use.

use super::quota::cpu_quota;
use crate::engine::MAX_THREADS;
use std::io;

/// Logical cores that this process may keep busy, at least one.
///
/// On Linux this is the number of CPUs in the scheduling affinity mask (`taskset`, cpusets), but no more than the
/// CPU quota of its control groups.
pub fn available_cores() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cpu_quota(|path| std::fs::read_to_string(path).ok()).map_or(allowed, |quota| allowed.min(quota))
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

/// Those of `allowed` that are on the same NUMA node as `cpu`; all of them where the system does not tell.
pub fn cores_of_node(cpu: usize, allowed: &[usize]) -> Vec<usize> {
    let node = |cpu: usize| {
        let entries = std::fs::read_dir(format!("/sys/devices/system/cpu/cpu{cpu}")).ok()?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter_map(|name| name.strip_prefix("node")?.parse::<usize>().ok()).next()
    };
    let own = node(cpu);
    allowed.iter().copied().filter(|&other| own.is_none() || node(other) == own).collect()
}

/// The processor's name as the operating system reports it.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
