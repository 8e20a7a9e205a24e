//! `selftest`: whether this machine computes what the compiler's interpreter computed.

use clap::Args;

use super::Context;
use crate::app::failure::Failure;
use crate::engine::Engine;
use crate::engine::golden::{Golden, Verdict, check};
use crate::simd::Isa;

/// Compare every layer with the answers that the compiler baked in
///
/// The compiler ran the model in its reference interpreter on a known input. Layers of integers must compute the same
/// bits; float layers the same within the rounding of another order of additions. The network runs on one thread layer
/// by layer, and on all threads.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR selftest
  DETECTOR selftest --all                      every set of kernels that can run here
  PERISTYLE_ISA=portable DETECTOR selftest

Exit codes: 0 all layers agree, 1 a layer does not, or there is nothing to compare with, 2 wrong use.")]
pub(super) struct SelftestArgs {
    /// Test every set of kernels that this machine can run, not only the one that it does
    #[arg(long)]
    all: bool,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, aliases = ["num-cores", "ncores"], value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

pub(super) fn run(args: &SelftestArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut model = context.engine(args.threads)?;
    let none = || Failure::new("this program has no golden values to compare with; compile it without --no-selftest");
    let engine = model.engine().ok_or_else(none)?;
    let program = engine.program();
    let golden = Golden::decode(program.golden).filter(|g| g.len() == program.layers.len()).ok_or_else(none)?;
    let (isa, threads) = (engine.isa(), engine.threads());
    let mut failed = false;
    let sets: Vec<Isa> = Isa::ALL.into_iter().filter(|other| *other == isa || args.all && *other < isa).collect();
    for isa in sets {
        let verdict = if isa == engine.isa() {
            check(engine, &golden)
        } else {
            let other = Engine::with_isa(program, threads, isa);
            check(&mut other.map_err(|error| Failure::threads(threads, &error.into(), "--threads"))?, &golden)
        };
        let verdict = verdict.map_err(Failure::new)?;
        failed |= verdict.first_difference.is_some() || !verdict.threads_agree;
        let line = line(&verdict, isa, threads, |layer| {
            let layer = program.layers[layer];
            format!("`{}` ({}, {})", layer.name, layer.info.op, layer.kernel(isa))
        });
        writeln!(context.console.out, "{line}")?;
    }
    if failed { Err(Failure::Reported) } else { Ok(()) }
}

/// `OK` with what was compared, or `FAILED` with the first layer that differs.
fn line(verdict: &Verdict, isa: Isa, threads: usize, describe: impl Fn(usize) -> String) -> String {
    let place = format!("{}, {threads} thread{}", isa.name(), if threads == 1 { "" } else { "s" });
    if let Some(layer) = verdict.first_difference {
        let compared = verdict.exact + verdict.close;
        return format!(
            "FAILED ({place}): layer l{layer:03} {} computes something else; {} of {compared} layers differ",
            describe(layer),
            verdict.differences
        );
    }
    if !verdict.threads_agree {
        return format!("FAILED ({place}): all threads together give other outputs than one");
    }
    let close = match verdict.close {
        0 => String::new(),
        n => format!(", {n} within rounding"),
    };
    format!("OK ({place}): {} layers bit for bit{close}", verdict.exact)
}
