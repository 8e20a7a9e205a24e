//! The charts of the page, as SVG.

use super::page::{escape, tip};
use super::{Inspection, LayerRow, pairs};
use std::fmt::Write as _;

/// What kernels have in common, each with a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Unrolled,
    Pairs,
    Panels,
    Points,
    Rows,
    Head,
    Moves,
}

const FAMILIES: [(Family, &str, &str, &str); 7] = [
    (Family::Unrolled, "nonzeros in straight-line code", "#7048c8", "#a78bfa"),
    (Family::Pairs, "nonzeros from tables", "#2563c9", "#60a5fa"),
    (Family::Panels, "panels of packed rows", "#0f8a83", "#2dd4bf"),
    (Family::Points, "Winograd's points", "#c2660c", "#fb923c"),
    (Family::Rows, "rows of floats", "#5f7d1e", "#a3c552"),
    (Family::Head, "decode of the head", "#b8336a", "#f472b6"),
    (Family::Moves, "pools, copies, other layers", "#6b7480", "#94a0ad"),
];

impl Family {
    fn of(kernel: &str) -> Family {
        match kernel {
            k if k.ends_with("_unrolled") => Family::Unrolled,
            k if k.starts_with("u8s8_spconv") => Family::Pairs,
            k if k.contains("_panels") => Family::Panels,
            k if k.contains("_winograd") => Family::Points,
            k if k.starts_with("f32_spconv") => Family::Rows,
            "detect_head" => Family::Head,
            _ => Family::Moves,
        }
    }

    fn index(self) -> usize {
        FAMILIES.iter().position(|family| family.0 == self).expect("every family is listed")
    }

    /// Colours of all families, in light and dark.
    pub fn style() -> String {
        let mut style = String::new();
        for (index, (_, _, light, _)) in FAMILIES.iter().enumerate() {
            let _ = writeln!(style, ".f{index}{{fill:{light};background:{light}}}");
        }
        style += "@media(prefers-color-scheme:dark){\n";
        for (index, (_, _, _, dark)) in FAMILIES.iter().enumerate() {
            let _ = writeln!(style, ".f{index}{{fill:{dark};background:{dark}}}");
        }
        style + "}\n"
    }
}

/// Width of charts, in units of theirs.
const WIDTH: f64 = 1040.0;

/// One bar of all time, by families of kernels, and its legend.
pub fn strip(inspection: &Inspection) -> String {
    let total = inspection.totals.milliseconds.max(1e-9);
    let of = |index: usize| -> f64 {
        let own = inspection.layers.iter().filter(|layer| Family::of(&layer.kernel).index() == index);
        own.map(|layer| layer.milliseconds).sum()
    };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} 30\" role=img aria-label=\"time by kernel\">\n");
    let mut legend = String::from("<ul class=legend>\n");
    let mut x = 0.0;
    for (index, (_, name, ..)) in FAMILIES.iter().enumerate() {
        let milliseconds = of(index);
        if milliseconds <= 0.0 {
            continue;
        }
        let width = WIDTH * milliseconds / total;
        let _ = writeln!(
            svg,
            "<rect class=f{index} x={x:.1} y=0 width={:.1} height=30 rx=3><title>{name}: {milliseconds:.2} ms</title></rect>",
            (width - 2.0).max(0.5)
        );
        let share = 100.0 * milliseconds / total;
        let _ = writeln!(legend, "<li><i class=f{index}></i>{name}: {milliseconds:.2} ms, {share:.0} %</li>");
        x += width;
    }
    svg + "</svg>\n" + &legend + "</ul>\n"
}

/// Where the parts of a row start.
const BARS: f64 = 300.0;
const BARS_END: f64 = 980.0;
const ZEROS: f64 = 236.0;
const ZEROS_WIDTH: f64 = 44.0;
const TOP: f64 = 26.0;

