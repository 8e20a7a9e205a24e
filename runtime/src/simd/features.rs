//! Which instructions an instruction set needs, and which of them this machine has.

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::has;

impl Isa {
    /// All instruction sets, the best first.
    pub const ALL: [Isa; 4] = [Isa::Avx512, Isa::AvxVnni, Isa::Avx2, Isa::Portable];

    /// The instructions that kernels of this set use, and whether this machine and its system have them.
    pub fn features(self) -> Vec<(&'static str, bool)> {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! features {
                ($($name:tt),*) => { vec![$(($name, std::arch::is_x86_feature_detected!($name))),*] };
            }
            match self {
                Isa::Portable => Vec::new(),
                Isa::Avx2 => features!("avx2", "fma"),
                Isa::AvxVnni if !has!("avxvnni") && has!("avx512vnni") => {
                    features!("avx2", "fma", "avx512f", "avx512vl", "avx512vnni")
                }
                Isa::AvxVnni => features!("avx2", "fma", "avxvnni"),
                Isa::Avx512 => {
                    features!("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        match self {
            Isa::Portable => Vec::new(),
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => vec![("x86-64", false)],
        }
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        self.features().iter().all(|(_, there)| *there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_set_with_all_its_features_is_the_one_that_runs() {
        let best = Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap();
        assert_eq!(best, Isa::best());
    }
}
