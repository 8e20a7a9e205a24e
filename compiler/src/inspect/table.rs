//! An inspection as text for people.

use super::{Against, Inspection, LayerRow, Pair, Quantisation, Totals, pairs};
use crate::plan::megabytes;
use std::fmt::Write as _;

/// A column: its title, whether it is text, and how soon it goes when there is no room (0: never).
type Column = (&'static str, bool, u8);

/// The table of one inspection, at most so many characters wide where its names allow it. `measured` adds a column.
pub fn render(inspection: &Inspection, measured: Option<&Against>, width: usize) -> String {
    let mut reasons = Reasons::default();
    let mut columns: Vec<Column> = vec![
        ("Layer", true, 0),
        ("Output", true, 3),
        ("Window", true, 2),
        ("Weights", true, 0),
        ("Zeros", false, 0),
        ("Pattern", true, 1),
        ("Kernel", true, 0),
        ("Why", true, 0),
        ("MMAC", false, 0),
        ("of", false, 4),
        ("ms", false, 0),
        ("%", false, 0),
    ];
    if measured.is_some() {
        columns.extend([("measured", false, 0), ("error", false, 0)]);
    }
    let row = |(index, layer): (usize, &LayerRow)| {
        let mut cells = cells(layer, &mut reasons);
        cells.push(format!("{:.3}", layer.milliseconds));
        cells.push(format!("{:.1}", 100.0 * layer.milliseconds / inspection.totals.milliseconds.max(1e-9)));
        if let Some(measured) = measured {
            let milliseconds = measured.layers[index].milliseconds;
            cells.push(format!("{milliseconds:.3}"));
            cells.push(format!("{:+.0} %", 100.0 * (layer.milliseconds / milliseconds.max(1e-9) - 1.0)));
        }
        cells
    };
    let rows = inspection.layers.iter().enumerate().map(row).collect();
    let mut text = align(&columns, rows, width);
    text += &reasons.render();
    text.push('\n');
    text += &totals(inspection);
    if let Some(measured) = measured {
        let _ = writeln!(
            text,
            "Against the profile: {:.2} ms predicted, {:.2} ms measured, {:+.1} % in all, {:.1} % by layer",
            measured.total.1,
            measured.total.0,
            100.0 * measured.error(),
            100.0 * measured.error_by_layer
        );
    }
    text
}

/// Two inspections side by side; `asked` says what the second one is.
pub fn render_beside(before: &Inspection, after: &Inspection, asked: &str, width: usize) -> String {
    let mut reasons = Reasons::default();
    let columns: Vec<Column> = vec![
        ("Layer", true, 0),
        ("Output", true, 2),
        ("Zeros", false, 0),
        ("Kernel", true, 0),
        ("Why", true, 1),
        ("ms", false, 0),
        ("", true, 0),
        ("Zeros", false, 0),
        ("Kernel", true, 0),
        ("Why", true, 1),
        ("ms", false, 0),
        ("faster", false, 0),
    ];
    let row = |pair: Pair<'_>| {
        let mut row = vec![name(pair.either()), dims(&pair.either().output)];
        for (at, layer) in [pair.before, pair.after].into_iter().enumerate() {
            let mut side = match layer {
                Some(layer) => vec![
                    zeros(layer),
                    layer.kernel.clone(),
                    reasons.letter(layer),
                    format!("{:.3}", layer.milliseconds),
                ],
                None => vec![dash(), dash(), dash(), dash()],
            };
            row.append(&mut side);
            if at == 0 {
                row.push("->".to_string());
            }
        }
        row.push(match (pair.before, pair.after) {
            (Some(before), Some(after)) => times(before.milliseconds, after.milliseconds),
            _ => dash(),
        });
        row
    };
    let rows = pairs(before, after).into_iter().map(row).collect();
    let mut text = align(&columns, rows, width) + &reasons.render();
    let _ = writeln!(text, "\nAs it is: {}\n{}", before.model.name, totals(before));
    let _ = writeln!(text, "{asked}\n{}", totals(after));
    let [a, b] = [&before.totals, &after.totals];
    let _ = writeln!(
        text,
        "{:.2} ms -> {:.2} ms, {} times as many images per second, a binary of {} instead of {}",
        a.milliseconds,
        b.milliseconds,
        times(a.milliseconds, b.milliseconds),
        megabytes(b.binary_bytes),
        megabytes(a.binary_bytes)
    );
    text
}

/// Totals, a line for each sort.
fn totals(inspection: &Inspection) -> String {
    let Totals { layers, parameters, weights, quantised, macs, arena_bytes, size, binary_bytes, build, .. } =
        inspection.totals;
    let totals = &inspection.totals;
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let model = &inspection.model;
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<12} {value}");
    };
    line(
        "Weights",
        format!(
            "{parameters} parameters in {layers} layers, {:.1} % zeros, {:.1} % quantised, {} file",
            share(weights.0 - weights.1, weights.0),
            share(quantised, weights.0),
            megabytes(model.bytes as usize),
        ),
    );
    line(
        "Work",
        format!(
            "{:.3} of {:.3} billion multiply-accumulates, {:.1} % skipped",
            macs.1 as f64 / 1e9,
            macs.0 as f64 / 1e9,
            share(macs.0 - macs.1, macs.0)
        ),
    );
    line(
        "Size",
        format!(
            "{} binary: {} straight-line code, {} tables; {} working memory",
            megabytes(binary_bytes),
            megabytes(size.code),
            megabytes(size.data),
            megabytes(arena_bytes)
        ),
    );
    line(
        "Build",
        format!(
            "{:.0} s of one core, and {:.0} s once for the program's dependencies",
            build.seconds(),
            build.dependencies
        ),
    );
    let cpu = &inspection.cpu;
    let threads =
        if inspection.threads == 1 { "1 thread".to_string() } else { format!("{} threads", inspection.threads) };
    let basis = if cpu.measured { "measured rates" } else { "estimated rates: nobody measured here" };
    line(
        "Speed",
        format!(
            "{:.2} ms, {:.1} images per second: {} ({}, {} GHz, {basis}), {threads}",
            totals.milliseconds,
            totals.images_per_second(),
            cpu.name,
            cpu.description,
            cpu.gigahertz
        ),
    );
    text
}