/// A row for every layer: its share of zeros and its time, beside the time that it was.
pub fn layers(inspection: &Inspection, beside: Option<&Inspection>) -> String {
    let rows = match beside {
        Some(other) => pairs(inspection, other),
        None => inspection.layers.iter().map(|layer| super::Pair { before: None, after: Some(layer) }).collect(),
    };
    let height = if beside.is_some() { 22.0 } else { 18.0 };
    let longest = |layer: Option<&LayerRow>| layer.map_or(0.0, |layer| layer.milliseconds);
    let most = rows.iter().map(|p| longest(p.before).max(longest(p.after))).fold(1e-9, f64::max);
    let step = nice(most / 5.0);
    let scale = (BARS_END - BARS) / most;
    let end = TOP + rows.len() as f64 * height;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=img aria-label=\"time by layer\">\n", end + 8.0);
    let _ = writeln!(svg, "<text class=dim x={ZEROS} y=14>zeros</text>");
    let mut tick = 0.0;
    while tick <= most {
        let x = BARS + tick * scale;
        let label = if tick == 0.0 { "0 ms".to_string() } else { format!("{tick}") };
        let _ = writeln!(
            svg,
            "<line class=rule x1={x:.1} x2={x:.1} y1=20 y2={end:.0} /><text class=\"dim n\" x={x:.1} y=14 \
             text-anchor=middle>{label}</text>"
        );
        tick = ((tick + step) * 1e6).round() / 1e6;
    }
    for (at, pair) in rows.iter().enumerate() {
        let y = TOP + at as f64 * height;
        let (now, was) = (pair.after, pair.before);
        let shown = now.or(was).expect("a pair has a layer");
        let tips: Vec<String> = [was.map(tip), now.map(tip)].into_iter().flatten().collect();
        let _ = writeln!(svg, "<g class=row><title>{}</title>", tips.join("\n\n"));
        let _ = writeln!(svg, "<rect class=hit x=0 y={y:.1} width={WIDTH} height={height} />");
        let middle = y + height / 2.0 + 4.0;
        let _ = writeln!(svg, "<text class=\"dim n\" x=0 y={middle:.1}>{}</text>", shown.module);
        let _ = writeln!(svg, "<text x=36 y={middle:.1}>{}</text>", escape(&cut(&shown.short_name())));
        if let Some(weights) = &shown.weights {
            let zeros = weights.sparsity();
            let _ = writeln!(
                svg,
                "<rect class=was x={ZEROS} y={:.1} width={ZEROS_WIDTH} height=6 rx=3 opacity=.45 />\
                 <rect class=f{} x={ZEROS} y={:.1} width={:.1} height=6 rx=3 opacity=.85 />",
                y + height / 2.0 - 3.0,
                Family::of(&shown.kernel).index(),
                y + height / 2.0 - 3.0,
                ZEROS_WIDTH * zeros
            );
        }
        let bar = |svg: &mut String, class: &str, milliseconds: f64, y: f64, thick: f64| {
            let width = (milliseconds * scale).max(0.8);
            let _ = writeln!(svg, "<rect class={class} x={BARS} y={y:.1} width={width:.1} height={thick} rx=2 />");
        };
        if let Some(was) = was {
            bar(&mut svg, "was", was.milliseconds, y + 3.0, 5.0);
        }
        if let Some(now) = now {
            let class = format!("f{}", Family::of(&now.kernel).index());
            let (at, thick) = if beside.is_some() { (y + 9.5, 9.0) } else { (y + 3.0, 12.0) };
            bar(&mut svg, &class, now.milliseconds, at, thick);
        }
        let width = longest(now).max(longest(was)) * scale;
        let _ = writeln!(
            svg,
            "<text class=\"dim n\" x={:.1} y={middle:.1}>{:.2}</text></g>",
            BARS + width + 6.0,
            shown.milliseconds
        );
    }
    svg + "</svg>\n"
}

/// Longest name of a row.
const NAME: usize = 30;

fn cut(name: &str) -> String {
    let count = name.chars().count();
    if count <= NAME {
        name.to_string()
    } else {
        format!("…{}", name.chars().skip(count - NAME + 1).collect::<String>())
    }
}

/// The next of 1, 2, 5, 10, 20, ... and their tenths.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1e-6).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&n| n >= step * 0.999).unwrap_or(power)
}
