//! `peristyle diff`: what is different between two models.

use super::size;
use anyhow::Context;
use peristyle_compiler::diff::{
    self, Change, Difference, Layer, LayerChange, Looked, Number, Object, Outputs, Summary,
};
use peristyle_compiler::{Compilation, Config};
use peristyle_runtime::picture::{Limits, Picture};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Models are compared as they would be compiled, behind all rewrites. Layers are paired by name.

Exit code: 0 when the models are the same, 1 when they differ, 2 after an error.

Examples:
  peristyle diff yolov5s.onnx yolov5s-pruned65_quant.onnx
  peristyle diff old.onnx new.onnx --image street.jpg
  peristyle diff old.onnx new.onnx --json | jq .layers.changed")]
pub struct Args {
    /// The model that was.
    #[arg(value_name = "OLD.onnx")]
    old: PathBuf,

    /// The model that is.
    #[arg(value_name = "NEW.onnx")]
    new: PathBuf,

    /// A picture to find objects in with both models; without one, both run on the known input of `selftest`.
    #[arg(long, value_name = "IMAGE")]
    image: Option<PathBuf>,

    /// Compare without running the models.
    #[arg(long, conflicts_with = "image")]
    no_run: bool,

    /// Print a JSON object instead.
    #[arg(long)]
    json: bool,

    /// Height and width of the network input, for models that leave them open: `416 640`, or one number for a square.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    imgsz: Option<[usize; 2]>,
}

/// What running both models showed.
enum Ran {
    No,
    Looked(String, Looked),
    Outputs(Option<Outputs>),
}

/// Runs the command; whether the models are the same.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let (old, new) = (analyze(args, &args.old)?, analyze(args, &args.new)?);
    let difference = diff::compare(&old, &new);
    let ran = match &args.image {
        Some(path) => {
            let picture = Picture::open(path, &Limits::default())
                .with_context(|| format!("cannot read image `{}`", path.display()))?;
            Ran::Looked(path.display().to_string(), diff::look(&old, &new, picture.as_ref())?)
        }
        None if args.no_run => Ran::No,
        None => Ran::Outputs(diff::run_known(&old, &new)?),
    };
    let same = difference.is_none()
        && match &ran {
            Ran::No | Ran::Outputs(None) => true,
            Ran::Looked(_, looked) => looked.is_same(),
            Ran::Outputs(Some(outputs)) => outputs.is_same(),
        };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json(&difference, &ran, same))?);
    } else {
        print!("{}", text(&difference, &ran, same));
    }
    Ok(same)
}

fn analyze(args: &Args, model: &Path) -> anyhow::Result<Compilation> {
    let mut config = Config::new().selftest(false).code_budget(0);
    if let Some([height, width]) = args.imgsz {
        config = config.imgsz(height, width);
    }
    Ok(config.analyze(model)?)
}

fn text(difference: &Difference, ran: &Ran, same: bool) -> String {
    let Difference { old, new, .. } = difference;
    let mut lines = vec![
        format!("old: {} (sha256 {})", old.source, old.sha256),
        format!("new: {} (sha256 {})", new.source, new.sha256),
    ];
    if same {
        lines.push(format!("The models are the same: {} layers.", difference.same_layers));
        return lines.join("\n") + "\n";
    }
    lines.push(String::new());
    lines.extend(totals(old, new));
    for (what, olds, news) in [("input", &old.inputs, &new.inputs), ("output", &old.outputs, &new.outputs)] {
        if olds != news {
            lines.push(format!("{what:<24} {} -> {}", olds.join(", "), news.join(", ")));
        }
    }
    for (sign, classes) in [("-", &difference.removed_classes), ("+", &difference.added_classes)] {
        if !classes.is_empty() {
            lines.push(format!("{sign} classes: {}", classes.join(", ")));
        }
    }
    if difference.removed_classes.is_empty()
        && difference.added_classes.is_empty()
        && old.class_names != new.class_names
    {
        lines.push("~ classes: the same in another order".to_string());
    }
    lines.push(String::new());
    for change in &difference.layers {
        match change {
            LayerChange::Added(layer) => lines.push(format!("+ {}", described(layer))),
            LayerChange::Removed(layer) => lines.push(format!("- {}", described(layer))),
            LayerChange::Changed(layer, changes) => {
                lines.push(format!("~ {} ({})", layer.name, layer.op));
                lines.extend(changes.iter().map(|change| format!("    {}", changed(change))));
            }
        }
    }
    lines.push(format!("{} layers are the same", difference.same_layers));
    lines.push(String::new());
    lines.extend(seen(ran));
    lines.join("\n").trim_end().to_string() + "\n"
}

fn totals(old: &Summary, new: &Summary) -> Vec<String> {
    let mut lines = vec![format!("{:<24} {:>14} {:>14} {:>9}", "", "old", "new", "change")];
    let mut line = |what: &str, old: u64, new: u64| {
        let change = match (old, new) {
            (old, new) if old == new => "same".to_string(),
            (0, _) => "new".to_string(),
            _ => format!("{:+.1} %", 100.0 * (new as f64 / old as f64 - 1.0)),
        };
        lines.push(format!("{what:<24} {old:>14} {new:>14} {change:>9}"));
    };
    line("layers", old.layers as u64, new.layers as u64);
    line("weights", old.weights.0, new.weights.0);
    line("weights not zero", old.weights.1, new.weights.1);
    line("multiply-accumulates", old.macs.0, new.macs.0);
    line("of them not skipped", old.macs.1, new.macs.1);
    line("bytes of working memory", old.arena_bytes as u64, new.arena_bytes as u64);
    line("classes", old.class_names.len() as u64, new.class_names.len() as u64);
    let (old, new) = (old.predicted_ms, new.predicted_ms);
    let change = 100.0 * (new / old - 1.0);
    lines.push(format!("{:<24} {old:>14.2} {new:>14.2} {change:>+7.1} %", "predicted milliseconds"));
    lines
}

