//! Instruction sets: what this machine has, and the arithmetic the kernels are defined by.

pub mod math;

/// An instruction set that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, any target.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL as well.
    Avx512,
}

impl Isa {
    /// The best instruction set of this machine. `PERISTYLE_ISA=portable` (or `avx2`, `avx512`) lowers it, never raises it.
    pub fn detect() -> Isa {
        let best = Isa::best();
        match std::env::var("PERISTYLE_ISA").as_deref() {
            Ok("portable") => Isa::Portable,
            Ok("avx2") => best.min(Isa::Avx2),
            _ => best,
        }
    }

    fn best() -> Isa {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            let avx512 = std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512dq")
                && std::arch::is_x86_feature_detected!("avx512vl");
            return if avx512 { Isa::Avx512 } else { Isa::Avx2 };
        }
        Isa::Portable
    }

    /// Name as `PERISTYLE_ISA` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}
