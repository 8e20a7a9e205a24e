//! The CPU time that control groups grant this process.

use std::path::{Path, PathBuf};

/// Whole CPUs of the smallest quota, at least one, of the process's control group and the groups above it, version 1
/// and 2; `None` without a quota.
///
/// `read` gives the text of a file, `None` where there is none. A quota is rounded down: 1.5 CPUs give one, because a
/// second busy thread would be throttled for half of every period.
pub fn cpu_quota(read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    let quotas = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let quota = if controllers.is_empty() { quota_v2 } else { quota_v1 };
        let serves = |mount: &&Mount<'_>| match mount.kind {
            "cgroup2" => controllers.is_empty(),
            _ => mount.options.split(',').any(|o| o == "cpu") && controllers.split(',').any(|c| c == "cpu"),
        };
        let mount = mounts.iter().find(serves)?;
        mount.directories(path).iter().filter_map(|dir| quota(&read, dir)).min_by(f64::total_cmp)
    });
    let cpus = quotas.min_by(f64::total_cmp)?;
    Some((cpus as usize).max(1))
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn quota_v2(read: &dyn Fn(&Path) -> Option<String>, directory: &Path) -> Option<f64> {
    let text = read(&directory.join("cpu.max"))?;
    let mut words = text.split_ascii_whitespace().map(str::parse::<f64>);
    ratio(words.next()?.ok()?, words.next()?.ok()?)
}

/// Quota and period in microseconds; a quota of -1 is none.
fn quota_v1(read: &dyn Fn(&Path) -> Option<String>, directory: &Path) -> Option<f64> {
    let number = |file: &str| read(&directory.join(file))?.trim().parse::<f64>().ok();
    ratio(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn ratio(quota: f64, period: f64) -> Option<f64> {
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// A mounted hierarchy of control groups.
struct Mount<'a> {
    /// The group that is mounted.
    root: &'a str,
    /// Where.
    point: &'a str,
    /// `cgroup` or `cgroup2`.
    kind: &'a str,
    /// Of the hierarchy; version 1 lists its controllers here.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of `mountinfo`, when it is a hierarchy of control groups.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut system = system.split(' ');
        let (root, point) = (mount.next()?, mount.next()?);
        let (kind, _device, options) = (system.next()?, system.next()?, system.next()?);
        kind.starts_with("cgroup").then_some(Self { root, point, kind, options })
    }

    /// Directories of a group and of all groups above it that are visible here.
    ///
    /// A container may see its own group mounted as the top while the path still counts from the host's top.
    fn directories(&self, group: &str) -> Vec<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).unwrap_or(Path::new(""));
        let top = Path::new(self.point);
        let below = below.strip_prefix("/").unwrap_or(below);
        below.ancestors().map(|path| top.join(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quota where these files exist: path and text.
    fn quota(files: &[(&str, &str)]) -> Option<usize> {
        cpu_quota(|path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned()))
    }

    const V2: &str =
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
    const V1: &str = "33 32 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      34 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn version_two_reads_its_group_and_those_above() {
        let files = |group: &'static str, own: &'static str, above: &'static str| {
            vec![
                ("/proc/self/cgroup", group),
                ("/proc/self/mountinfo", V2),
                ("/sys/fs/cgroup/a/b/cpu.max", own),
                ("/sys/fs/cgroup/a/cpu.max", above),
            ]
        };
        assert_eq!(quota(&files("0::/a/b\n", "300000 100000\n", "max 100000\n")), Some(3));
        assert_eq!(quota(&files("0::/a/b\n", "300000 100000\n", "250000 100000\n")), Some(2));
        assert_eq!(quota(&files("0::/a/b\n", "max 100000\n", "150000 100000\n")), Some(1));
        assert_eq!(quota(&files("0::/a/b/c\n", "max 100000\n", "20000 100000\n")), Some(1), "less than a CPU is one");
        assert_eq!(quota(&files("0::/a/b\n", "max 100000\n", "max 100000\n")), None);
        assert_eq!(quota(&files("0::/elsewhere\n", "100000 100000\n", "100000 100000\n")), None);
        assert_eq!(quota(&files("0::/a/b\n", "nonsense", "")), None);
    }

    #[test]
    fn version_two_in_a_container_is_mounted_at_its_own_group() {
        let namespaced = [
            ("/proc/self/cgroup", "0::/\n"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/cpu.max", "400000 100000"),
        ];
        assert_eq!(quota(&namespaced), Some(4));
        let host_path = [
            ("/proc/self/cgroup", "0::/docker/5eed\n"),
            ("/proc/self/mountinfo", "30 22 0:26 /docker/5eed /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
            ("/sys/fs/cgroup/cpu.max", "200000 100000"),
        ];
        assert_eq!(quota(&host_path), Some(2));
    }

    #[test]
    fn version_one_reads_the_hierarchy_of_the_cpu_controller() {
        let files = |quota: &'static str, period: &'static str| {
            vec![
                ("/proc/self/cgroup", "5:memory:/other\n4:cpu,cpuacct:/a\n1:name=systemd:/a\n0::/a\n"),
                ("/proc/self/mountinfo", V1),
                ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", quota),
                ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", period),
            ]
        };
        assert_eq!(quota(&files("350000\n", "100000\n")), Some(3));
        assert_eq!(quota(&files("-1\n", "100000\n")), None);
        assert_eq!(quota(&files("100000\n", "0\n")), None);
    }

    #[test]
    fn no_control_groups_are_no_quota() {
        assert_eq!(quota(&[]), None);
        assert_eq!(quota(&[("/proc/self/cgroup", "0::/\n"), ("/proc/self/mountinfo", "")]), None);
    }
}
