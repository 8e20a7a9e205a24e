//! On which CPUs the calling thread may run.

/// CPUs that the calling thread may run on, ascending; `None` where the system does not tell.
pub fn allowed() -> Option<Vec<usize>> {
    #[cfg(target_os = "linux")]
    {
        let mut set = empty();
        // SAFETY: the set is as large as is said; 0 is the calling thread.
        let told = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
        // SAFETY: every CPU number is below the size of a set.
        let is_set = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
        (told == 0).then(|| (0..libc::CPU_SETSIZE as usize).filter(is_set).collect())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Keeps the calling thread, and threads that it starts from now on, on these CPUs. Returns whether the system agreed;
/// nothing changes when it did not.
pub fn restrict(cpus: &[usize]) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut set = empty();
        for &cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
            // SAFETY: the number is below the size of a set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        // SAFETY: the set is as large as is said; 0 is the calling thread.
        !cpus.is_empty() && unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } == 0
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = cpus;
        false
    }
}

#[cfg(target_os = "linux")]
fn empty() -> libc::cpu_set_t {
    // SAFETY: a set is an array of numbers; zeros are the empty one.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_stay_where_they_are_put() {
        std::thread::spawn(|| {
            let Some(all) = allowed() else { return };
            let last = *all.last().expect("a thread runs somewhere");
            if restrict(&[last]) {
                assert_eq!(allowed().unwrap(), [last]);
                assert!(restrict(&all), "as before");
            }
            assert!(!restrict(&[]));
        })
        .join()
        .unwrap();
    }
}
