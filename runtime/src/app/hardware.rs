//! What machine this is, as far as Linux tells.

use std::collections::BTreeSet;
use std::path::Path;

/// A processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Who made it, in the words of the processor: `AuthenticAMD`.
    pub vendor: String,
    /// Its name.
    pub model: String,
    /// Logical CPUs.
    pub logical: usize,
    /// Cores; fewer than logical CPUs when each runs several threads.
    pub cores: usize,
    /// Sockets.
    pub sockets: usize,
    /// NUMA nodes.
    pub nodes: usize,
    /// Caches of the first CPU, from the nearest.
    pub caches: Vec<Cache>,
    /// Instructions that matter to neural networks and that the processor has.
    pub flags: Vec<String>,
}

/// A cache of the first CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// 1 to 3.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// In the words of the system: `48K`.
    pub size: String,
    /// Logical CPUs that share it.
    pub shared: usize,
}

/// Instructions worth knowing about, as Linux names them.
const FLAGS: &[&str] = &[
    "sse4_1",
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
];

impl Hardware {
    /// This machine.
    pub fn detect() -> Self {
        Self::read(|path| std::fs::read_to_string(path).ok())
    }

    /// The machine whose files `read` gives.
    pub fn read(read: impl Fn(&Path) -> Option<String>) -> Self {
        let info = read(Path::new("/proc/cpuinfo")).unwrap_or_default();
        let all = |key: &str| -> Vec<String> {
            let lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned()).collect()
        };
        let first = |keys: &[&str]| keys.iter().find_map(|key| all(key).first().cloned());
        let logical = all("processor").len().max(1);
        let sockets = all("physical id");
        let pairs: BTreeSet<_> = sockets.iter().cloned().zip(all("core id")).collect();
        let flags = first(&["flags", "Features"]).unwrap_or_default();
        let flags: BTreeSet<&str> = flags.split_whitespace().collect();
        let nodes = read(Path::new("/sys/devices/system/node/online")).map_or(1, |text| count(&text));
        Self {
            vendor: first(&["vendor_id", "CPU implementer"]).unwrap_or_else(|| "Unknown".into()),
            model: first(&["model name"]).unwrap_or_else(|| std::env::consts::ARCH.into()),
            logical,
            cores: if pairs.is_empty() { logical } else { pairs.len() },
            sockets: sockets.iter().collect::<BTreeSet<_>>().len().max(1),
            nodes,
            caches: (0..8).map_while(|index| Cache::read(&read, index)).collect(),
            flags: FLAGS.iter().filter(|flag| flags.contains(*flag)).map(|flag| (*flag).to_owned()).collect(),
        }
    }
}

impl Cache {
    fn read(read: &impl Fn(&Path) -> Option<String>, index: usize) -> Option<Self> {
        let file = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
            Some(read(Path::new(&path))?.trim().to_owned())
        };
        Some(Self {
            level: file("level")?.parse().ok()?,
            kind: file("type")?,
            size: file("size")?,
            shared: file("shared_cpu_list").map_or(1, |list| count(&list)),
        })
    }
}

/// How many numbers a list such as `0-3,8` holds, at least one.
fn count(list: &str) -> usize {
    let range = |part: &str| match part.trim().split_once('-') {
        Some((first, last)) => Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1),
        None => part.trim().parse::<usize>().ok().map(|_| 1),
    };
    list.split(',').filter_map(range).sum::<usize>().max(1)
}

/// How the system chooses the clock of the first CPU, where it says.
pub fn governor() -> Option<String> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_sockets_are_counted_once() {
        let processor = |n: usize, socket: usize, core: usize| {
            format!(
                "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Some CPU\nphysical id\t: {socket}\n\
                 core id\t\t: {core}\nflags\t\t: fpu avx avx2 fma avx512_vnni\n\n"
            )
        };
        let info: String = (0..8).map(|n| processor(n, n / 4, n % 2)).collect();
        let hardware = Hardware::read(|path| match path.to_str()? {
            "/proc/cpuinfo" => Some(info.clone()),
            "/sys/devices/system/node/online" => Some("0-1\n".into()),
            "/sys/devices/system/cpu/cpu0/cache/index0/level" => Some("1\n".into()),
            "/sys/devices/system/cpu/cpu0/cache/index0/type" => Some("Data\n".into()),
            "/sys/devices/system/cpu/cpu0/cache/index0/size" => Some("48K\n".into()),
            "/sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list" => Some("0,4\n".into()),
            _ => None,
        });
        assert_eq!((hardware.logical, hardware.cores, hardware.sockets, hardware.nodes), (8, 4, 2, 2));
        assert_eq!(hardware.flags, ["avx", "avx2", "fma", "avx512_vnni"]);
        assert_eq!(hardware.caches, [Cache { level: 1, kind: "Data".into(), size: "48K".into(), shared: 2 }]);
    }

    #[test]
    fn a_system_that_tells_nothing_has_one_core() {
        let hardware = Hardware::read(|_| None);
        assert_eq!((hardware.logical, hardware.cores, hardware.sockets, hardware.nodes), (1, 1, 1, 1));
    }
}
