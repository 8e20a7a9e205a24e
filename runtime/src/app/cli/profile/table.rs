//! A report for a terminal.

use std::fmt::Write as _;

use super::super::timing::Latencies;
use super::report::Report;

/// The layers, the total, the kinds of layers, and what to improve next.
pub(super) fn render(report: &Report, iterations: &Latencies) -> String {
    let mut text = layers(report) + "\n";
    let peak = &report.peak;
    let mut line = |what: &str, value: String| {
        writeln!(text, "{what}: {value}").expect("writing to a string succeeds");
    };
    line("Total Time (ms)", format!("{:.4} in the mean of {} runs", report.total, iterations.count()));
    line("Fastest Run (ms)", format!("{:.4}", iterations.min()));
    line("Outside Layers (ms)", format!("{:.4}", report.outside()));
    line("Items per second", format!("{:.4}", report.items_per_second()));
    line("Batch Size", report.batch.to_string());
    line("Number of threads", report.threads.to_string());
    line("Instruction set", report.isa.name().to_owned());
    for (what, rate) in [("f32", peak.f32), ("u8s8", peak.u8s8)] {
        let gmacs = rate.macs_per_second / 1e9;
        line(&format!("Peak of {what} (GMAC/s per thread)"), format!("{gmacs:.1}, {}", rate.instructions));
    }
    text + "\n== Layer Breakdown ==\n" + &breakdown(report) + "\n" + &next(report)
}

fn layers(report: &Report) -> String {
    let header = [
        "Name", "Kernel", "OutDims", "KerDims", "Strides", "Density", "Mean(ms)", "Min(ms)", "Share(%)", "GMAC/s",
        "Peak(%)",
    ];
    let rows = report.layers.iter().map(|layer| {
        vec![
            format!("{} {}", layer.module(), layer.name),
            layer.info.kernel.to_string(),
            format!("{:?}", layer.output_dims(report.batch)),
            layer.kernel_dims().map_or_else(dash, |dims| format!("{dims:?}")),
            layer.info.window.map_or_else(dash, |window| format!("{:?}", window.stride)),
            layer.density().map_or_else(dash, |density| format!("{density:.3}")),
            format!("{:.4}", layer.mean),
            format!("{:.4}", layer.min),
            format!("{:.2}", report.share(layer.mean) * 100.0),
            layer.of_peak().map_or_else(dash, |_| format!("{:.1}", layer.gmacs_per_second())),
            layer.of_peak().map_or_else(dash, |share| format!("{:.1}", share * 100.0)),
        ]
    });
    align(&header, rows.collect(), 5)
}

fn breakdown(report: &Report) -> String {
    let header = ["Kind", "Layers", "Summed Time(ms)", "Percent Taken", "Peak(%)", "Lost(ms)"];
    let rows = report.kinds().into_iter().map(|kind| {
        let of_peak = (kind.attainable > 0.0).then(|| kind.attainable / kind.mean.max(1e-9));
        vec![
            kind.name.clone(),
            kind.layers.to_string(),
            format!("{:.4}", kind.mean),
            format!("{:.2}", report.share(kind.mean) * 100.0),
            of_peak.map_or_else(dash, |share| format!("{:.1}", share * 100.0)),
            format!("{:.4}", kind.lost()),
        ]
    });
    align(&header, rows.collect(), 1)
}

/// Names the layer and the kind that lose most time against what is attainable.
fn next(report: &Report) -> String {
    let (Some(layer), kinds) = (report.worst(), report.kinds()) else { return String::new() };
    let kind = &kinds[0];
    let share = |milliseconds: f64| milliseconds / report.fastest().max(1e-9) * 100.0;
    let bound = if layer.nonzero_macs > 0.0 {
        let millions = layer.nonzero_macs / 1e6;
        format!("its {millions:.2} million nonzero multiply-accumulates need {:.4} ms at peak", layer.attainable)
    } else {
        "it multiplies nothing".to_owned()
    };
    let because = if layer.info.reason.is_empty() { String::new() } else { format!(" ({})", layer.info.reason) };
    format!(
        "Next to improve: {} {}, {} by {}{because}, takes {:.4} ms at its fastest where {bound}, and loses {:.4} ms, {:.1} % of all layers; \
         of all kinds {} loses most, {:.4} ms or {:.1} % in {}.\n",
        layer.module(),
        layer.name,
        layer.kind(),
        layer.info.kernel,
        layer.min,
        layer.lost(),
        share(layer.lost()),
        kind.name,
        kind.lost(),
        share(kind.lost()),
        if kind.layers == 1 { "1 layer".to_owned() } else { format!("{} layers", kind.layers) },
    )
}

fn dash() -> String {
    "-".to_owned()
}

/// Rows under a header; the first `left` columns are text, the others numbers.
fn align(header: &[&str], rows: Vec<Vec<String>>, left: usize) -> String {
    let header = header.iter().map(|&title| title.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join(" | ").trim_end();
        text.push('\n');
    }
    text
}
