//! Text form of a plan.

use super::{Plan, Port};
use peristyle_runtime::engine::{Kind, Needs};
use peristyle_runtime::simd::Isa;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |f: &mut fmt::Formatter<'_>, what: &str, ports: &[Port]| {
            ports.iter().try_for_each(|p| writeln!(f, "{what} {}: {:?}{:?}", p.name, p.dtype, p.shape))
        };
        ports(f, "input", &self.inputs)?;
        ports(f, "output", &self.outputs)?;
        writeln!(f, "arena {} bytes", self.arena_bytes)?;
        for column in &self.columns {
            writeln!(f, "column of layers {:?} in {} stripes", column.layers, column.stripes)?;
        }
        for (index, (layer, note)) in self.layers.iter().zip(&self.notes).enumerate() {
            writeln!(f, "l{index:03} {} // {}", note.summary, layer.name)?;
            if let Some(conv) = &note.conv {
                let s = conv.sparsity;
                writeln!(
                    f,
                    "     density {:.3} {}, {:.2} of {:.2} MMAC, {}: {}",
                    s.density(),
                    s.pattern,
                    conv.nnz_macs as f64 / 1e6,
                    conv.macs as f64 / 1e6,
                    conv.choice.kernel(Isa::Avx2).name,
                    conv.choice.reason
                )?;
            }
            if let Kind::Conv(conv) = &layer.kind {
                let map = &conv.input;
                writeln!(
                    f,
                    "     reads @{} {}x{}x{} split {:?} row {} plane {} pad {:?}",
                    map.offset, map.channels, map.height, map.width, map.split, map.row, map.plane, map.pad
                )?;
                for store in conv.epilogue.stores.iter() {
                    let map = &store.map;
                    writeln!(
                        f,
                        "     writes {:?} @{} split {:?} row {} plane {} pad {:?}",
                        map.dtype, map.offset, map.split, map.row, map.plane, map.pad
                    )?;
                }
            }
        }
        writeln!(f, "schedule")?;
        self.schedule.iter().try_for_each(|step| {
            write!(f, "     l{:03} rows {}..{}", step.layer, step.first, step.end)?;
            match step.needs {
                Needs::All => writeln!(f),
                Needs::Window { stride: 1, reach: [0, 0, 0, 0] } => {
                    writeln!(f, ", pixels after those of the step before")
                }
                Needs::Window { stride, reach: [top, _, bottom, _] } => {
                    let y = if stride == 1 { "y".to_string() } else { format!("{stride}y") };
                    writeln!(f, ", row y after {y}-{top}..={y}+{bottom} of the step before")
                }
                Needs::Nothing => writeln!(f, ", beside the step before"),
            }
        })
    }
}
