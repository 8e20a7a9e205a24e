//! `peristyle build`: a model to a static binary.

use super::compile::{CodeArgs, DEFAULT_FOLDER, default_dir, describe, expect};
use super::{elf, expect_folder};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use peristyle_compiler::{Compilation, crate_name, unfinished};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    code: CodeArgs,

    /// More models for the same binary: `serve` offers all, `--model NAME` before a command chooses one.
    #[arg(value_name = "MODEL")]
    more: Vec<PathBuf>,

    /// The binary to write [default: the crate's name, in this folder].
    #[arg(short, long, value_name = "BINARY")]
    output: Option<PathBuf>,

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
    if output.is_dir() {
        bail!("cannot write binary `{}`: it is a folder; pass another path with -o", output.display());
    }
    for compilation in &compilations {
        let line = expect(compilation);
        progress.suspend(|| eprintln!("{}: {line}", compilation.identity.name));
    }
    let dir = write(args, &compilations, &name, &progress)?;
    let built = cargo_build(&dir, &name, &progress)?;
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

/// Writes the crates, and returns the folder of the one that has the program.
fn write(args: &Args, compilations: &[Compilation], name: &str, progress: &ProgressBar) -> anyhow::Result<PathBuf> {
    let write = |compilation: &Compilation, dir: &Path| {
        expect_folder(dir, "--crate-dir")?;
        progress.set_message(format!("writing {}", dir.display()));
        anyhow::Ok(compilation.write_crate(dir)?)
    };
    if let [only] = compilations {
        let dir = args.crate_dir.clone().unwrap_or_else(|| default_dir(only));
        write(only, &dir)?;
        return Ok(dir);
    }
    let folder = args.crate_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER));
    expect_folder(&folder, "--crate-dir")?;
    for compilation in compilations {
        write(compilation, &folder.join(&compilation.identity.name))?;
    }
    let dir = folder.join(name);
    expect_folder(&dir, "--crate-dir")?;
    Compilation::write_program(name, compilations, &dir)?;
    Ok(dir)
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Builds the crate statically and returns the path of its binary.
fn cargo_build(dir: &Path, name: &str, progress: &ProgressBar) -> anyhow::Result<PathBuf> {
    let target = host_target()?;
    // All crates of a folder share one build folder, so that the runtime is built once for all of them.
    let dir = std::path::absolute(dir)?;
    let shared = dir.parent().map_or_else(|| dir.join("target"), |parent| parent.join("target"));
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target_dir) => std::path::absolute(target_dir)?,
        None => shared,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--release", "--target", &target, "--bin", name])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags())
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = cargo.spawn().context("cannot start `cargo`; install Rust from https://rustup.rs")?;
    let mut log = String::new();
    for line in BufReader::new(child.stderr.take().expect("stderr is piped")).lines() {
        let line = line?;
        if let Some(unit) = line.trim().strip_prefix("Compiling ") {
            progress.set_message(format!("building {}", unit.split(" (").next().unwrap_or(unit)));
        }
        log.push_str(&line);
        log.push('\n');
    }
    if !child.wait()?.success() {
        progress.finish_and_clear();
        eprint!("{log}");
        bail!("`cargo build` failed in `{}`; its messages are above", dir.display());
    }
    Ok(target_dir.join(target).join("release").join(name))
}

/// The user's compiler flags and static linking, as cargo separates them.
fn rust_flags() -> String {
    let user = std::env::var("CARGO_ENCODED_RUSTFLAGS")
        .or_else(|_| std::env::var("RUSTFLAGS").map(|flags| flags.split_whitespace().collect::<Vec<_>>().join("\x1f")))
        .unwrap_or_default();
    let separator = if user.is_empty() { "" } else { "\x1f" };
    format!("{user}{separator}-Ctarget-feature=+crt-static")
}

/// The target that this machine's compiler builds for by default.
fn host_target() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).arg("-vV").output().context("cannot start `rustc`; install Rust from https://rustup.rs")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string).context("`rustc -vV` names no host")
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
