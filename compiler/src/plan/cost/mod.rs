//! What a plan costs: time on a class of processors, bytes of code and tables, seconds to build.
//!
//! The work of every layer is [counted](count) from its tables, as the kernels walk them: pairs and quads of nonzeros,
//! packed rows, elements of epilogues, bytes of maps. [`rates`] tells the cycles of one of each kind, fitted to profiles
//! of compiled networks. Nothing here chooses anything: that is for the planner, whose choices are only added up.

pub mod build;
pub mod count;
pub mod cpu;
pub mod rates;
pub mod size;
pub mod work;

pub use cpu::{CPUS, Cpu};

use super::Plan;
use peristyle_runtime::engine::Layer;
use peristyle_runtime::kernels::conv::family::Kernel;
use peristyle_runtime::simd::Isa;
use rates::Bound;
use work::Tally;

/// Seconds that threads take to meet after every step.
const MEETING: f64 = 2e-6;

/// The predicted time of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerCost {
    /// Seconds of an image.
    pub seconds: f64,
    /// What it does.
    pub tally: Tally,
}

/// The predicted times of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// By layer.
    pub layers: Vec<LayerCost>,
}

impl Prediction {
    /// Predicts what a plan takes on so many threads, which compute an image together.
    pub fn new(plan: &Plan, cpu: &Cpu, threads: usize) -> Prediction {
        let cpu = &Cpu { isa: isa(plan, cpu), ..*cpu };
        let mut layers = vec![LayerCost::default(); plan.layers.len()];
        for step in &plan.schedule {
            let index = step.layer as usize;
            let mut tally = Tally::default();
            let kernel = kernel(plan, index, cpu.isa);
            let layer = &plan.layers[index];
            count::step(layer, kernel.map(|k| k.form), &step.rows(), &mut tally);
            layers[index].seconds += seconds(&tally, cpu, threads, layer.kind.units(cpu.isa, &step.rows()));
            tally.iter().for_each(|(work, count)| layers[index].tally.add(work, count));
        }
        Prediction { layers }
    }

    /// Seconds of an image.
    pub fn seconds(&self) -> f64 {
        self.layers.iter().map(|layer| layer.seconds).sum()
    }
}

/// The instruction set that a plan runs with on a processor.
pub fn isa(plan: &Plan, cpu: &Cpu) -> Isa {
    plan.layers.iter().map(Layer::widest_isa).fold(cpu.isa, Isa::min)
}

/// The kernel that computes a convolution of a plan.
pub fn kernel(plan: &Plan, layer: usize, isa: Isa) -> Option<&'static Kernel> {
    let choice = &plan.notes[layer].conv.as_ref()?.choice;
    Some(choice.kernel(isa))
}

fn seconds(tally: &Tally, cpu: &Cpu, threads: usize, units: usize) -> f64 {
    let (mut cycles, mut bytes) = (0.0, 0.0);
    for (work, count) in tally.iter() {
        let each = rates::cycles(cpu.isa, work) * count;
        match rates::bound(work) {
            Bound::Multiply => cycles += each * cpu.multiply,
            Bound::Other => cycles += each * cpu.other,
            Bound::Memory => bytes += each,
        }
    }
    let alone = cycles / (cpu.gigahertz * 1e9) + bytes / (cpu.core_bandwidth * 1e9);
    if threads <= 1 {
        return alone;
    }
    // Whoever is free takes the next unit: the one with the most of them is done last.
    let share = units.div_ceil(threads) as f64 / units.max(1) as f64;
    (alone * share).max(bytes / (cpu.bandwidth * 1e9)) + MEETING
}
