//! `peristyle build`: a model to a static binary, or to a library for other languages.

mod cargo;
mod library;
mod linked;
mod wheel;

use super::compile::{CodeArgs, DEFAULT_FOLDER, default_dir, describe, expect};
use super::{elf, expect_folder};
use anyhow::{Context, bail};
use cargo::Artefact;
use indicatif::{ProgressBar, ProgressStyle};
use peristyle_compiler::{Compilation, crate_name, unfinished};
use peristyle_runtime::sbom;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What `build` makes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Emit {
    /// The detector: one static program.
    Bin,
    /// `libNAME.a` and `NAME.h` for C and C++, and a bill of materials, `NAME.cdx.json`.
    Staticlib,
    /// `libNAME.so` and the same.
    Cdylib,
    /// A Python package, `NAME-VERSION-py3-none-PLATFORM.whl`, of one or several models.
    Wheel,
}

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    code: CodeArgs,

    /// More models for the same binary: `serve` offers all, `--model NAME` before a command chooses one.
    #[arg(value_name = "MODEL")]
    more: Vec<PathBuf>,

    /// The binary to write [default: the crate's name, in this folder]; of a library `DIR/NAME`, which gives
    /// DIR/libNAME.a or DIR/libNAME.so, DIR/NAME.h and DIR/NAME.cdx.json; of a wheel its folder, because a wheel's name
    /// is prescribed.
    #[arg(short, long, value_name = "BINARY")]
    output: Option<PathBuf>,

    /// What to build. The names of a library's functions start with the model's.
    #[arg(long, value_enum, default_value = "bin")]
    emit: Emit,

    /// Build a library that looks at pixels only and reads no image files.
    #[arg(long)]
    no_image_files: bool,

    /// Folder of the emitted crate [default: generated/MODEL]; of several models, the folder of all their crates.
    #[arg(long, value_name = "DIR")]
    crate_dir: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let start = Instant::now();
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{spinner} [{elapsed}] {msg}").expect("a valid template"));
    progress.enable_steady_tick(Duration::from_millis(100));

    let compilations = analyze(args, &progress)?;
    let names: Vec<&str> = compilations.iter().map(|compilation| compilation.identity.name.as_str()).collect();
    let name = match &args.code.name {
        Some(name) if names.len() > 1 => crate_name(name),
        _ => names.join("-and-"),
    };
    if names.len() > 1 && names.contains(&name.as_str()) {
        bail!("--name {name}: a model of this binary is called that; choose another name");
    }
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(&name));
    match args.emit {
        Emit::Bin => {}
        Emit::Staticlib | Emit::Cdylib => return library::run(args, &compilations, &output, &progress, start),
        Emit::Wheel => return wheel::run(args, &compilations, &name, &progress, start),
    }
    if output.is_dir() {
        bail!("cannot write binary `{}`: it is a folder; pass another path with -o", output.display());
    }
    if args.no_image_files {
        bail!("--no-image-files: a detector reads image files; the option is for --emit staticlib and cdylib");
    }
    for compilation in &compilations {
        let line = expect(compilation);
        progress.suspend(|| eprintln!("{}: {line}", compilation.identity.name));
    }
    let dir = write(args, &compilations, &name, &progress)?;
    let built = cargo::build(&dir, &name, Artefact::Program, &progress)?.file;
    install(&built, &output).with_context(|| format!("cannot write binary `{}`", output.display()))?;
    progress.finish_and_clear();

    let binary = std::fs::read(&output)?;
    for compilation in &compilations {
        let of = if compilations.len() > 1 { format!("{}: ", compilation.identity.name) } else { String::new() };
        println!("{of}{}", describe(compilation));
    }
    let code = elf::section_bytes(&binary, ".text").map_or_else(String::new, |n| format!("{} code, ", megabytes(n)));
    println!(
        "{}: {code}{} binary, {} working memory, built in {:.1} s",
        output.display(),
        megabytes(binary.len()),
        megabytes(compilations.iter().map(|compilation| compilation.plan.arena_bytes).sum()),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Reads and plans all models.
fn analyze(args: &Args, progress: &ProgressBar) -> anyhow::Result<Vec<Compilation>> {
    let mut compilations: Vec<Compilation> = Vec::new();
    for model in std::iter::once(&args.code.model.model).chain(&args.more) {
        progress.set_message(format!("compiling {}", model.display()));
        let mut code = args.code.clone();
        code.model.model.clone_from(model);
        if !args.more.is_empty() {
            // The name is that of the program.
            code.name = None;
            code.dump_stages =
                args.code.dump_stages.as_ref().map(|dir| dir.join(model.file_stem().unwrap_or_default()));
        }
        let compilation = code.analyze()?;
        // In Rust a hyphen of a crate's name is an underscore.
        let library = |compilation: &Compilation| compilation.identity.name.replace('-', "_");
        if compilations.iter().any(|other| library(other) == library(&compilation)) {
            bail!(
                "`{}`: another model of this binary is called `{}` too; rename one of the files",
                model.display(),
                compilation.identity.name
            );
        }
        compilations.push(compilation);
    }
    Ok(compilations)
}

/// Writes the crate of every model, and returns their folders.
fn write_models(args: &Args, compilations: &[Compilation], progress: &ProgressBar) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(dir) = &args.crate_dir {
        expect_folder(dir, "--crate-dir")?;
    }
    let mut dirs = Vec::with_capacity(compilations.len());
    for compilation in compilations {
        let dir = match &args.crate_dir {
            None => default_dir(compilation),
            Some(dir) if compilations.len() == 1 => dir.clone(),
            Some(folder) => folder.join(&compilation.identity.name),
        };
        expect_folder(&dir, "--crate-dir")?;
        progress.set_message(format!("writing {}", dir.display()));
        compilation.write_crate(&dir)?;
        dirs.push(dir);
    }
    Ok(dirs)
}

/// Writes the crates, and returns the folder of the one that has the program.
fn write(args: &Args, compilations: &[Compilation], name: &str, progress: &ProgressBar) -> anyhow::Result<PathBuf> {
    let dirs = write_models(args, compilations, progress)?;
    if let [only] = &dirs[..] {
        return Ok(only.clone());
    }
    let dir = args.crate_dir.as_deref().unwrap_or(Path::new(DEFAULT_FOLDER)).join(name);
    expect_folder(&dir, "--crate-dir")?;
    Compilation::write_program(name, compilations, &dir)?;
    Ok(dir)
}

/// The bill of materials of a library with these models and what `linked` lists, as JSON.
fn bill(name: &str, compilations: &[Compilation], linked: &str) -> String {
    let models: Vec<_> = (compilations.iter().map(|compilation| &compilation.identity))
        .map(|identity| sbom::Model { name: &identity.name, source: &identity.source, sha256: &identity.sha256 })
        .collect();
    let linked: Vec<_> = linked.lines().filter_map(sbom::Linked::parse).collect();
    let bill = sbom::document(sbom::Subject::Library(name), env!("CARGO_PKG_VERSION"), &models, &linked);
    format!("{bill:#}\n")
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Copies the binary beside its destination and renames it into place, so that a running one is replaced whole.
fn install(built: &Path, output: &Path) -> anyhow::Result<()> {
    let folder = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let temporary = unfinished::create(folder)?.into_temp_path();
    std::fs::copy(built, &temporary)?;
    temporary.persist(output).map_err(|e| e.error)?;
    Ok(())
}
