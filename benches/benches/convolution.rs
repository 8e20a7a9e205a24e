//! Convolutions with SiLU on one thread, as tables and unrolled: throughput in multiply-accumulates of nonzeros.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peristyle_benches::{Bench, Case, load};
use peristyle_compiler::plan::{self, Columns, KernelUse, Options};

const fn case(quantised: bool, kernel: usize, stride: usize, channels: [usize; 2], size: usize, zeros: u32) -> Case {
    Case { channels, size, kernel, stride, zeros, quantised }
}

/// Shapes of YOLOv5s: pointwise and 3x3 layers of every stage, a stride-2 layer, dense ones.
const CASES: &[Case] = &[
    case(true, 1, 1, [128, 128], 80, 45),
    case(true, 1, 1, [256, 256], 40, 45),
    case(true, 3, 1, [64, 64], 80, 52),
    case(true, 3, 1, [128, 128], 40, 78),
    case(true, 3, 1, [256, 256], 20, 80),
    case(true, 3, 2, [128, 256], 80, 65),
    case(true, 1, 1, [128, 128], 80, 0),
    case(false, 1, 1, [128, 128], 80, 45),
    case(false, 3, 1, [64, 64], 80, 65),
    case(false, 3, 1, [128, 128], 40, 80),
    case(false, 1, 1, [128, 128], 80, 0),
];

fn convolution(criterion: &mut Criterion) {
    for case in CASES {
        let mut group = criterion.benchmark_group(case.name());
        group.throughput(Throughput::Elements(case.nnz_macs()));
        let never = (KernelUse::Never, KernelUse::Never);
        for (form, code_budget, (panels, winograd)) in [
            ("table", 0, never),
            ("unrolled", usize::MAX, never),
            ("panels", 0, (KernelUse::Possible, KernelUse::Never)),
            ("points", 0, (KernelUse::Never, KernelUse::Possible)),
        ] {
            let by_points = winograd == KernelUse::Possible;
            let missing = by_points && (case.quantised || case.kernel == 1);
            if missing || case.zeros == 0 && code_budget > 0 {
                continue;
            }
            let options = Options { columns: Columns::Off, code_budget, panels, winograd, ..Options::default() };
            let mut bench = Bench::new(load(plan::build(&case.graph(), &options).expect("planned")), 1);
            group.bench_function(form, |b| b.iter(|| bench.run()));
        }
        group.finish();
    }
}

criterion_group!(benches, convolution);
criterion_main!(benches);
