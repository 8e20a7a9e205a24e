//! `check`: which kernels run on this machine, and why.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Map, Value, json};

use super::Context;
use crate::app::available_cores;
use crate::app::failure::Failure;
use crate::app::hardware::{Hardware, governor};
use crate::app::quota::cpu_quota;
use crate::engine::affinity;
use crate::simd::Isa;
use crate::simd::peak::Peak;

/// Say which kernels run on this machine and why, and what would make it faster
///
/// The exit code is always 0: every machine can run this program.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR check
  DETECTOR check --json | jq .isa
  PERISTYLE_ISA=avx2 DETECTOR check      as a machine without dot products of bytes would

Exit code: 0.")]
pub(super) struct CheckArgs {
    /// Print a JSON object instead
    #[arg(long)]
    json: bool,
}

/// Everything that is known about the machine.
struct Facts {
    hardware: Hardware,
    isa: Isa,
    /// `PERISTYLE_ISA`, when it is set.
    wanted: Option<String>,
    /// Logical CPUs that the process may be scheduled on.
    allowed: usize,
    /// CPUs of the control group's quota.
    quota: Option<usize>,
    usable: usize,
    governor: Option<String>,
    peak: Peak,
}

impl Facts {
    fn gather() -> Self {
        let hardware = Hardware::detect();
        let isa = Isa::detect();
        Self {
            isa,
            wanted: std::env::var("PERISTYLE_ISA").ok(),
            allowed: affinity::allowed().map_or(hardware.logical, |cpus| cpus.len()),
            quota: cpu_quota(|path| std::fs::read_to_string(path).ok()),
            usable: available_cores(),
            governor: governor(),
            peak: Peak::measure(isa),
            hardware,
        }
    }

