//! An inspection as one web page without outside assets.

use super::page_chart::{self, Family};
use super::{Inspection, LayerRow, Totals};
use crate::plan::megabytes;
use std::fmt::Write as _;

/// The page of an inspection, and of another one beside it with what it is called.
pub fn render(inspection: &Inspection, beside: Option<(&Inspection, &str)>) -> String {
    let model = &inspection.model;
    let shown = beside.map_or(inspection, |(other, _)| other);
    let mut body = format!("<h1>{}</h1>\n", escape(&model.name));
    let cpu = &inspection.cpu;
    let basis = if cpu.measured { "rates measured" } else { "rates estimated" };
    let threads =
        if inspection.threads == 1 { "one thread".to_string() } else { format!("{} threads", inspection.threads) };
    let asked = beside.map_or(String::new(), |(_, asked)| format!(" <strong>{}</strong>", escape(asked)));
    let _ = writeln!(
        body,
        "<p class=sub>Predicted for {} ({}, {} GHz, {basis}), {threads}.{asked}</p>",
        cpu.name,
        escape(cpu.description),
        cpu.gigahertz
    );
    body += &cards(&inspection.totals, beside.map(|(other, _)| &other.totals));
    let _ = writeln!(body, "<h2>Where the time goes</h2>\n{}", page_chart::strip(shown));
    let _ = writeln!(body, "<h2>Layers</h2>\n{}", page_chart::layers(inspection, beside.map(|(other, _)| other)));
    let _ = writeln!(body, "<details><summary>All numbers</summary>\n{}</details>", numbers(shown));
    let sha = &model.sha256;
    let _ = writeln!(body, "<footer>peristyle {} · sha256 {sha}</footer>", env!("CARGO_PKG_VERSION"));
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
         <title>{} — peristyle inspect</title>\n<style>\n{STYLE}{}</style>\n<main>\n{body}</main>\n</html>\n",
        escape(&model.name),
        Family::style(),
    )
}

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fbfbf9;--fg:#1d2126;--dim:#6a727c;--line:#e3e5e3;--card:#fff;--was:#c9ced3}
@media(prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e6e8ea;--dim:#8f98a3;--line:#2a3037;--card:#1c2026;--was:#4a525c}}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 24px 48px}
h1{font-size:26px;margin:0;overflow-wrap:anywhere}
h2{font-size:16px;margin:36px 0 10px}
.sub{color:var(--dim);margin:4px 0 24px}
.sub strong{color:var(--fg)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.card b{display:block;font-size:22px;font-weight:650;font-variant-numeric:tabular-nums}
.card i{font-style:normal;color:var(--dim);font-size:13px}
.card s{display:block;text-decoration:none;color:var(--dim);font-size:12px;border-top:1px solid var(--line);margin-top:6px;padding-top:4px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--fg);font:11.5px system-ui,sans-serif}
svg .dim{fill:var(--dim)}
svg .n{font-variant-numeric:tabular-nums}
svg .rule{stroke:var(--line)}
svg .was{fill:var(--was)}
svg .hit{fill:transparent}
svg g.row:hover .hit{fill:var(--line);fill-opacity:.6}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 0;padding:0;list-style:none;font-size:13px;color:var(--dim)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
details{margin-top:28px;overflow-x:auto}
summary{cursor:pointer;font-weight:600}
table{border-collapse:collapse;font-size:12.5px;margin-top:10px;font-variant-numeric:tabular-nums}
th,td{padding:3px 10px 3px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
td.r,th.r{text-align:right}
td.why{white-space:normal;min-width:260px;color:var(--dim)}
footer{margin-top:36px;color:var(--dim);font-size:12px;overflow-wrap:anywhere}
";

/// A fact of the totals as text.
type Fact<'f> = &'f dyn Fn(&Totals) -> String;

fn cards(totals: &Totals, other: Option<&Totals>) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let quantised = |t: &Totals| percent(t.quantised as f64 / t.weights.0.max(1) as f64);
    let facts: [(&str, Fact<'_>); 8] = [
        ("images per second", &|t| format!("{:.1}", t.images_per_second())),
        ("per image", &|t| format!("{:.2} ms", t.milliseconds)),
        ("of the weights are zero", &|t| percent(t.sparsity())),
        ("of the weights are int8", &quantised),
        ("billion products, of the dense", &|t| format!("{:.2} / {:.2}", t.macs.1 as f64 / 1e9, t.macs.0 as f64 / 1e9)),
        ("parameters", &|t| format!("{:.2} M", t.parameters as f64 / 1e6)),
        ("binary", &|t| megabytes(t.binary_bytes)),
        ("working memory", &|t| megabytes(t.arena_bytes)),
    ];
    let mut text = String::from("<div class=cards>\n");
    for (what, fact) in facts {
        let (now, was) = match other {
            Some(other) if fact(other) != fact(totals) => (fact(other), format!("<s>was {}</s>", fact(totals))),
            _ => (fact(totals), String::new()),
        };
        let _ = writeln!(text, "<div class=card><b>{now}</b><i>{what}</i>{was}</div>");
    }
    text + "</div>\n"
}

fn numbers(inspection: &Inspection) -> String {
    let mut text = String::from(
        "<table><tr><th>Layer<th>Output<th>Weights<th class=r>Zeros<th>Pattern<th>Kernel<th class=r>MMAC<th class=r>of\
         <th class=r>ms<th>Why\n",
    );
    for layer in &inspection.layers {
        let output: Vec<String> = layer.output.iter().skip(1).map(usize::to_string).collect();
        let (quantisation, zeros, pattern) = match &layer.weights {
            Some(w) => (w.quantisation.name(), format!("{:.1} %", 100.0 * w.sparsity()), w.pattern),
            None => ("", String::new(), ""),
        };
        let _ = writeln!(
            text,
            "<tr><td>{} {}<td>{}<td>{quantisation}<td class=r>{zeros}<td>{pattern}<td>{}<td class=r>{:.1}<td class=r>{:.1}\
             <td class=r>{:.3}<td class=why>{}",
            layer.module,
            escape(&layer.short_name()),
            output.join("×"),
            layer.kernel,
            layer.macs.1 as f64 / 1e6,
            layer.macs.0 as f64 / 1e6,
            layer.milliseconds,
            escape(&layer.reason),
        );
    }
    text + "</table>\n"
}

/// What a layer's row tells when it is pointed at.
pub(super) fn tip(layer: &LayerRow) -> String {
    let mut lines =
        vec![format!("{} {}", layer.module, layer.name), format!("{:.3} ms, {}", layer.milliseconds, layer.kernel)];
    if let Some(w) = &layer.weights {
        let [outputs, inputs, height, width] = w.shape;
        lines.push(format!("{outputs} × {inputs} × {height}×{width} weights, {}", w.quantisation.name()));
        lines.push(format!("{:.1} % zeros, pattern {}", 100.0 * w.sparsity(), w.pattern));
        lines.push(format!("{:.1} of {:.1} million products", layer.macs.1 as f64 / 1e6, layer.macs.0 as f64 / 1e6));
    }
    if !layer.reason.is_empty() {
        lines.push(layer.reason.clone());
    }
    escape(&lines.join("\n"))
}

/// Text as it stands in a page.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