fn described(layer: &Layer) -> String {
    let weights = match layer.weights() {
        Some((weights, nonzeros)) => format!(", {nonzeros} of {weights} weights not zero"),
        None => String::new(),
    };
    format!("{} ({}) {}{weights}", layer.name, layer.op, layer.output())
}

fn changed(change: &Change) -> String {
    match change {
        Change::Fact { what, old, new } => format!("{what}: {old} -> {new}"),
        Change::Numbers(Number { what, count, nonzeros, differ }) => {
            let of = match differ {
                Some((differ, most)) => format!("{differ} of {} differ, by up to {most:.6}", count.1),
                None => format!("{} -> {}", count.0, count.1),
            };
            let zeros = match nonzeros {
                (old, new) if old == new => String::new(),
                (old, new) => format!(", not zero {old} -> {new}"),
            };
            format!("{what}: {of}{zeros}")
        }
    }
}

fn seen(ran: &Ran) -> Vec<String> {
    let corners = |b: &Object| b.xyxy.map(|v| format!("{v:.1}")).join(" ");
    match ran {
        Ran::No => Vec::new(),
        Ran::Outputs(None) => vec!["inputs or outputs differ in size, so the models were not run side by side".into()],
        Ran::Outputs(Some(outputs)) => (outputs.outputs.iter())
            .map(|(name, differ, of, most)| {
                format!("output {name} on the known input: {differ} of {of} numbers differ, by up to {most:.6}")
            })
            .collect(),
        Ran::Looked(image, looked) => {
            let Looked { both, only_old, only_new } = looked;
            let mut lines = vec![format!(
                "objects in {image}: {} in both, {} gone, {} new",
                both.len(),
                only_old.len(),
                only_new.len()
            )];
            for pair in both {
                let (old, new) = (&pair.old, &pair.new);
                let sign = if old == new { '=' } else { '~' };
                let scores = format!("{:.4} -> {:.4}", old.score, new.score);
                lines.push(format!("{sign} {} {scores}, IoU {:.3}, [{}]", new.label, pair.iou, corners(new)));
            }
            lines.extend(only_old.iter().map(|b| format!("- {} {:.4} [{}]", b.label, b.score, corners(b))));
            lines.extend(only_new.iter().map(|b| format!("+ {} {:.4} [{}]", b.label, b.score, corners(b))));
            lines
        }
    }
}

fn json(difference: &Difference, ran: &Ran, same: bool) -> Value {
    let summary = |s: &Summary| {
        json!({
            "file": s.source,
            "sha256": s.sha256,
            "inputs": s.inputs,
            "outputs": s.outputs,
            "class_names": s.class_names,
            "layers": s.layers,
            "weights": s.weights.0,
            "nonzero_weights": s.weights.1,
            "macs": s.macs.0,
            "nonzero_macs": s.macs.1,
            "arena_bytes": s.arena_bytes,
            "predicted_ms": s.predicted_ms,
        })
    };
    let layer = |layer: &Layer| {
        let (weights, nonzeros) = layer.weights().unzip();
        json!({
            "name": layer.name, "op": layer.op, "output": layer.output(),
            "weights": weights, "nonzero_weights": nonzeros,
        })
    };
    let change = |change: &Change| match change {
        Change::Fact { what, old, new } => json!({ "what": what, "old": old, "new": new }),
        Change::Numbers(Number { what, count, nonzeros, differ }) => json!({
            "what": what,
            "old": { "count": count.0, "nonzeros": nonzeros.0 },
            "new": { "count": count.1, "nonzeros": nonzeros.1 },
            "differ": differ.map(|differ| differ.0),
            "largest_difference": differ.map(|differ| differ.1),
        }),
    };
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for one in &difference.layers {
        match one {
            LayerChange::Added(new) => added.push(layer(new)),
            LayerChange::Removed(old) => removed.push(layer(old)),
            LayerChange::Changed(new, changes) => {
                let changes: Vec<Value> = changes.iter().map(change).collect();
                changed.push(json!({ "name": new.name, "op": new.op, "changes": changes }));
            }
        }
    }
    let mut value = json!({
        "same": same,
        "old": summary(&difference.old),
        "new": summary(&difference.new),
        "layers": { "same": difference.same_layers, "added": added, "removed": removed, "changed": changed },
        "classes": { "added": difference.added_classes, "removed": difference.removed_classes },
    });
    let found = |b: &Object| json!({ "box": b.xyxy, "score": b.score, "label": b.label });
    match ran {
        Ran::No | Ran::Outputs(None) => {}
        Ran::Outputs(Some(outputs)) => {
            let output = |(name, differ, of, most): &(String, usize, usize, f32)| json!({ "name": name, "differ": differ, "count": of, "largest_difference": most });
            value["outputs"] = outputs.outputs.iter().map(output).collect();
        }
        Ran::Looked(image, looked) => {
            let pair = |pair: &diff::Pair| json!({ "old": found(&pair.old), "new": found(&pair.new), "iou": pair.iou });
            value["objects"] = json!({
                "image": image,
                "both": looked.both.iter().map(pair).collect::<Vec<_>>(),
                "gone": looked.only_old.iter().map(found).collect::<Vec<_>>(),
                "new": looked.only_new.iter().map(found).collect::<Vec<_>>(),
            });
        }
    }
    value
}
