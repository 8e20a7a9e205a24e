//! `about`: what is in this program.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::app::Compiled;
use crate::app::failure::Failure;
use crate::engine::{Head, Layer, ModelSpec, TensorSpec};
use crate::sbom::{self, Linked, OWN_LICENCE};
use crate::simd::Isa;

/// Say what is in this program: the model, its classes and kernels, and the licences
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR about
  DETECTOR about --json | jq -r .model.sha256
  DETECTOR about --licences
  DETECTOR about --sbom > detector.cdx.json

Exit code: 0.")]
pub(super) struct AboutArgs {
    /// Print a JSON object instead
    #[arg(long, conflicts_with = "licences")]
    json: bool,

    /// Print the licences of everything that is linked in
    #[arg(long, alias = "licenses")]
    licences: bool,

    /// Print the bill of materials: CycloneDX 1.5 as JSON, with versions, checksums and licences
    #[arg(long, conflicts_with_all = ["json", "licences"])]
    sbom: bool,
}

/// A crate and its licence on every line, as `cargo tree` tells; a test keeps it fresh.
const CRATES: &str = include_str!("about/crates.txt");

/// The licence of the font that labels are drawn with.
const FONT_LICENCE: &str = include_str!("../draw/font/LICENSE");

/// What was linked, as `peristyle build` found it.
const LINKED: Option<&str> = option_env!("PERISTYLE_LINKED");

/// Everything that is linked in. A program that was not built by `peristyle build` knows names and licences only.
fn linked() -> Vec<Linked<'static>> {
    match LINKED {
        Some(list) => list.lines().filter_map(Linked::parse).collect(),
        None => {
            let named = CRATES.lines().filter_map(|line| line.split_once(' '));
            named.map(|(name, licence)| Linked { name, version: None, sha256: None, licence }).collect()
        }
    }
}

/// What is linked in, with its licence.
fn crates() -> impl Iterator<Item = (&'static str, &'static str)> {
    linked().into_iter().map(|linked| (linked.name, linked.licence))
}

/// The bill of materials of a program with these models.
fn bill(models: &[Compiled], program: &str) -> Value {
    let model = |compiled: &Compiled| {
        let spec = compiled.spec;
        sbom::Model { name: spec.name, source: spec.source, sha256: spec.sha256 }
    };
    let of: Vec<_> = models.iter().map(model).collect();
    sbom::document(sbom::Subject::Program(program), models[0].spec.compiler, &of, &linked())
}

/// Layers that one kernel computes.
struct Kind {
    op: String,
    kernel: String,
    layers: usize,
    weights: (u64, u64),
    macs: (u64, u64),
}

fn kinds(layers: &[&Layer], isa: Isa) -> Vec<Kind> {
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for layer in layers {
        let (op, kernel) = (layer.info.op.to_string(), layer.kernel(isa).to_owned());
        let new = Kind { op: op.clone(), kernel: kernel.clone(), layers: 0, weights: (0, 0), macs: (0, 0) };
        let kind = kinds.entry((op, kernel)).or_insert(new);
        kind.layers += 1;
        kind.weights = (kind.weights.0 + layer.info.weights.0, kind.weights.1 + layer.info.weights.1);
        kind.macs = (kind.macs.0 + layer.info.macs.0, kind.macs.1 + layer.info.macs.1);
    }
    let mut kinds: Vec<Kind> = kinds.into_values().collect();
    kinds.sort_by(|a, b| b.macs.cmp(&a.macs).then(b.layers.cmp(&a.layers)));
    kinds
}

fn zeros((all, nonzero): (u64, u64)) -> f64 {
    100.0 * (1.0 - nonzero as f64 / all.max(1) as f64)
}

pub(super) fn run(args: &AboutArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if args.licences {
        write!(context.console.out, "{}", licences())?;
        return Ok(());
    }
    if args.sbom {
        let sbom = bill(context.models, context.program);
        writeln!(context.console.out, "{}", serde_json::to_string_pretty(&sbom).map_err(Failure::new)?)?;
        return Ok(());
    }
    let mut model = (context.new)(1).map_err(|error| Failure::threads(1, &error, "number of processes"))?;
    let isa = model.isa();
    let program = model.engine().map(|engine| engine.program());
    let kinds = program.map_or_else(Vec::new, |program| kinds(&program.layers, isa));
    let golden = program.map_or(0, |program| program.golden.len());
    if args.json {
        let text = json(context.spec, isa, &kinds, golden);
        let text = serde_json::to_string_pretty(&text).map_err(Failure::new)?;
        writeln!(context.console.out, "{text}")?;
    } else {
        write!(context.console.out, "{}", text(context.spec, isa, &kinds, golden))?;
    }
    Ok(())
}

