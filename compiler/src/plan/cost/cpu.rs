//! The processors that costs are predicted for.

use peristyle_runtime::simd::Isa;

/// A class of processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpu {
    /// Name on the command line.
    pub name: &'static str,
    /// What belongs to it.
    pub description: &'static str,
    /// The kernels it runs.
    pub isa: Isa,
    /// Billions of cycles per second while it multiplies.
    pub gigahertz: f64,
    /// Cycles of multiplications, as a multiple of what [`cycles`](super::rates::cycles) says.
    pub multiply: f64,
    /// Cycles of everything else.
    pub other: f64,
    /// Billions of bytes per second that one core reads or writes beyond its own caches.
    pub core_bandwidth: f64,
    /// The same of all cores together.
    pub bandwidth: f64,
    /// Whether its numbers were measured; otherwise they follow from how many instructions of a kind the processor starts
    /// in a cycle.
    pub measured: bool,
}

/// All classes; the first one is the default.
pub const CPUS: &[Cpu] = &[
    Cpu {
        name: "zen3-avx2",
        description: "AMD Zen 3: EPYC 7xx3, Ryzen 5000",
        isa: Isa::Avx2,
        gigahertz: 3.24,
        multiply: 1.0,
        other: 1.0,
        core_bandwidth: 31.0,
        bandwidth: 100.0,
        measured: true,
    },
    // Two loads a cycle instead of three, and the same multipliers.
    Cpu {
        name: "zen2-avx2",
        description: "AMD Zen 2: EPYC 7xx2, Ryzen 3000",
        isa: Isa::Avx2,
        gigahertz: 3.2,
        multiply: 1.15,
        other: 1.1,
        core_bandwidth: 22.0,
        bandwidth: 100.0,
        measured: false,
    },
    // One unit multiplies bytes; 256-bit code lowers the clock a little.
    Cpu {
        name: "haswell-avx2",
        description: "Intel Haswell, Broadwell: Xeon E5 v3, v4",
        isa: Isa::Avx2,
        gigahertz: 2.6,
        multiply: 1.4,
        other: 1.2,
        core_bandwidth: 12.0,
        bandwidth: 55.0,
        measured: false,
    },
    Cpu {
        name: "skylake-avx2",
        description: "Intel Skylake to Comet Lake, Xeon Scalable without VNNI",
        isa: Isa::Avx2,
        gigahertz: 3.0,
        multiply: 1.15,
        other: 1.1,
        core_bandwidth: 14.0,
        bandwidth: 90.0,
        measured: false,
    },
    // Cycles of dot products, as llvm-mca has them for this processor, by those it has for Zen 4.
    Cpu {
        name: "alderlake-avxvnni",
        description: "Intel Alder Lake and later, performance cores: Core of the 12th generation on",
        isa: Isa::AvxVnni,
        gigahertz: 4.5,
        multiply: 1.08,
        other: 1.0,
        core_bandwidth: 25.0,
        bandwidth: 60.0,
        measured: false,
    },
    // Units of 128 bits: every vector instruction is two.
    Cpu {
        name: "gracemont-avxvnni",
        description: "Intel Gracemont and later, efficient cores: N100, N305",
        isa: Isa::AvxVnni,
        gigahertz: 3.2,
        multiply: 1.9,
        other: 1.7,
        core_bandwidth: 15.0,
        bandwidth: 30.0,
        measured: false,
    },
    Cpu {
        name: "icelake-avx512",
        description: "Intel Ice Lake, Sapphire Rapids: Xeon with AVX-512 VNNI",
        isa: Isa::Avx512,
        gigahertz: 2.9,
        multiply: 1.0,
        other: 1.0,
        core_bandwidth: 15.0,
        bandwidth: 180.0,
        measured: false,
    },
    // A 512-bit instruction takes its unit for two cycles.
    Cpu {
        name: "zen4-avx512",
        description: "AMD Zen 4: EPYC 9xx4, Ryzen 7000",
        isa: Isa::Avx512,
        gigahertz: 3.7,
        multiply: 1.75,
        other: 0.95,
        core_bandwidth: 30.0,
        bandwidth: 300.0,
        measured: true,
    },
];

impl Default for Cpu {
    fn default() -> Self {
        CPUS[0]
    }
}

impl Cpu {
    /// The class with this name.
    pub fn named(name: &str) -> Option<Cpu> {
        CPUS.iter().find(|cpu| cpu.name == name).copied()
    }
}