fn cells(layer: &LayerRow, reasons: &mut Reasons) -> Vec<String> {
    let window = layer.window.map_or_else(dash, |[height, width, down, across]| match (down, across) {
        (1, 1) => format!("{height}x{width}"),
        _ if down == across => format!("{height}x{width}/{down}"),
        _ => format!("{height}x{width}/{down}x{across}"),
    });
    let weights = layer.weights.as_ref();
    let numbers = weights.map_or_else(dash, |weights| match weights.quantisation {
        Quantisation::Float => "f32".to_string(),
        Quantisation::PerTensor => "i8".to_string(),
        Quantisation::PerChannel => "i8/channel".to_string(),
    });
    let millions = |macs: u64| if macs == 0 { dash() } else { format!("{:.1}", macs as f64 / 1e6) };
    vec![
        name(layer),
        dims(&layer.output),
        window,
        numbers,
        zeros(layer),
        weights.map_or_else(dash, |weights| weights.pattern.to_string()),
        layer.kernel.clone(),
        reasons.letter(layer),
        millions(layer.macs.1),
        millions(layer.macs.0),
    ]
}

/// Longest name of a layer.
const NAME: usize = 26;

fn name(layer: &LayerRow) -> String {
    let short = layer.short_name();
    let count = short.chars().count();
    let cut =
        if count > NAME { format!("…{}", short.chars().skip(count - NAME + 1).collect::<String>()) } else { short };
    format!("{} {cut}", layer.module)
}

fn dims(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().skip(1).map(usize::to_string).collect();
    if dims.is_empty() { dash() } else { dims.join("x") }
}

fn zeros(layer: &LayerRow) -> String {
    layer.weights.as_ref().map_or_else(dash, |weights| format!("{:.1} %", 100.0 * weights.sparsity()))
}

fn times(before: f64, after: f64) -> String {
    format!("{:.2}", before / after.max(1e-9))
}

fn dash() -> String {
    "-".to_string()
}

/// The text between the numbers of a reason, and the least and greatest of each.
type Reason = (Vec<String>, Vec<(f64, f64)>);

/// Reasons of kernels, each with a letter. Those that differ in numbers only share one.
#[derive(Default)]
struct Reasons {
    known: Vec<Reason>,
}

impl Reasons {
    fn letter(&mut self, layer: &LayerRow) -> String {
        if layer.reason.is_empty() {
            return dash();
        }
        let (texts, numbers) = split(&layer.reason);
        let at = self.known.iter().position(|known| known.0 == texts).unwrap_or_else(|| {
            self.known.push((texts, numbers.iter().map(|&n| (n, n)).collect()));
            self.known.len() - 1
        });
        for (range, number) in self.known[at].1.iter_mut().zip(numbers) {
            *range = (range.0.min(number), range.1.max(number));
        }
        letter(at)
    }

    fn render(&self) -> String {
        let mut text = String::from("\n");
        for (at, (texts, ranges)) in self.known.iter().enumerate() {
            let mut reason = texts[0].clone();
            for (text, (least, most)) in texts[1..].iter().zip(ranges) {
                if least == most {
                    reason += &least.to_string()
                } else {
                    reason += &format!("{least} to {most}")
                }
                reason += text;
            }
            let _ = writeln!(text, "{}: {reason}", letter(at));
        }
        text
    }
}

/// `a` to `z`, then numbers.
fn letter(index: usize) -> String {
    if index < 26 { char::from(b'a' + index as u8).to_string() } else { index.to_string() }
}

/// The text around free-standing numbers, and these.
fn split(reason: &str) -> (Vec<String>, Vec<f64>) {
    let (mut texts, mut numbers) = (vec![String::new()], Vec::new());
    for (at, word) in reason.split(' ').enumerate() {
        if at > 0 {
            texts.last_mut().expect("there is a text").push(' ');
        }
        match word.parse::<f64>() {
            Ok(number) => {
                numbers.push(number);
                texts.push(String::new());
            }
            Err(_) => texts.last_mut().expect("there is a text").push_str(word),
        }
    }
    (texts, numbers)
}

/// Rows under a header, less the columns that go first when there is no room.
fn align(columns: &[Column], rows: Vec<Vec<String>>, width: usize) -> String {
    let widths: Vec<usize> = (0..columns.len())
        .map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0).max(columns[c].0.chars().count()))
        .collect();
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let taken = |kept: &[usize]| kept.iter().map(|&c| widths[c] + 2).sum::<usize>().saturating_sub(2);
    while taken(&kept) > width {
        let Some(at) = (0..kept.len()).filter(|&at| columns[kept[at]].2 > 0).max_by_key(|&at| columns[kept[at]].2)
        else {
            break;
        };
        kept.remove(at);
    }
    let header: Vec<String> = columns.iter().map(|column| column.0.to_string()).collect();
    let mut text = String::new();
    for row in std::iter::once(&header).chain(&rows) {
        let cell = |&c: &usize| {
            let width = widths[c];
            if columns[c].1 { format!("{:<width$}", row[c]) } else { format!("{:>width$}", row[c]) }
        };
        text += kept.iter().map(cell).collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