fn tensor(spec: &TensorSpec) -> String {
    let dtype = format!("{:?}", spec.dtype).to_lowercase();
    let axes: Vec<String> = spec.shape.iter().skip(1).map(usize::to_string).collect();
    format!("{} {dtype}[N x {}]", spec.name, axes.join(" x "))
}

fn text(spec: &ModelSpec, isa: Isa, kinds: &[Kind], golden: usize) -> String {
    let mut text = String::new();
    let mut line =
        |key: &str, value: String| writeln!(text, "{key:<10} {value}").expect("writing to a string succeeds");
    line("model:", spec.source.into());
    line("sha256:", spec.sha256.into());
    spec.inputs.iter().for_each(|input| line("input:", tensor(input)));
    spec.outputs.iter().for_each(|output| line("output:", tensor(output)));
    match &spec.detector {
        Some(detector) => {
            let head = match detector.head {
                Head::Decoded => "boxes decoded in the network",
                Head::Raw(_) => "raw heads, decoded by the program",
            };
            let shown: Vec<&str> = spec.class_names.iter().take(8).copied().collect();
            let more = if spec.class_names.len() > shown.len() { ", ..." } else { "" };
            let names = if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
            line("head:", head.into());
            line("classes:", format!("{}{names}", detector.classes));
        }
        None => line("head:", "none; the program gives raw tensors".into()),
    }
    line("weights:", format!("{}, {:.1} % of them zero", spec.weights.0, zeros(spec.weights)));
    line("MACs:", format!("{} per image, {:.1} % of them skipped", spec.macs.0, zeros(spec.macs)));
    let selftest = if golden > 0 { "golden values are baked in" } else { "no golden values" };
    line("selftest:", selftest.into());
    line("kernels:", format!("{} on this machine", isa.name()));
    for kind in kinds {
        let plural = if kind.layers == 1 { " " } else { "s" };
        let work = match kind.macs.0 {
            0 => String::new(),
            _ => format!(", {:.1} % of the weights zero, {:.1} MMAC", zeros(kind.weights), kind.macs.1 as f64 / 1e6),
        };
        line("", format!("{:>3} layer{plural} {:<14} {}{work}", kind.layers, kind.op, kind.kernel));
    }
    line("compiler:", format!("peristyle {}", spec.compiler));
    line("licence:", format!("{OWN_LICENCE} for the program; the model's is its owner's"));
    line(
        "linked:",
        format!("{} crates and the DejaVu font; `about --licences` lists their licences", crates().count()),
    );
    text
}

fn json(spec: &ModelSpec, isa: Isa, kinds: &[Kind], golden: usize) -> Value {
    let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
        let tensor = |t: &TensorSpec| json!({ "name": t.name, "dtype": format!("{:?}", t.dtype), "shape": t.shape });
        specs.iter().map(tensor).collect()
    };
    let kernels: Vec<Value> = (kinds.iter())
        .map(|kind| {
            json!({
                "op": kind.op,
                "kernel": kind.kernel,
                "layers": kind.layers,
                "weights": kind.weights.0,
                "nonzero_weights": kind.weights.1,
                "macs": kind.macs.0,
                "nonzero_macs": kind.macs.1,
            })
        })
        .collect();
    let linked: Vec<Value> = crates().map(|(name, licence)| json!({ "name": name, "licence": licence })).collect();
    json!({
        "model": {
            "file": spec.source,
            "sha256": spec.sha256,
            "inputs": tensors(spec.inputs),
            "outputs": tensors(spec.outputs),
            "batch": spec.batch,
            "detector": spec.detector.is_some(),
            "classes": spec.detector.as_ref().map(|detector| detector.classes),
            "class_names": spec.class_names,
            "weights": spec.weights.0,
            "nonzero_weights": spec.weights.1,
            "macs": spec.macs.0,
            "nonzero_macs": spec.macs.1,
        },
        "compiler": { "name": "peristyle", "version": spec.compiler },
        "isa": isa.name(),
        "kernels": kernels,
        "selftest": golden > 0,
        "licence": OWN_LICENCE,
        "linked": linked,
        "fonts": [{ "name": "DejaVu Sans", "licence": "Bitstream-Vera" }],
    })
}

/// Everything that is linked in, by licence, and the texts that must travel with it.
fn licences() -> String {
    let mut text = format!("This program: {OWN_LICENCE}. The model compiled into it: its owner's licence.\n\n");
    let mut by_licence: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    crates().for_each(|(name, licence)| by_licence.entry(licence).or_default().push(name));
    for (licence, names) in by_licence {
        writeln!(text, "{licence}: {}", names.join(", ")).expect("writing to a string succeeds");
    }
    text += "\nThe licence texts of crates are in their packages on crates.io. The font, DejaVu Sans:\n\n";
    text + FONT_LICENCE
}
