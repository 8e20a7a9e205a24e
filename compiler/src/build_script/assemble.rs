//! Unrolled kernels to a library: each file is assembled once, however often others change.

use super::Tell;
use super::environment::Environment;
use crate::emit::hexadecimal;
use crate::error::Error;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Folder of the objects, below that of the model.
const OBJECTS: &str = "objects";

/// File name of a library.
pub fn archive(library: &str) -> String {
    format!("lib{library}.a")
}

/// Has cargo link a library that lies in `dir`.
pub fn tell_library(library: &str, dir: &Path, tell: Tell<'_>) {
    tell(&format!("cargo::rustc-link-lib=static={library}"));
    tell(&format!("cargo::rustc-link-search=native={}", dir.display()));
}

/// Assembles the kernels of a model, paths below `dir` with their text, and returns the name of the library. Objects of
/// kernels that are the same as before, and a library of the same objects, stay untouched.
///
/// # Errors
/// When the assembler or the archiver fails.
pub fn assemble<'a>(
    name: &str,
    dir: &Path,
    kernels: impl Iterator<Item = (&'a str, &'a [u8])>,
    environment: &Environment,
) -> Result<String, Error> {
    let failed = |source| Error::Assemble { name: name.to_string(), source };
    let unwritable = |source| Error::Write { what: format!("objects to `{}`", dir.display()), source };
    let library = format!("{}_kernels", name.replace('-', "_"));
    let folder = dir.join(OBJECTS);
    std::fs::create_dir_all(&folder).map_err(unwritable)?;
    let tools = format!("{} {:?}", environment.target, environment.tools);
    let mut objects = Vec::new();
    let mut missing: Vec<(PathBuf, &Path)> = Vec::new();
    let sources: Vec<(PathBuf, PathBuf)> = kernels
        .map(|(path, text)| {
            let hash = hexadecimal(&Sha256::new().chain_update(&tools).chain_update(text).finalize()[..8]);
            let stem = path.strip_suffix(".S").unwrap_or(path);
            (dir.join(path), folder.join(format!("{stem}-{hash}.o")))
        })
        .collect();
    for (source, object) in &sources {
        if !object.is_file() {
            missing.push((object.clone(), source));
        }
        objects.push(object.clone());
    }
    let changed = !missing.is_empty();
    if changed {
        // Beside the others: what a killed build script leaves there is in nobody's way.
        let fresh = tempfile::tempdir_in(&folder).map_err(unwritable)?;
        let mut build = compiler(environment, fresh.path());
        build.files(missing.iter().map(|(_, source)| source));
        let made = build.try_compile_intermediates().map_err(failed)?;
        let moved = made.iter().zip(&missing).try_for_each(|(made, (object, _))| std::fs::rename(made, object));
        moved.map_err(unwritable)?;
    }
    let stale = remove_others(&folder, &objects).map_err(unwritable)?;
    if changed || stale || !dir.join(archive(&library)).is_file() {
        compiler(environment, dir).objects(&objects).try_compile(&library).map_err(failed)?;
    }
    Ok(library)
}

fn compiler(environment: &Environment, out_dir: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.target(&environment.target).host(&environment.host).opt_level(2).debug(false);
    build.out_dir(out_dir).cargo_metadata(false);
    build
}

/// Removes objects of kernels that are no more; returns whether there were any.
fn remove_others(folder: &Path, objects: &[PathBuf]) -> io::Result<bool> {
    let kept: BTreeSet<&PathBuf> = objects.iter().collect();
    let mut removed = false;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "o") && !kept.contains(&path) {
            std::fs::remove_file(path)?;
            removed = true;
        }
    }
    Ok(removed)
}
