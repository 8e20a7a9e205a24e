//! `--model`, before the command: which model of a program that holds several.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::app::Compiled;
use crate::engine::ModelSpec;

const OPTION: &str = "--model";

/// Takes the option out of the command line. The first of the models that are left is the one that commands run, and
/// `serve` offers all of them.
pub(super) fn take<'a>(args: &mut Vec<OsString>, models: &'a [Compiled]) -> Result<&'a [Compiled], String> {
    let Some(first) = args.get(1).map(|arg| arg.to_string_lossy().into_owned()) else { return Ok(models) };
    let name = if first == OPTION {
        if args.len() < 3 {
            return Err(format!("{OPTION} needs the name of a model: {}", names(&specs(models))));
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
    find(&specs(models), &name).map(|found| &models[found..=found])
}

/// Which of the models goes by a name: its own, that of its file without the ending, or else a path that ends in it.
///
/// # Errors
/// The names that there are.
pub(super) fn find(models: &[&'static ModelSpec], name: &str) -> Result<usize, String> {
    let stem = |text: &str| Path::new(text).file_stem().map(OsStr::to_owned);
    let is = |spec: &&ModelSpec| name == spec.name || stem(spec.source).is_some_and(|file| file == name);
    let found = models.iter().position(is);
    let found = found.or_else(|| models.iter().position(|spec| stem(spec.source) == stem(name)));
    found.ok_or_else(|| format!("no model is called {name:?}; this program holds {}", names(models)))
}

fn specs(models: &[Compiled]) -> Vec<&'static ModelSpec> {
    models.iter().map(|model| model.spec).collect()
}

fn names(models: &[&'static ModelSpec]) -> String {
    models.iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ")
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
        names(&specs(models))
    )
}