    /// `TRUE`, `TRUE (emulated)` or `FALSE`, as DeepSparse words it.
    fn int8(&self) -> &'static str {
        match self.isa {
            Isa::Avx512 | Isa::AvxVnni => "TRUE",
            Isa::Avx2 => "TRUE (emulated)",
            Isa::Portable => "FALSE",
        }
    }

    /// One line each.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let best = Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable);
        match &self.wanted {
            Some(wanted) if self.isa < best => {
                advice.push(format!("PERISTYLE_ISA={wanted} keeps {} kernels from running; unset it", best.name()));
            }
            Some(wanted) if wanted != self.isa.name() => advice.push(format!(
                "PERISTYLE_ISA={wanted} has no effect: it is one of portable, avx2, avxvnni, avx512, and only lowers"
            )),
            _ => {}
        }
        match best {
            Isa::Avx512 | Isa::AvxVnni => {}
            Isa::Avx2 => advice.push(
                "without dot products of bytes (AVX-512 VNNI, AVX-VNNI), quantised networks multiply pairs in 16 bits, \
                 which takes longer; they still run faster than float ones"
                    .into(),
            ),
            Isa::Portable => advice.push(
                "without AVX2 and FMA the network runs in plain Rust, several times slower; x86-64 processors from \
                 2013 (Haswell) and 2015 (Excavator) on have both"
                    .into(),
            ),
        }
        if self.allowed < self.hardware.logical {
            advice.push(format!(
                "the process may use {} of {} logical CPUs (taskset, cpuset); more would help batches and streams",
                self.allowed, self.hardware.logical
            ));
        }
        if let Some(quota) = self.quota.filter(|quota| *quota < self.allowed) {
            advice.push(format!(
                "the container's CPU quota is {quota} whole CPU{}; more threads than that would be throttled",
                if quota == 1 { "" } else { "s" }
            ));
        }
        if self.hardware.cores < self.hardware.logical && self.usable > self.hardware.cores {
            advice.push(format!(
                "cores run two threads each; `benchmark -ncores {}` shows whether one per core is faster",
                self.hardware.cores
            ));
        }
        if let Some(governor) = self.governor.as_deref().filter(|g| ["powersave", "conservative"].contains(g)) {
            advice.push(format!("the clock is governed by {governor}; `performance` gives steadier latencies"));
        }
        advice
    }

    fn text(&self) -> String {
        let Hardware { vendor, model, logical, cores, sockets, caches, .. } = &self.hardware;
        let mut text = format!(
            "{vendor} CPU detected with {cores} cores. ({sockets} sockets with {} cores each)\n",
            cores / sockets.max(&1)
        );
        let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string succeeds");
        line(format!("model:     {model}"));
        let quota = self.quota.map_or("none".to_owned(), |quota| format!("{quota} CPUs"));
        line(format!(
            "usable:    {} cores of {logical} logical CPUs (affinity: {}, CPU quota: {quota})",
            self.usable, self.allowed
        ));
        let caches: Vec<String> = (caches.iter())
            .filter(|cache| cache.kind != "Instruction")
            .map(|cache| format!("L{} {} per {} CPUs", cache.level, cache.size, cache.shared))
            .collect();
        if !caches.is_empty() {
            line(format!("caches:    {}", caches.join(", ")));
        }
        line(format!("FP32:      TRUE\nINT8:      {}", self.int8()));
        line(format!(
            "peak:      {:.0} GMAC/s int8 ({}), {:.0} GMAC/s f32 ({}) per thread",
            self.peak.u8s8.macs_per_second / 1e9,
            self.peak.u8s8.instructions,
            self.peak.f32.macs_per_second / 1e9,
            self.peak.f32.instructions
        ));
        line(String::from("kernels:"));
        for isa in Isa::ALL {
            line(format!("  {:<10} {}", isa.name(), self.verdict(isa)));
        }
        for advice in self.advice() {
            line(format!("advice:    {advice}"));
        }
        text
    }

    /// Whether an instruction set runs here, and why.
    fn verdict(&self, isa: Isa) -> String {
        let features = isa.features();
        let missing: Vec<&str> = features.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            return format!("no: this machine lacks {}", missing.join(", "));
        }
        let found: Vec<&str> = features.iter().map(|(name, _)| *name).collect();
        let found = if found.is_empty() { "any machine".to_owned() } else { found.join(", ") };
        match isa.cmp(&self.isa) {
            std::cmp::Ordering::Equal => format!("runs here: {found}"),
            std::cmp::Ordering::Less => format!("could run here ({found}); {} is better", self.isa.name()),
            std::cmp::Ordering::Greater => {
                format!(
                    "could run here ({found}); PERISTYLE_ISA={} forbids",
                    self.wanted.as_deref().unwrap_or_default()
                )
            }
        }
    }

    fn json(&self) -> Value {
        let hardware = &self.hardware;
        let caches: Vec<Value> = (hardware.caches.iter())
            .map(|c| json!({ "level": c.level, "type": c.kind, "size": c.size, "shared_by": c.shared }))
            .collect();
        let kernels: Map<String, Value> = (Isa::ALL.into_iter())
            .map(|isa| {
                let split = |wanted: bool| -> Vec<&str> {
                    let features = isa.features();
                    features.iter().filter(|(_, there)| *there == wanted).map(|(name, _)| *name).collect()
                };
                let value = json!({
                    "available": isa.is_available(),
                    "runs": isa == self.isa,
                    "found": split(true),
                    "missing": split(false),
                });
                (isa.name().to_owned(), value)
            })
            .collect();
        json!({
            "vendor": hardware.vendor,
            "model": hardware.model,
            "logical_cpus": hardware.logical,
            "cores": hardware.cores,
            "sockets": hardware.sockets,
            "numa_nodes": hardware.nodes,
            "usable_cores": self.usable,
            "affinity_cpus": self.allowed,
            "cpu_quota": self.quota,
            "caches": caches,
            "flags": hardware.flags,
            "isa": self.isa.name(),
            "isa_override": self.wanted,
            "kernels": kernels,
            "vnni": self.isa >= Isa::AvxVnni,
            "peak_gmacs_per_second_per_thread": {
                "f32": self.peak.f32.macs_per_second / 1e9,
                "u8s8": self.peak.u8s8.macs_per_second / 1e9,
            },
            "governor": self.governor,
            "advice": self.advice(),
        })
    }
}

pub(super) fn run(args: &CheckArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let facts = Facts::gather();
    if args.json {
        let text = serde_json::to_string_pretty(&facts.json()).map_err(Failure::new)?;
        writeln!(context.console.out, "{text}")?;
    } else {
        write!(context.console.out, "{}", facts.text())?;
    }
    Ok(())
}
