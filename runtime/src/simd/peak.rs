//! How fast this machine multiplies: loops over registers that touch no memory.

use super::Isa;
use std::time::{Duration, Instant};

/// Multiply-accumulate rate of one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Multiply-accumulates per second.
    pub macs_per_second: f64,
    /// The instructions of the loop, without their operands.
    pub instructions: &'static str,
}

/// Peak rates of one thread on one instruction set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Products and sums of `f32`.
    pub f32: Rate,
    /// Products of `u8` and `i8` in 16- or 32-bit sums.
    pub u8s8: Rate,
}

impl Peak {
    /// Measures for a few milliseconds. The machine must have `isa`, which [`Isa::detect`] tells; a better one than
    /// the machine's counts as the machine's.
    pub fn measure(isa: Isa) -> Peak {
        #[cfg(target_arch = "x86_64")]
        match isa.min(Isa::best()) {
            Isa::Avx512 => {
                // SAFETY: the machine has AVX-512 F.
                let f32 = rate(|n| unsafe { x86::fma_zmm(n) }, 12 * 16, "vfmadd231ps zmm");
                let u8s8 = if std::arch::is_x86_feature_detected!("avx512vnni") {
                    // SAFETY: the machine has AVX-512 VNNI.
                    rate(|n| unsafe { x86::dot_zmm(n) }, 12 * 64, "vpdpbusd zmm")
                } else {
                    // SAFETY: the machine has AVX-512 BW.
                    rate(|n| unsafe { x86::pairs_zmm(n) }, 12 * 64, "vpmaddubsw zmm, vpaddw zmm")
                };
                return Peak { f32, u8s8 };
            }
            isa @ (Isa::AvxVnni | Isa::Avx2) => {
                // SAFETY: the machine has AVX2 and FMA.
                let f32 = rate(|n| unsafe { x86::fma_ymm(n) }, 12 * 8, "vfmadd231ps ymm");
                let u8s8 = if isa == Isa::Avx2 {
                    // SAFETY: as above.
                    rate(|n| unsafe { x86::pairs_ymm(n) }, 12 * 32, "vpmaddubsw ymm, vpaddw ymm")
                } else if super::has!("avxvnni") {
                    // SAFETY: the machine has AVX-VNNI.
                    rate(|n| unsafe { x86::dot_ymm(n) }, 12 * 32, "vpdpbusd ymm")
                } else {
                    // SAFETY: the machine has AVX-512 VL and VNNI, or the instruction set would be a lower one.
                    rate(|n| unsafe { x86::dot_ymm_evex(n) }, 12 * 32, "vpdpbusd ymm")
                };
                return Peak { f32, u8s8 };
            }
            Isa::Portable => {}
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = isa;
        Peak { f32: rate(portable_f32, 64, "f32 multiply, add"), u8s8: rate(portable_i16, 128, "i16 multiply, add") }
    }
}

/// Time of a sample, and how many are taken. The best one counts: whatever interrupts a loop only slows it down.
const SAMPLE: Duration = Duration::from_micros(200);
const SAMPLES: usize = 10;

/// Times `run(rounds)`, which does `macs` multiply-accumulates per round.
fn rate(run: impl Fn(u64), macs: u64, instructions: &'static str) -> Rate {
    let time = |rounds: u64| {
        let start = Instant::now();
        run(rounds);
        start.elapsed()
    };
    let mut rounds = 1024;
    // Until a sample is long enough; by then the core runs at the clock that these instructions get.
    while time(rounds) < SAMPLE && rounds < 1 << 30 {
        rounds *= 2;
    }
    let best = (0..SAMPLES).map(|_| time(rounds)).min().unwrap_or(SAMPLE);
    Rate { macs_per_second: (rounds * macs) as f64 / best.as_secs_f64().max(1e-9), instructions }
}

/// 64 multiply-accumulates per round, in plain Rust.
fn portable_f32(rounds: u64) {
    let mut sums = std::hint::black_box([1.0f32; 32]);
    let (a, b) = std::hint::black_box((0.5f32, 0.5f32));
    for _ in 0..rounds * 2 {
        sums.iter_mut().for_each(|s| *s = *s * a + b);
    }
    std::hint::black_box(sums);
}

/// 128 multiply-accumulates per round, in plain Rust.
fn portable_i16(rounds: u64) {
    let mut sums = std::hint::black_box([1i16; 64]);
    let (a, b) = std::hint::black_box((3i16, 1i16));
    for _ in 0..rounds * 2 {
        sums.iter_mut().for_each(|s| *s = s.wrapping_mul(a).wrapping_add(b));
    }
    std::hint::black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    /// Defines a loop over twelve independent sums, more than the latency of any of these instructions needs.
    ///
    /// `$copy` spreads the low lanes of register 12, all of them 1.0, to the registers 12 and 13, the factors;
    /// `$multiply` is one step of sum `\\i` and may use register 14.
    macro_rules! register_loop {
        ($name:ident, $features:literal, [$($copy:literal),*], [$($multiply:literal),*]) => {
            /// # Safety
            /// The machine has these instruction sets.
            #[target_feature(enable = $features)]
            pub unsafe fn $name(rounds: u64) {
                // SAFETY: registers only, all of them declared as overwritten.
                unsafe {
                    asm!(
                        "vpcmpeqd ymm12, ymm12, ymm12",
                        "vpsrld ymm12, ymm12, 25",
                        "vpslld ymm12, ymm12, 23",
                        $($copy,)*
                        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                        "vxorps ymm\\i, ymm\\i, ymm\\i",
                        ".endr",
                        "2:",
                        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                        $($multiply,)*
                        ".endr",
                        "dec rcx",
                        "jnz 2b",
                        "vzeroupper",
                        inout("rcx") rounds.max(1) => _,
                        clobber_abi("C"),
                        options(nomem, nostack),
                    );
                }
            }
        };
    }

    register_loop!(fma_ymm, "avx2,fma", ["vmovaps ymm13, ymm12"], ["vfmadd231ps ymm\\i, ymm12, ymm13"]);
    register_loop!(
        pairs_ymm,
        "avx2,fma",
        ["vmovaps ymm13, ymm12"],
        ["vpmaddubsw ymm14, ymm12, ymm13", "vpaddw ymm\\i, ymm\\i, ymm14"]
    );
    register_loop!(dot_ymm, "avx2,avxvnni", ["vmovaps ymm13, ymm12"], ["{{vex}} vpdpbusd ymm\\i, ymm12, ymm13"]);
    register_loop!(
        dot_ymm_evex,
        "avx512f,avx512vl,avx512vnni",
        ["vmovaps ymm13, ymm12"],
        ["{{evex}} vpdpbusd ymm\\i, ymm12, ymm13"]
    );
    register_loop!(
        fma_zmm,
        "avx512f",
        ["vbroadcastss zmm12, xmm12", "vmovaps zmm13, zmm12"],
        ["vfmadd231ps zmm\\i, zmm12, zmm13"]
    );
    register_loop!(
        pairs_zmm,
        "avx512f,avx512bw",
        ["vbroadcastss zmm12, xmm12", "vmovaps zmm13, zmm12"],
        ["vpmaddubsw zmm14, zmm12, zmm13", "vpaddw zmm\\i, zmm\\i, zmm14"]
    );
    register_loop!(
        dot_zmm,
        "avx512f,avx512vnni",
        ["vbroadcastss zmm12, xmm12", "vmovaps zmm13, zmm12"],
        ["vpdpbusd zmm\\i, zmm12, zmm13"]
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_of_this_machine_has_a_rate() {
        for isa in Isa::ALL.into_iter().filter(|isa| *isa <= Isa::best()) {
            let peak = Peak::measure(isa);
            for rate in [peak.f32, peak.u8s8] {
                // A tenth of one multiplication per nanosecond is slower than any machine; 10 TMAC/s is faster than any core.
                assert!((1e8..1e13).contains(&rate.macs_per_second), "{}: {rate:?}", isa.name());
            }
        }
    }
}
