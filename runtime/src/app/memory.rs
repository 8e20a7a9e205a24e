//! Memory of this process, where Linux tells.

/// Bytes that the process holds.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Most bytes that the process held at a time.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
