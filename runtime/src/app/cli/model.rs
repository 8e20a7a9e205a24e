//! `--model`, before the command: which model of a program that holds several.

use std::ffi::OsString;

use crate::app::Compiled;
use crate::engine::ModelSpec;

const OPTION: &str = "--model";

/// Takes the option out of the command line. The first of the models that are left is the one that commands run, and
/// `serve` offers all of them.
pub(super) fn take<'a>(args: &mut Vec<OsString>, models: &'a [Compiled]) -> Result<&'a [Compiled], String> {
    let Some(first) = args.get(1).map(|arg| arg.to_string_lossy().into_owned()) else { return Ok(models) };
    let name = if first == OPTION {
        if args.len() < 3 {
            return Err(format!("{OPTION} needs the name of a model: {}", names(models)));
        }
        let name = args[2].to_string_lossy().into_owned();
        args.drain(1..3);
        name
    } else if let Some(name) = first.strip_prefix("--model=") {
        args.remove(1);
        name.to_owned()
    } else {
        return Ok(models);
    };
    match models.iter().position(|model| is(model.spec, &name)) {
        Some(found) => Ok(&models[found..=found]),
        None => Err(format!("no model is called {name:?}; this program holds {}", names(models))),
    }
}

/// Whether a model goes by a name: its own, or that of its file.
fn is(spec: &ModelSpec, name: &str) -> bool {
    name == spec.name || name == spec.source || spec.source.strip_suffix(".onnx") == Some(name)
}

fn names(models: &[Compiled]) -> String {
    models.iter().map(|model| model.spec.name).collect::<Vec<_>>().join(", ")
}

/// What the help says about several models.
pub(super) fn help(program: &str, models: &[Compiled]) -> String {
    if models.len() < 2 {
        return String::new();
    }
    let first = models[0].spec.name;
    format!(
        "Models: {}. `{program} {OPTION} NAME COMMAND` runs one of them, {first} unless told;\n\
         `serve` offers all. What follows is about the one chosen.\n\n",
        names(models)
    )
}
